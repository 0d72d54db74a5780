"""What an activity tells the orchestrator: small, without content (a history holds at most 1 MB)."""

from collections.abc import Awaitable
from typing import Any, Literal, NotRequired, TypedDict

from domain import runs
from domain.runs import Ending
from errors import StoreUnavailable
from events.lifetimes import is_over
from events.run_record import run_of
from ports.documents import Document


class Outcome(TypedDict):
    """`expires_at` (Unix seconds) bounds a wait, `retry_after` (seconds) is one.

    - over: nothing is left to do for this run, it has ended or is gone
    - cancelling, expired: close it so
    - answered: append_message ends it
    - calls: run the built-in tools that the model called, `indexes` among the calls of its turn; then, if
      `asks_client`, ask_client, for it called functions of the client's too
    - called: the call of a built-in tool has run
    - requires_action: wait for the client's tool outputs
    - submitted: the outputs of this turn are there, go on with the next
    - throttled, unavailable: the model, or the tool, may serve the same turn later
    - closed: it ends, or has ended, as `ending` says
    - store_away: nothing could be read or written, try again
    - again: another delivery has the turn, and had not ended it when this one's time was over
    """

    outcome: Literal[
        "over",
        "cancelling",
        "expired",
        "answered",
        "calls",
        "called",
        "requires_action",
        "submitted",
        "throttled",
        "unavailable",
        "closed",
        "store_away",
        "again",
    ]
    expires_at: NotRequired[int]
    retry_after: NotRequired[float]
    indexes: NotRequired[list[int]]
    asks_client: NotRequired[bool]
    ending: NotRequired[dict[str, Any]]


async def or_store_away(work: Awaitable[Outcome]) -> dict[str, Any]:
    """Return the work's outcome, or that the store is away: the orchestration waits, however long."""
    try:
        return dict(await work)
    except StoreUnavailable:
        return {"outcome": "store_away"}


def standing(document: Document | None, now: float) -> Outcome | None:
    """Return why nothing may be done for this run any more, or None if it is to go on."""
    if document is None:
        return {"outcome": "over"}
    run = run_of(document)
    if runs.is_terminal(run):
        return {"outcome": "over"}
    if run["status"] == "cancelling":
        return {"outcome": "cancelling"}
    return {"outcome": "expired"} if is_over(run, now) else None


def closed(ending: Ending) -> Outcome:
    return {"outcome": "closed", "ending": {"status": ending.status, "error": ending.error, "reason": ending.reason}}


def throttled(message: str, retry_after: float | None, expires_at: int) -> Outcome:
    ending = closed(runs.failed("rate_limit_exceeded", message))
    return ending | {"outcome": "throttled", "retry_after": retry_after or 0.0, "expires_at": expires_at}


def unavailable(message: str, expires_at: int) -> Outcome:
    ending = closed(runs.failed("server_error", message))
    return ending | {"outcome": "unavailable", "expires_at": expires_at}
