"""What a run's log adds up to: where it ends, and what is open at its end."""

from dataclasses import dataclass, field
from typing import Any

from domain import messages, run_steps
from events.log import Batch, Event, ends_run, read
from ports.documents import Documents


@dataclass(slots=True)
class LogState:
    """`next` is the number of the batch to come. `message`, its `step`, and `calls`, a step of calls, are open:
    created, not ended.

    `parts` are the open message's so far, as the API shows them. `said` are those of messages that have ended in the
    turn that was entered last. `entries` counts the deliveries that entered each turn.
    """

    next: int = 0
    ended: bool = False
    message: dict[str, Any] | None = None
    parts: list[dict[str, Any]] = field(default_factory=list)
    step: dict[str, Any] | None = None
    calls: dict[str, Any] | None = None
    turn: int = -1
    said: list[dict[str, Any]] = field(default_factory=list)
    entries: dict[int, int] = field(default_factory=dict)

    def add(self, batch: Batch) -> None:
        self.next = batch.number + 1
        if batch.turn is not None:
            self.enter(batch.turn)
        for event in batch.events:
            self.apply(event)

    def enter(self, turn: int) -> None:
        self.entries[turn] = self.entries.get(turn, 0) + 1
        if turn != self.turn:
            self.turn, self.said = turn, []

    def apply(self, event: Event) -> None:
        name, data = event
        match name:
            case "thread.message.created":
                self.message, self.parts = data, []
            case "thread.message.delta":
                messages.grow(self.parts, data)
            case "thread.message.completed":
                self.said = [*self.said, *data["content"]]
                self.message, self.parts = None, []
            case "thread.message.incomplete":
                self.message, self.parts = None, []
            case "thread.run.step.created" if data["type"] == "message_creation":
                self.step = data
            case "thread.run.step.created":
                self.calls = data
            case "thread.run.step.delta" if self.calls and self.calls["id"] == data["id"]:
                self.calls = run_steps.grown(self.calls, data)
            case (
                "thread.run.step.completed"
                | "thread.run.step.cancelled"
                | "thread.run.step.failed"
                | "thread.run.step.expired"
            ):
                if self.step and self.step["id"] == data["id"]:
                    self.step = None
                if self.calls and self.calls["id"] == data["id"]:
                    self.calls = None
        self.ended = self.ended or ends_run(name)


async def fold(documents: Documents, partition: str, run_id: str) -> LogState:
    """Read the whole log of a run."""
    state = LogState()
    async for batch in read(documents, partition, run_id):
        state.add(batch)
    return state
