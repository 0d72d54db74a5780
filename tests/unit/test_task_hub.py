"""The embedded task hub, with Microsoft's client and orchestration engine on either side of it."""

import base64
import json
import sys
import tempfile
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import azure.durable_functions as df
import grpc
import pytest
from azure.durable_functions.orchestrator import Orchestrator
from durabletask import task
from durabletask.client import OrchestrationStatus, TaskHubGrpcClient
from durabletask.internal import orchestrator_service_pb2 as pb

from devhost.task_hub import LocalTaskHub
from devhost.work import Failure, Work

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="listens on a Unix socket")

LATER = timedelta(hours=1)
REPLACE_ENDED = pb.OrchestrationIdReusePolicy(
    replaceableStatus=[pb.ORCHESTRATION_STATUS_COMPLETED, pb.ORCHESTRATION_STATUS_FAILED]
)


class Bench:
    """A hub, a client of it, and the part of a worker: runs orchestration steps, keeps activities for the test."""

    def __init__(self, folder: Path) -> None:
        self.woken = 0
        self.hub = LocalTaskHub(self._wake)
        self.client = TaskHubGrpcClient(host_address=self.hub.serve(folder))
        self.ended: dict[str, Any] = {}
        self._orchestrators: dict[str, Callable[[Any], str]] = {}

    def _wake(self) -> None:
        self.woken += 1

    def add(self, orchestrator: Callable[..., Any]) -> None:
        self._orchestrators[orchestrator.__name__] = Orchestrator.create(orchestrator)

    def start(self, orchestrator: Callable[..., Any], id: str, input: Any = None, **options: Any) -> None:
        self.add(orchestrator)
        self.client.schedule_new_orchestration(orchestrator.__name__, input=input, instance_id=id, **options)

    def run(self) -> list[Work]:
        """Run orchestration steps until only activities are left; return those."""
        activities: list[Work] = []
        while work := self.hub.take():
            for item in work:
                if item.kind == "activity":
                    activities.append(item)
                else:
                    self.hub.complete_step(item, self.reply(item))
        return activities

    def reply(self, step: Work) -> str:
        reply = self._orchestrators[step.name](SimpleNamespace(body=step.body))
        self._note_ending(step.instance_id, reply)
        return reply

    def _note_ending(self, instance_id: str, reply: str) -> None:
        for action in pb.OrchestratorResponse.FromString(base64.b64decode(reply)).actions:
            ending = action.completeOrchestration
            if action.HasField("completeOrchestration"):
                failed = ending.HasField("failureDetails")
                self.ended[instance_id] = (
                    ending.failureDetails.errorMessage if failed else json.loads(ending.result.value or "null")
                )

    def answer(self, activity: Work, result: Any) -> list[Work]:
        self.hub.complete_activity(activity, json.dumps(result))
        return self.run()

    def state(self, id: str) -> OrchestrationStatus | None:
        state = self.client.get_orchestration_state(id)
        return state.runtime_status if state else None


@pytest.fixture
def bench() -> Iterator[Bench]:
    # Not tmp_path: a socket's path may have only about 100 characters.
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder))
        yield bench
        bench.client.close()
        bench.hub.stop()


def two_in_a_row(ctx: task.OrchestrationContext, _: Any) -> Any:
    first = yield ctx.call_activity("one")
    second = yield ctx.call_activity("two", input=first)
    return [first, second]


def waits(ctx: task.OrchestrationContext, _: Any) -> Any:
    return (yield ctx.wait_for_external_event("nudged"))


def test_activities_follow_one_another_and_their_results_come_back(bench):
    bench.start(two_in_a_row, "a")
    [one] = bench.run()
    [two] = bench.answer(one, 1)
    assert (two.name, json.loads(two.body)) == ("two", 1)
    assert bench.answer(two, 2) == []
    assert bench.ended["a"] == [1, 2]


def test_a_fan_out_is_handed_out_at_once(bench):
    def three(ctx: task.OrchestrationContext, _: Any) -> Any:
        return (yield task.when_all([ctx.call_activity("one", input=n) for n in range(3)]))

    bench.start(three, "a")
    activities = bench.run()
    assert len(activities) == 3
    for activity in reversed(activities):
        bench.answer(activity, json.loads(activity.body) * 10)
    assert bench.ended["a"] == [0, 10, 20]


def test_each_piece_of_work_is_handed_out_once(bench):
    bench.start(two_in_a_row, "a")
    assert len(bench.hub.take()) == 1
    assert bench.hub.take() == []


def test_new_work_is_announced(bench):
    before = bench.woken
    bench.start(waits, "a")
    assert bench.woken > before


def test_a_failed_activity_raises_in_its_orchestration(bench):
    def careful(ctx: task.OrchestrationContext, _: Any) -> Any:
        try:
            yield ctx.call_activity("one")
        except task.TaskFailedError as error:
            return error.details.message

    bench.start(careful, "a")
    [one] = bench.run()
    bench.hub.complete_activity(one, Failure("KeyError('x')", "Traceback …"))
    bench.run()
    assert bench.ended["a"] == "KeyError('x')"


def test_a_retry_policy_waits_on_a_durable_timer(bench):
    def stubborn(ctx: task.OrchestrationContext, _: Any) -> Any:
        policy = df.RetryPolicy(first_retry_interval=LATER, max_number_of_attempts=2)
        return (yield ctx.call_activity("one", retry_policy=policy))

    bench.start(stubborn, "a")
    [one] = bench.run()
    bench.hub.complete_activity(one, Failure("busy", "trace"))
    assert bench.run() == []
    bench.hub.fire_timers(datetime.now(UTC) + 2 * LATER)
    [again] = bench.run()
    bench.answer(again, "done")
    assert bench.ended["a"] == "done"


def test_timers_fire_in_the_order_of_their_instants_and_not_before(bench):
    def sleeps(ctx: task.OrchestrationContext, minutes: int) -> Any:
        yield ctx.create_timer(ctx.current_utc_datetime + timedelta(minutes=minutes))

    now = datetime.now(UTC)
    for minutes in (30, 10, 20):
        bench.start(sleeps, f"m{minutes}", minutes)
    bench.run()
    for minutes, ended in ((5, []), (15, ["m10"]), (25, ["m10", "m20"]), (35, ["m10", "m20", "m30"])):
        due = bench.hub.fire_timers(now + timedelta(minutes=minutes))
        bench.run()
        assert list(bench.ended) == ended
    assert due is None


def test_an_event_raised_before_it_is_waited_for_is_kept(bench):
    def works_first(ctx: task.OrchestrationContext, _: Any) -> Any:
        yield ctx.call_activity("one")
        return (yield ctx.wait_for_external_event("nudged"))

    bench.start(works_first, "a")
    [one] = bench.run()
    bench.client.raise_orchestration_event("a", "nudged", data="early")
    bench.run()
    bench.answer(one, None)
    assert bench.ended["a"] == "early"


def test_an_event_that_comes_while_a_step_is_out_is_delivered_with_the_next(bench):
    bench.start(waits, "a")
    [step] = bench.hub.take()
    bench.client.raise_orchestration_event("a", "nudged", data=1)
    assert bench.hub.take() == []
    bench.hub.complete_step(step, bench.reply(step))
    bench.run()
    assert bench.ended["a"] == 1


def test_an_event_to_an_ended_orchestration_is_refused(bench):
    bench.start(waits, "a")
    bench.run()
    bench.client.raise_orchestration_event("a", "nudged")
    bench.run()
    with pytest.raises(grpc.RpcError) as refused:
        bench.client.raise_orchestration_event("a", "nudged")
    assert refused.value.code() is grpc.StatusCode.NOT_FOUND


def test_a_running_orchestration_is_not_started_again(bench):
    bench.start(waits, "a")
    bench.run()
    with pytest.raises(grpc.RpcError) as refused:
        bench.start(waits, "a", reuse_id_policy=REPLACE_ENDED)
    assert refused.value.code() is grpc.StatusCode.ALREADY_EXISTS


def test_a_restarted_id_takes_nothing_from_its_earlier_execution(bench):
    def leaves_work_behind(ctx: task.OrchestrationContext, _: Any) -> Any:
        late = ctx.call_activity("one")
        timer = ctx.create_timer(ctx.current_utc_datetime + LATER)
        yield task.when_any([late, timer, ctx.wait_for_external_event("nudged")])
        return late.is_complete

    bench.start(leaves_work_behind, "a")
    [old] = bench.run()
    bench.client.raise_orchestration_event("a", "nudged")
    bench.run()
    assert bench.ended.pop("a") is False

    bench.start(leaves_work_behind, "a")
    [new] = bench.run()
    assert bench.hub.fire_timers(datetime.now(UTC) + LATER / 2) is not None
    bench.answer(old, "old")
    assert "a" not in bench.ended
    bench.answer(new, "new")
    assert bench.ended["a"] is True


def test_continuing_as_new_takes_nothing_from_before(bench):
    def again(ctx: task.OrchestrationContext, turn: int) -> Any:
        if turn == 0:
            ctx.call_activity("one", input="old")
            yield ctx.wait_for_external_event("nudged")
            ctx.continue_as_new(1)
            return None
        return (yield ctx.call_activity("one", input="new"))

    bench.start(again, "a", 0)
    [old] = bench.run()
    bench.client.raise_orchestration_event("a", "nudged")
    [new] = bench.run()
    assert json.loads(new.body) == "new"
    assert bench.answer(old, "old") == []
    bench.answer(new, "new")
    assert bench.ended["a"] == "new"


def test_a_second_reply_to_a_step_is_dropped_and_the_next_step_stays_out(bench):
    bench.start(two_in_a_row, "a")
    [step] = bench.hub.take()
    reply = bench.reply(step)
    bench.hub.complete_step(step, reply)
    [one] = bench.hub.take()
    bench.hub.complete_activity(one, "1")
    [next_step] = bench.hub.take()

    bench.hub.complete_step(step, reply)
    bench.client.raise_orchestration_event("a", "nudged")
    assert bench.hub.take() == []
    bench.hub.complete_step(next_step, bench.reply(next_step))
    assert [work.name for work in bench.run()] == ["two"]


def test_a_step_that_cannot_be_run_fails_its_orchestration(bench, caplog):
    bench.start(two_in_a_row, "a")
    [step] = bench.hub.take()
    bench.hub.complete_step(step, Failure("every worker died"))
    assert bench.state("a") is None
    assert "orchestration a failed: every worker died" in caplog.text


def test_a_parent_hears_how_its_sub_orchestration_ended(bench):
    def parent(ctx: task.OrchestrationContext, _: Any) -> Any:
        return (yield ctx.call_sub_orchestrator("waits", instance_id="child"))

    bench.add(waits)
    bench.start(parent, "a")
    bench.run()
    bench.client.raise_orchestration_event("child", "nudged", data=7)
    bench.run()
    assert bench.ended == {"child": 7, "a": 7}


@pytest.mark.parametrize("size", [1024 * 1024, 1024 * 1024 + 1])
def test_input_may_have_a_megabyte_and_no_more(bench, size):
    text = "x" * (size - 2)  # and two quotation marks
    if size == 1024 * 1024:
        bench.start(waits, "a", text)
    else:
        with pytest.raises(grpc.RpcError) as refused:
            bench.start(waits, "a", text)
        assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT


def test_an_activity_result_over_a_megabyte_is_a_failure(bench):
    bench.start(two_in_a_row, "a")
    [one] = bench.run()
    bench.answer(one, "x" * 1024 * 1024)
    assert "over 1 MB" in bench.ended["a"]


def test_waiting_for_what_has_ended_returns_at_once(bench):
    assert bench.client.wait_for_orchestration_completion("never-was", timeout=5) is None


def test_nothing_remains_of_a_thousand_ended_orchestrations(bench):
    def leaves_a_timer(ctx: task.OrchestrationContext, _: Any) -> Any:
        timer = ctx.create_timer(ctx.current_utc_datetime + LATER)
        yield task.when_any([ctx.call_activity("one"), timer])

    bench.add(leaves_a_timer)
    hub = bench.hub
    for number in range(1000):
        request = pb.CreateInstanceRequest(name="leaves_a_timer", instanceId=str(number))
        hub.StartInstance(request, SimpleNamespace())
    for activity in bench.run():
        bench.hub.complete_activity(activity, "null")
    bench.run()
    assert len(bench.ended) == 1000
    kept = [value for value in vars(hub).values() if isinstance(value, dict | set | list) or hasattr(value, "__len__")]
    assert [value for value in kept if len(value)] == []
