"""What one delivery of call_model writes into the run's log while the model speaks.

The delivery enters a turn by creating the log's next batch. From then on a taken number means that
another delivery took over: `Replaced`, and this one writes nothing more.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from domain import messages, run_steps
from domain.file_links import FileLinks
from domain.messages import PartType
from domain.usage import total
from errors import Conflict
from events.addresses import batch_id
from events.fold import LogState
from events.log import Event, batch_document, step_event
from events.races import ATTEMPTS, commit_patiently
from events.thread_commit import ThreadCommit
from ids import derived_id
from ports.documents import Change, Create, Document, Documents

Resource = dict[str, Any]


class Replaced(Exception):
    """Another delivery of the same turn, a cancel or a closing has taken the next number."""


@dataclass(slots=True)
class TurnStream:
    """`log` is the run's log as this delivery knows it, its own batches included.

    `pending` are events not yet written. `images` are the ids of pictures that its message begins with, `files` is what
    its text may link to: file id by name. `message_id` is this delivery's own: a delivery that takes over ends what its
    predecessor has begun, a message or a step of calls, and streams under new ids. `given_up` counts the steps of
    calls that this delivery has ended itself, `spoken` its messages that have entered the thread before the turn's end.
    `continues`: a predecessor's has, and stands for what the model says before its calls.
    """

    documents: Documents
    partition: str
    run: Resource
    turn: int
    lifetime: float
    log: LogState
    images: Sequence[str] = ()
    files: Mapping[str, str] = field(default_factory=dict)
    pending: list[Event] = field(default_factory=list)
    message_id: str = ""  # from `enter` on
    given_up: int = 0
    spoken: int = 0
    continues: bool = False
    _links: FileLinks | None = None  # of the text that is being said

    @property
    def step_id(self) -> str:
        return derived_id("step", self.run["id"], self.turn, "message", self.log.entries[self.turn], self.spoken)

    @property
    def speaking(self) -> bool:
        """Whether this delivery's own message is open."""
        return self.log.message is not None and self.log.message["id"] == self.message_id

    def say(self, kind: PartType, text: str, now: int) -> None:
        """Add a piece of the answer; its message is opened with the first one."""
        self.open_message(now)
        parts = self.log.parts
        is_first = not parts or parts[-1]["type"] != kind
        if is_first:
            self.end_text()
            self._links = FileLinks(self.files) if kind == "text" else None
        noted = None if is_first or kind != "text" else len(parts[-1]["text"]["annotations"])
        index = len(parts) if is_first else len(parts) - 1
        links = self._links.feed(text) if self._links else []
        self._add(("thread.message.delta", messages.delta(self.message_id, index, kind, text, links, noted=noted)))

    def end_text(self) -> None:
        """Note the links that only the text's end decides."""
        links, self._links = self._links.end() if self._links else [], None
        if links:
            index = len(self.log.parts) - 1
            noted = len(self.log.parts[index]["text"]["annotations"])
            self._add(("thread.message.delta", messages.delta(self.message_id, index, "text", "", links, noted=noted)))

    def open_message(self, now: int) -> None:
        """Begin this delivery's message, unless it has begun."""
        if self.speaking:
            return
        self.abandon_message(now)
        self.abandon_calls(now)
        if self.log.step is None:
            details = run_steps.message_creation(self.message_id)
            step = run_steps.opened(self.step_id, self.run, details, now)
            self._add(step_event(step, "created"))
            self._add(step_event(step))
        message = messages.opened(self.message_id, self.run, now)
        self._add(("thread.message.created", message))
        self._add(("thread.message.in_progress", message))
        for index, file_id in enumerate(() if self.log.said else self.images):
            self._add(("thread.message.delta", messages.image_delta(self.message_id, index, file_id)))

    def abandon_message(self, now: int) -> None:
        """End what a predecessor streamed: it can't be unsaid, but it is not the answer."""
        if self.log.message and not self.speaking:
            given_up = messages.incomplete(self.log.message, self.log.parts, "run_failed", now)
            self._add(("thread.message.incomplete", given_up))

    def speech_ended(self, commit: ThreadCommit, now: int) -> list[Event]:
        """Return the events that end this delivery's message, and put it with its step into `commit`."""
        assert self.log.message and self.log.step
        terms = {"run_id": self.run["id"]}
        message = messages.completed(self.log.message, self.log.parts, now)
        details = {"step_details": run_steps.message_creation(message["id"])}
        step = run_steps.ended(self.log.step | details, "completed", now, usage=total([]))
        commit.append("message", message, terms)
        commit.append("step", step, terms)
        return [("thread.message.completed", message), step_event(step)]

    async def end_speech(self, now: int) -> None:
        """End this delivery's message before its turn is over, for what comes is a step of its own.

        Raises Replaced, StoreUnavailable as `flush` does.
        """
        self.end_text()
        for _ in range(ATTEMPTS):
            thread = await self.documents.get(self.partition, self.run["thread_id"])
            if thread is None:
                break  # nobody will want to know
            commit = ThreadCommit(thread)
            events = self.speech_ended(commit, now)
            commit.add(self.pending_batch(events))
            try:
                await commit_patiently(self.documents, self.partition, *commit.changes())
            except Conflict:
                if await self.documents.get(self.partition, batch_id(self.run["id"], self.log.next)):
                    break
                continue  # a client has changed the thread's metadata
            self._written(events)
            self.spoken += 1
            self.message_id = derived_id("message", self.run["id"], self.turn, self._entries, self.spoken)
            return
        raise Replaced

    # Calls of built-in tools, while the model writes them

    @property
    def calls_step_id(self) -> str:
        return derived_id("step", self.run["id"], self.turn, "calls", self._entries, self.given_up)

    @property
    def _entries(self) -> int:
        return self.log.entries[self.turn]

    @property
    def calling(self) -> bool:
        """Whether this delivery's own step of calls is open."""
        return self.log.calls is not None and self.log.calls["id"] == self.calls_step_id

    def call_id(self, index: int) -> str:
        return derived_id("call", self.calls_step_id, index)

    def open_calls(self, now: int) -> None:
        """Begin this delivery's step of calls, unless it has begun. What a predecessor has begun is given up."""
        if self.calling:
            return
        self.abandon_speech(now)
        self.abandon_calls(now)
        step = run_steps.opened(self.calls_step_id, self.run, run_steps.tool_calls([]), now)
        self._add(step_event(step, "created"))
        self._add(step_event(step))

    def add_to_call(self, index: int, entry: Resource) -> None:
        self._add(("thread.run.step.delta", run_steps.call_delta(self.calls_step_id, index, entry)))

    def abandon_speech(self, now: int) -> None:
        """End a predecessor's message, and its step."""
        self.abandon_message(now)
        if self.log.step:
            self._add(step_event(run_steps.ended(self.log.step, "cancelled", now, usage=total([]))))

    def abandon_calls(self, now: int) -> None:
        """End a step of calls that are not the turn's: a predecessor's, or this delivery's own."""
        if self.log.calls:
            self.given_up += self.calling
            self._add(step_event(run_steps.ended(self.log.calls, "cancelled", now, usage=total([]))))

    def _add(self, event: Event) -> None:
        self.pending.append(event)
        self.log.apply(event)

    async def enter(self, *changes: Change, events: list[Event]) -> list[Document]:
        """Take the log's next number for this turn and return what was stored for `changes`.

        Raises Conflict, for the caller to read again.
        """
        batch = batch_document(self.run["id"], self.log.next, events, lifetime=self.lifetime, turn=self.turn)
        _, *stored = await self.documents.commit(self.partition, Create(batch), *changes)
        self.log.enter(self.turn)
        self._written(events)
        self.continues = bool(self.log.said)
        self.message_id = derived_id("message", self.run["id"], self.turn, self._entries)
        return stored

    def _written(self, events: list[Event]) -> None:
        """What was pending and these events are in the log."""
        for event in events:
            self.log.apply(event)
        self.pending = []
        self.log.next += 1

    async def flush(self) -> None:
        """Write what is pending, also if the store is away for a moment: the model is not to be asked, and
        paid, twice for that. Raises Replaced, StoreUnavailable after races.PATIENCE."""
        if not self.pending:
            return
        try:
            await commit_patiently(self.documents, self.partition, self.pending_batch([]))
        except Conflict:
            raise Replaced from None
        self._written([])

    def pending_batch(self, events: list[Event]) -> Create:
        """Return the change that writes what is pending and `events` as the next batch."""
        batch = batch_document(self.run["id"], self.log.next, [*self.pending, *events], lifetime=self.lifetime)
        return Create(batch)
