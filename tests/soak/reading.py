"""A client's side of a run's stream: all that it was sent, over all the connections that it took."""

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import httpx

from tests.soak.violation import must

ENDS_RUN = {f"thread.run.{status}" for status in ("completed", "incomplete", "failed", "cancelled", "expired")}
ENDS_STREAM = ENDS_RUN | {"thread.run.requires_action"}


@dataclass(frozen=True, slots=True)
class Event:
    """`cursor` is (batch, index)."""

    cursor: tuple[int, int]
    name: str
    data: dict[str, Any]

    @property
    def id(self) -> str:
        return f"{self.cursor[0]}.{self.cursor[1]}"


@dataclass(slots=True)
class Reading:
    """`done`: the latest stream has said that it is over."""

    events: list[Event] = field(default_factory=list)
    done: bool = False

    @property
    def last(self) -> Event | None:
        return self.events[-1] if self.events else None

    @property
    def is_over(self) -> bool:
        return self.last is not None and self.last.name in ENDS_RUN

    async def take(self, response: httpx.Response, *, at_most: int | None = None) -> None:
        """Read the stream to its end, or to that many events. Raises httpx.TransportError where it is cut."""
        self.done = False
        taken = 0
        async for name, id, data in _frames(response):
            if name == "done":
                must(self.last is not None and self.last.name in ENDS_STREAM, "wrong", "a stream ended inside the run")
                self.done = True
                return
            must(name != "error", "wrong", f"an error in the stream: {data}")
            batch, index = id.split(".")
            event = Event((int(batch), int(index)), name, json.loads(data))
            must(self.last is None or event.cursor > self.last.cursor, "doubled", f"event {event.id} was sent again")
            self.events.append(event)
            taken += 1
            if taken == at_most:
                return
        raise httpx.RemoteProtocolError("the stream was cut")


async def _frames(response: httpx.Response) -> AsyncIterator[tuple[str, str, str]]:
    name = id = data = ""
    async for line in response.aiter_lines():
        if not line and name:
            yield name, id, data
            name = id = data = ""
        field_name, _, value = line.partition(": ")
        match field_name:
            case "event":
                name = value
            case "id":
                id = value
            case "data":
                data = value
