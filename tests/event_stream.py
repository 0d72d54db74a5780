"""A stream of server-sent events as it is on the wire, read strictly, and the rules every stream keeps."""

import json
import re
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import httpx

KEEP_ALIVE = ": keep-alive"
_ID = re.compile(r"\d+\.\d+")
_RUN_STATES = {"created", "queued", "in_progress", "requires_action", "cancelling"}
_RUN_STATES |= {"completed", "incomplete", "failed", "cancelled", "expired"}


@dataclass(frozen=True)
class Frame:
    id: str | None
    event: str
    data: Any  # parsed; the text itself if it is [DONE]


class EventStream:
    """Frames are kept in `seen`. Whatever is not framed as F.1 says is an AssertionError."""

    def __init__(self, response: httpx.Response) -> None:
        self.response = response
        self.seen: list[Frame] = []
        self.keep_alives = 0
        self._lines = response.iter_lines()

    def __iter__(self) -> Iterator[Frame]:
        fields: dict[str, str] = {}
        for line in self._lines:
            if line == KEEP_ALIVE:
                self.keep_alives += 1
            elif line:
                name, _, value = line.partition(": ")
                assert name in ("id", "event", "data") and name not in fields, line
                fields[name] = value
            else:
                yield self._frame(fields)
                fields = {}
        assert not fields, f"The stream ended within a frame: {fields}"

    def until(self, event: str) -> Any:
        """Read on to the next event of this name; return its data."""
        for frame in self:
            if frame.event == event:
                return frame.data
        raise AssertionError(f"The stream ended without {event}: {self.names}")

    def finish(self) -> "EventStream":
        """Read to the end, and check what every stream must keep."""
        for _ in self:
            pass
        check(self.seen)
        return self

    @property
    def names(self) -> list[str]:
        """The events' names without "thread."; deltas in a row count as one."""
        names = [frame.event.removeprefix("thread.") for frame in self.seen]
        return [name for name, group in groupby(names) for name in ([name] if name.endswith("delta") else group)]

    def of(self, event: str) -> list[Any]:
        return [frame.data for frame in self.seen if frame.event == event]

    @property
    def run(self) -> dict[str, Any]:
        """The run as the last event showed it."""
        return [frame.data for frame in self.seen if is_run_event(frame.event)][-1]

    @property
    def text(self) -> str:
        """What was streamed of the last message."""
        last = self.of("thread.message.created")[-1]["id"]
        deltas = (delta for delta in self.of("thread.message.delta") if delta["id"] == last)
        return "".join(part["text"]["value"] for delta in deltas for part in delta["delta"]["content"])

    def _frame(self, fields: dict[str, str]) -> Frame:
        # By their position: Azure's Java clients take them so.
        assert list(fields) in (["event", "data"], ["event", "data", "id"]), f"Not a whole frame: {fields}"
        data = fields["data"] if fields["event"] == "done" else json.loads(fields["data"])
        self.seen.append(Frame(fields.get("id"), fields["event"], data))
        return self.seen[-1]


@contextmanager
def open_stream(http: httpx.Client, method: str, path: str, **request: Any) -> Iterator[EventStream]:
    """Open a stream; `request` goes to httpx. AssertionError if the answer is none."""
    with http.stream(method, path, **request) as response:
        if response.status_code != 200:
            raise AssertionError(f"{response.status_code}: {response.read().decode()}")
        assert response.headers["content-type"] == "text/event-stream; charset=utf-8"
        assert "content-length" not in response.headers
        assert response.headers["cache-control"] == "no-cache"
        assert response.headers["x-request-id"]
        yield EventStream(response)


def is_run_event(name: str) -> bool:
    return name.startswith("thread.run.") and name.removeprefix("thread.run.") in _RUN_STATES


def check(frames: list[Frame]) -> None:
    """Rules of F.1 to F.7 that hold for every stream that was read from a request's beginning to its end."""
    *events, done = frames
    assert (done.event, done.data, done.id) == ("done", "[DONE]", None)
    assert events, "nothing but done"
    assert all(frame.id and _ID.fullmatch(frame.id) for frame in events)
    places = [tuple(map(int, str(frame.id).split("."))) for frame in events]
    assert places == sorted(set(places)), "ids don't ascend"
    last = events[-1].event
    assert is_run_event(last) and last.rpartition(".")[2] not in ("created", "queued", "in_progress"), last
    _check_messages(events)
    _check_steps(events)


def _check_messages(events: list[Frame]) -> None:
    said: dict[str, list[str]] = {}
    is_open: str | None = None
    for frame in events:
        match frame.event:
            case "thread.message.created":
                assert is_open is None and frame.data["id"] not in said, "a message within a message, or twice"
                assert frame.data["content"] == [] and frame.data["status"] == "in_progress"
                is_open = frame.data["id"]
                said[frame.data["id"]] = []
            case "thread.message.delta":
                assert frame.data["id"] == is_open and "role" not in frame.data["delta"]
                _grow(said[frame.data["id"]], frame.data["delta"]["content"])
            case "thread.message.completed" | "thread.message.incomplete":
                assert frame.data["id"] == is_open
                is_open = None
                parts = [_text(part) for part in frame.data["content"]]
                assert parts == (said[frame.data["id"]] or [""]), "the deltas don't add up to the message"
    assert is_open is None, "a message without an end"


def _grow(parts: list[str], pieces: list[dict[str, Any]]) -> None:
    for piece in pieces:
        if piece["index"] == len(parts):
            parts.append("")
            assert piece["type"] != "text" or piece["text"]["annotations"] == []
        else:
            assert piece["index"] == len(parts) - 1 and "annotations" not in piece.get("text", {})
        parts[piece["index"]] += _text(piece)


def _text(part: dict[str, Any]) -> str:
    return part["refusal"] if part["type"] == "refusal" else part["text"]["value"]


def _check_steps(events: list[Frame]) -> None:
    calls: dict[str, dict[int, dict[str, str]]] = defaultdict(dict)
    created: set[str] = set()
    for frame in events:
        if not frame.event.startswith("thread.run.step."):
            continue
        step_id = frame.data["id"]
        match frame.event.rpartition(".")[2]:
            case "created":
                assert step_id not in created
                created.add(step_id)
            case "delta":
                assert step_id in created
                for call in frame.data["delta"]["step_details"]["tool_calls"]:
                    _grow_call(calls[step_id], call)
            case "in_progress":
                assert step_id in created
    for frame in events:
        if frame.event == "thread.run.requires_action":
            wanted = frame.data["required_action"]["submit_tool_outputs"]["tool_calls"]
            streamed = list(calls.values())[-1]
            assert [streamed[index] for index in sorted(streamed)] == [
                {"id": call["id"], **call["function"]} for call in wanted
            ], "the deltas don't add up to the calls"


def _grow_call(calls: dict[int, dict[str, str]], delta: dict[str, Any]) -> None:
    function = delta["function"]
    if delta["index"] not in calls:
        assert delta["index"] == len(calls) and function["output"] is None
        calls[delta["index"]] = {"id": delta["id"], "name": function["name"], "arguments": ""}
    else:
        assert "id" not in delta and "name" not in function
    calls[delta["index"]]["arguments"] += function["arguments"]
