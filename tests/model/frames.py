"""A reader's side of the wire: server-sent events back to what they say."""

import json
from dataclasses import dataclass, field
from typing import Any

from domain import runs
from events.log import ends_run, ends_stream, is_run_event
from events.stream import DONE, KEEP_ALIVE, Cursor

Event = tuple[str, dict[str, Any]]


@dataclass(slots=True)
class Reading:
    """What one reader has been sent, over all its streams. A stream begins after the last event of the one before."""

    events: list[Event] = field(default_factory=list)
    after: Cursor = field(default_factory=Cursor)
    done: bool = True

    @property
    def is_over(self) -> bool:
        return bool(self.events) and self.done and ends_run(self.events[-1][0])

    def begin(self) -> Cursor:
        self.done = False
        return self.after

    def take(self, piece: bytes) -> None:
        if piece != KEEP_ALIVE:
            for frame in piece.removesuffix(b"\n\n").split(b"\n\n"):
                self._take(frame + b"\n\n")

    def _take(self, frame: bytes) -> None:
        assert not self.done, "a frame after the end of the stream"
        if frame == DONE:
            assert ends_stream(self.events[-1][0]), "a stream ends in the middle of the run"
            self.done = True
            return
        event, data, id = frame.decode().removesuffix("\n\n").split("\n")
        batch, index = id.removeprefix("id: ").split(".")
        self.after = Cursor(int(batch), int(index))
        self.events.append((event.removeprefix("event: "), json.loads(data.removeprefix("data: "))))

    def end(self) -> None:
        assert self.done, "a stream ends without saying so"

    def check(self, written: list[Event], run: dict[str, Any] | None) -> None:
        """The reader has seen all that was written, once and in order; the run's events are the whole run."""
        assert self.is_over and run
        sent = [(name, runs.state(data) if is_run_event(name) else data) for name, data in self.events]
        assert sent == written, "a reader was not sent what was written"
        assert self.events[-1][1] == run, "the last run in the stream is not the stored one"
