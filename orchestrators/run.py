"""The story of a run: turns of the model, waits for the client, an end.

No clock, no randomness, no I/O. Events are nudges without data: truth is the run document, which
every activity reads first. Activities may be delivered twice and this code may start over from
nothing: both fast-forward over what was done.
"""

from collections.abc import Generator
from datetime import UTC, datetime, timedelta
from typing import Any

import azure.durable_functions as df
from durabletask import task

bp = df.Blueprint()

# For what should not happen: an activity that raises. Never retry_timeout: it reads the wall clock in replay.
RETRY = task.RetryPolicy(
    first_retry_interval=timedelta(seconds=1),
    max_number_of_attempts=5,
    backoff_coefficient=2,
    max_retry_interval=timedelta(seconds=10),
)
MODEL_TRIES = 6  # of one turn, while the model throttles or cannot be reached
FIRST_WAIT = 1.0  # seconds, doubled from try to try
LONGEST_WAIT = 60.0
SHORTEST_TURN = 1.0  # seconds; with less left, the reason of the failure tells more than that time is up
STORE_WAIT = timedelta(seconds=5)  # between tries while the store is away, for as long as it takes

Story = Generator[task.Task[Any], Any, dict[str, Any]]
Run = dict[str, str]

BROKEN = {
    "status": "failed",
    "error": {"code": "server_error", "message": "Sorry, something went wrong: the run could not be carried on."},
    "reason": None,
}


@bp.orchestration_trigger(context_name="context")
def run_orchestrator(context: task.OrchestrationContext, run: Run) -> Story:
    """Drive the run at {"tenant", "thread_id", "run_id"} to its end."""
    # One waiter for the whole run: an event goes to the oldest waiter of its name, so one made per
    # turn would leave a stale one behind to swallow the cancel.
    cancelled = context.wait_for_external_event("cancel_requested")
    try:
        last = yield from converse(context, run, cancelled)
    except task.TaskFailedError:
        last = {"outcome": "closed", "ending": BROKEN}
    return (yield from close(context, run, last))


def converse(context: task.OrchestrationContext, run: Run, cancelled: task.Task[Any]) -> Story:
    """Alternate model turns and client outputs; return the outcome after which nothing more can be done."""
    turn, tries = 0, 0
    while True:
        step = {"run": run, "turn": turn}
        answer = yield from unless(cancelled, context.call_activity("call_model", input=step, retry_policy=RETRY))
        if answer["outcome"] == "answered":
            work = context.call_activity("append_message", input=step, retry_policy=RETRY)
            answer = yield from unless(cancelled, work)
        if answer["outcome"] == "calls":
            answer = yield from call_tools(context, step, answer, cancelled)
        if answer["outcome"] == "requires_action":
            outputs = context.wait_for_external_event(f"tool_outputs_submitted:{turn}")
            answer = yield from until(context, answer["expires_at"], cancelled, outputs)
        if answer["outcome"] in ("throttled", "unavailable"):
            tries += 1
            answer = yield from try_later(context, answer, tries, cancelled)

        match answer["outcome"]:
            case "submitted":
                turn, tries = turn + 1, 0
            case "store_away":
                yield context.create_timer(STORE_WAIT)
            case "again":
                continue
            case _:
                return answer


def call_tools(
    context: task.OrchestrationContext, step: dict[str, Any], calls: dict[str, Any], cancelled: task.Task[Any]
) -> Story:
    """Run the built-in tools that the model called, side by side; return what is next when all have run.

    If one can't be run now, the turn is looked at again, and those that have run answer from their records.
    """
    works: list[task.Task[dict[str, Any]]] = [
        context.call_activity("call_tool", input=step | {"call": index}, retry_policy=RETRY)
        for index in calls["indexes"]
    ]
    answer = yield from until(context, calls["expires_at"], cancelled, every := task.when_all(works))
    if answer["outcome"] != "again":
        return answer
    left = next((outcome for outcome in every.get_result() if outcome["outcome"] != "called"), None)
    if left or not calls["asks_client"]:
        return left or {"outcome": "submitted"}
    return (yield from unless(cancelled, context.call_activity("ask_client", input=step, retry_policy=RETRY)))


def close(context: task.OrchestrationContext, run: Run, last: dict[str, Any]) -> Story:
    """See that the run ends as `last` says."""
    if last["outcome"] == "over":
        return last
    ending = last.get("ending") or {"status": CLOSED_AS[last["outcome"]], "error": None, "reason": None}
    while True:
        closing = {"run": run, "ending": ending}
        done = yield context.call_activity("close_run", input=closing, retry_policy=RETRY)
        if done["outcome"] != "store_away":
            return done
        yield context.create_timer(STORE_WAIT)


CLOSED_AS = {"cancelling": "cancelled", "expired": "expired"}


def unless(cancelled: task.Task[Any], work: task.Task[Any]) -> Story:
    """Return the work's outcome, or at once that the run is cancelled."""
    first = yield task.when_any([work, cancelled])
    return {"outcome": "cancelling"} if first is cancelled else work.get_result()


def until(
    context: task.OrchestrationContext, expires_at: int, cancelled: task.Task[Any], awaited: task.Task[Any]
) -> Story:
    """Wait for `awaited`, but no longer than the run lives; say what came first."""
    expiry = context.create_timer(datetime.fromtimestamp(expires_at, UTC))
    first = yield task.when_any([awaited, cancelled, expiry])
    if first is expiry:
        return {"outcome": "expired"}
    expiry.cancel()
    return {"outcome": "cancelling" if first is cancelled else "again"}


def try_later(
    context: task.OrchestrationContext, answer: dict[str, Any], tries: int, cancelled: task.Task[Any]
) -> Story:
    """Sleep as long as the model asks; give up with its reason when tries or the run's time are spent."""
    asked, ours = answer.get("retry_after"), min(FIRST_WAIT * 2 ** (tries - 1), LONGEST_WAIT)
    # The first time the model knows best; one that throttles on and on after short waits needs longer ones.
    wait = asked if asked and tries == 1 else max(asked or 0.0, ours)
    now = context.current_utc_datetime.replace(tzinfo=UTC)
    # In seconds: what an endpoint asks for may be beyond any date.
    if tries >= MODEL_TRIES or now.timestamp() + wait + SHORTEST_TURN >= answer["expires_at"]:
        return answer | {"outcome": "closed"}
    wakes_at = now + timedelta(seconds=wait)
    return (yield from until(context, answer["expires_at"], cancelled, context.create_timer(wakes_at)))
