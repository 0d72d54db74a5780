"""What must hold after every commit, and when the story is over."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from domain import runs
from domain.usage import total
from events.addresses import thread_partition
from events.log import is_run_event, names_a_step
from ports.documents import Document, Documents
from tests.model.stream_rules import TERMINAL, StreamRules

Resource = dict[str, Any]


@dataclass(slots=True)
class Watch:
    """Sees each commit to the thread of the one run. `events` is the run's log, as it was written.

    `broken` is the first rule that was broken, and how.
    """

    events: list[tuple[str, Resource]] = field(default_factory=list)
    batches: int = 0
    rules: StreamRules = field(default_factory=StreamRules)
    run: Resource | None = None
    turn: int = 0
    lock: str | None = None
    broken: AssertionError | None = None
    bodies: dict[str, Resource] = field(default_factory=dict)

    def __call__(self, _: str, written: list[Document]) -> None:
        try:
            for document in sorted(written, key=lambda document: document.kind == "batch"):
                self._see(document)
            self._agree()
        except AssertionError as error:
            self.broken = self.broken or error

    def check(self) -> None:
        if self.broken:
            raise self.broken

    def _see(self, document: Document) -> None:
        self.bodies[document.id] = document.body
        match document.kind:
            case "batch":
                assert document.body["number"] == self.batches, "the log has a gap"
                self.batches += 1
                for name, given in document.body["events"]:
                    data = self.bodies[given["id"]]["resource"] if names_a_step((name, given)) else given
                    self.rules.take(name, data)
                    self.events.append((name, data))
            case "thread":
                self.lock = document.body["active_run_id"]
            case "run":
                run = document.body["resource"]
                assert self.run is None or self.run["status"] not in TERMINAL or self.run == run, "an end was changed"
                self.run, self.turn = run, document.body["turn"]

    def _agree(self) -> None:
        """Effect and log are one commit: at no moment does one know more than the other."""
        if self.run is None:
            return
        last = next(data for name, data in reversed(self.events) if is_run_event(name))
        assert last == runs.state(self.run), "the log's last state is not the run's"
        is_over = self.run["status"] in TERMINAL
        assert self.lock == (None if is_over else self.run["id"]), "lock and run do not agree"

    @property
    def is_over(self) -> bool:
        return self.run is not None and self.run["status"] in TERMINAL


@dataclass(frozen=True, slots=True)
class Ended:
    """What a run has left in its thread: listed messages and steps, and its log."""

    run: Resource
    messages: list[Resource]
    steps: list[Resource]
    watch: Watch

    def check(self, answers: dict[int, list[str]], allowed: set[str]) -> None:
        """`answers`: per turn, what the model said in each of its calls. `allowed` are the run's ends."""
        self.watch.check()
        assert self.watch.is_over, f"the run is still {self.run['status']}"
        assert self.run["status"] in allowed, f"the run is {self.run['status']}, not {' or '.join(sorted(allowed))}"
        self._check_messages(answers)
        self._check_steps()

    def _check_messages(self, answers: dict[int, list[str]]) -> None:
        said = [each for calls in answers.values() for each in calls]
        for message in self.messages:
            text = message["content"][0]["text"]["value"]
            if message["status"] == "completed":
                assert text in said, f"nobody said {text!r}"
            else:
                assert any(each.startswith(text) for each in said), f"nobody began {text!r}"
            # What a stream showed last of a message is what is stored (F.7.1).
            assert self.watch.rules.ended_messages[message["id"]] == message
        incomplete = [message for message in self.messages if message["status"] == "incomplete"]
        assert len(incomplete) <= (0 if self.run["status"] == "completed" else 1)
        assert all(message["status"] in ("completed", "incomplete") for message in self.messages)

    def _check_steps(self) -> None:
        listed = {step["id"]: step for step in self.steps}
        streamed = self.watch.rules.ended_steps
        assert all(streamed[id] == step for id, step in listed.items())
        made = [s["step_details"]["message_creation"]["message_id"] for s in self.steps if s["type"] != "tool_calls"]
        assert made == [message["id"] for message in self.messages], "messages and their steps do not agree"
        if self.run["status"] == "completed":
            assert self.run["usage"] == total(step["usage"] for step in self.steps)
            assert all(step["status"] == "completed" for step in self.steps)
            last = [data["id"] for name, data in self.watch.events if name == "thread.message.completed"][-1]
            assert self.messages[-1]["id"] == last, "the stream's last message is not the answer"


async def ended_run(documents: Documents, tenant: str, thread_id: str, watch: Watch) -> Ended:
    """Read what the run has left; check that no two things have one place in the thread."""
    partition = thread_partition(tenant, thread_id)
    assert watch.run
    found = {kind: await documents.list(partition, kind, limit=1_000) for kind in ("message", "step", "run")}
    places = Counter(document.sort for kind in found.values() for document in kind)
    assert max(places.values()) == 1, "two things have one place in the thread"
    thread = await documents.get(partition, thread_id)
    assert thread and thread.body["active_run_id"] is None, "the thread is locked"
    assert thread.body["next_seq"] == len(places)
    of_run = {kind: [d.body["resource"] for d in found[kind] if "run_id" in d.terms] for kind in ("message", "step")}
    run = await documents.get(partition, watch.run["id"])
    assert run and run.unfinished_since is None
    return Ended(run.body["resource"], of_run["message"], of_run["step"], watch)
