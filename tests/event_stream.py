"""A stream of server-sent events as it is on the wire, read strictly, and the rules every stream keeps."""

import json
import re
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
        pieces = (part for delta in deltas for part in delta["delta"]["content"])
        return "".join(piece["text"]["value"] for piece in pieces if piece["type"] == "text")

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


def merged(snapshot: Any, delta: Any) -> Any:
    """Add a delta to a snapshot as the official clients do (F.4)."""
    match snapshot, delta:
        case None, _:
            return delta
        case str(), str():
            return snapshot + delta
        case dict(), dict():
            known = {
                key: delta[key] if key in ("index", "type") else merged(snapshot.get(key), delta[key]) for key in delta
            }
            return snapshot | known
        case list(), list():
            entries = list(snapshot)
            for entry in delta:
                assert isinstance(entry["index"], int) and entry["index"] <= len(entries), "not in their order"
                if entry["index"] == len(entries):
                    entries.append(entry)
                else:
                    entries[entry["index"]] = merged(entries[entry["index"]], entry)
            return entries
        case int() | float(), int() | float():
            return snapshot + delta
    raise AssertionError(f"{delta!r} can't be added to {snapshot!r}")


def _check_messages(events: list[Frame]) -> None:
    said: dict[str, list[dict[str, Any]]] = {}
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
                pieces = frame.data["delta"]["content"]
                _check_annotations(said[frame.data["id"]], pieces)
                said[frame.data["id"]] = merged(said[frame.data["id"]], pieces)
            case "thread.message.completed" | "thread.message.incomplete":
                assert frame.data["id"] == is_open
                is_open = None
                parts = [_part(part) for part in said[frame.data["id"]]]
                whole = [_part(part) for part in frame.data["content"]]
                assert whole == (parts or [("", [])]), "the deltas don't add up to the message"
    assert is_open is None, "a message without an end"


def _check_annotations(parts: list[dict[str, Any]], pieces: list[dict[str, Any]]) -> None:
    """An empty list of them comes with the first piece of a text alone."""
    for piece in pieces:
        assert piece["index"] >= len(parts) - 1
        if piece["type"] == "text":
            assert ("annotations" in piece["text"]) == (
                piece["index"] == len(parts) or bool(piece["text"].get("annotations"))
            )


def _part(part: dict[str, Any]) -> Any:
    match part["type"]:
        case "text":
            notes = [{k: v for k, v in note.items() if k != "index"} for note in part["text"]["annotations"]]
            for note in notes:
                value = part["text"]["value"]
                assert value[note["start_index"] : note["end_index"]] == note["text"], "not where it says"
            return part["text"]["value"], notes
        case "image_file":
            return part["image_file"]["file_id"]
    return part["refusal"]


def _check_steps(events: list[Frame]) -> None:
    calls: dict[str, list[dict[str, Any]]] = {}
    ended: set[str] = set()
    for frame in events:
        if frame.event == "thread.run.requires_action":
            _check_wanted(frame.data, list(calls.values())[-1])
        if not frame.event.startswith("thread.run.step."):
            continue
        step_id = frame.data["id"]
        match frame.event.rpartition(".")[2]:
            case "created":
                assert step_id not in calls
                assert frame.data["step_details"].get("tool_calls", []) == []
                calls[step_id] = []
            case "delta":
                assert step_id in calls and step_id not in ended
                calls[step_id] = merged(calls[step_id], frame.data["delta"]["step_details"]["tool_calls"])
            case "in_progress":
                assert step_id in calls
            case "completed" if step_id in calls:
                ended.add(step_id)
                shown = frame.data["step_details"].get("tool_calls", [])
                assert [_code(call) for call in shown] == [_code(call) for call in calls[step_id]]


def _check_wanted(run: dict[str, Any], calls: list[dict[str, Any]]) -> None:
    """What the client is asked for is what the deltas of the last step have shown of its functions."""
    wanted = run["required_action"]["submit_tool_outputs"]["tool_calls"]
    functions = [call for call in calls if call["type"] == "function"]
    assert [{"id": call["id"], **_called(call)} for call in functions] == [
        {"id": call["id"], **_called(call)} for call in wanted
    ], "the deltas don't add up to the calls"


def _called(call: dict[str, Any]) -> dict[str, str]:
    return {name: call["function"][name] for name in ("name", "arguments")}


def _code(call: dict[str, Any]) -> Any:
    """A call of the code interpreter as it is shown; of another only that it is there."""
    if call["type"] != "code_interpreter":
        return call["id"]
    outputs = [{k: v for k, v in each.items() if k != "index"} for each in call["code_interpreter"]["outputs"]]
    return call["id"], call["code_interpreter"]["input"], outputs
