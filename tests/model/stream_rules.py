"""What a stream must be like for every client's accumulator: F.5, F.6 and F.7 of the specification."""

from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

Resource = dict[str, Any]

# From what state a run's event may come (E.1); None is the state before the stream's first event.
_FOLLOWS = {
    "created": {None},
    "queued": {"created", "requires_action"},
    "in_progress": {"queued"},
    "requires_action": {"in_progress"},
    "cancelling": {"queued", "in_progress", "requires_action"},
    "completed": {"in_progress"},
    "incomplete": {"in_progress", "queued"},
    "failed": {"in_progress", "queued"},
    "cancelled": {"cancelling"},
    "expired": {"queued", "in_progress", "requires_action"},
}
TERMINAL = {"completed", "incomplete", "failed", "cancelled", "expired"}
_ENDS_MESSAGE = {"completed", "incomplete"}
_ENDS_STEP = {"completed", "cancelled", "failed", "expired"}


@dataclass(slots=True)
class StreamRules:
    """Takes a run's events in their order; raises AssertionError at the first that must not come."""

    run: str | None = None
    message: Resource | None = None
    message_moved: bool = False
    step: Resource | None = None
    parts: list[str] = field(default_factory=list)
    calls: list[Resource] = field(default_factory=list)
    seen: set[str] = field(default_factory=set)
    ended_messages: dict[str, Resource] = field(default_factory=dict)
    ended_steps: dict[str, Resource] = field(default_factory=dict)

    def take(self, name: str, data: Resource) -> None:
        assert self.run not in TERMINAL, f"{name} after the end"
        kind, _, what = name.removeprefix("thread.").rpartition(".")
        if kind == "message":
            self._message(what, data)
        elif kind == "run.step":
            self._step(what, data)
        elif kind == "run":
            self._run(what, data)
        else:
            raise AssertionError(f"an event of no known name: {name}")

    def _run(self, what: str, data: Resource) -> None:
        assert self.run in _FOLLOWS[what], f"{what} after {self.run}"
        assert data["status"] == ("queued" if what == "created" else what)
        if what in TERMINAL:
            assert self.message is None and self.step is None, "the run is over, something of it is not"
        self.run = what

    def _message(self, what: str, data: Resource) -> None:
        if what == "created":
            self._begin_message(data)
            return
        assert self.message and self.message["id"] == data["id"], f"{what} of a message that is not open"
        if what == "in_progress":
            assert not self.message_moved
            self.message_moved = True
        elif what == "delta":
            assert self.run == "in_progress" and self.message_moved
            self._grow(data["delta"]["content"])
        else:
            assert what in _ENDS_MESSAGE and data["status"] == what
            # Never empty (F.5.1).
            assert [_text(part) for part in data["content"]] == (self.parts or [""])
            self.ended_messages[data["id"]], self.message = data, None

    def _begin_message(self, data: Resource) -> None:
        assert self.message is None, "a second message begins before the first has ended"
        assert self.run == "in_progress" and data["status"] == "in_progress" and data["content"] == []
        assert self.step and self.step["type"] == "message_creation"
        assert data["id"] not in self.seen
        self.seen.add(data["id"])
        self.message, self.message_moved, self.parts = data, False, []

    def _grow(self, pieces: list[Resource]) -> None:
        for piece in pieces:
            text, annotated = _text(piece), "annotations" in piece.get("text", {})
            is_new = piece["index"] == len(self.parts)
            assert annotated == (is_new and piece["type"] == "text")
            self.parts += [""] if is_new else []
            self.parts[piece["index"]] += text

    def _step(self, what: str, data: Resource) -> None:
        if what == "created":
            assert self.step is None, "a second step begins before the first has ended"
            assert self.run == "in_progress" and data["status"] == "in_progress" and data["id"] not in self.seen
            self.seen.add(data["id"])
            self.step, self.calls = data, []
            return
        assert self.step and self.step["id"] == data["id"], f"{what} of a step that is not open"
        if what == "delta":
            self._grow_calls(data["delta"]["step_details"]["tool_calls"])
        elif what != "in_progress":
            assert what in _ENDS_STEP and data["status"] == what and data["usage"] is not None
            assert self.message is None, "a step ends before its message"
            self._compare_calls(data)
            self.ended_steps[data["id"]], self.step = data, None

    def _grow_calls(self, pieces: list[Resource]) -> None:
        for piece in pieces:
            if piece["index"] == len(self.calls):
                self.calls.append(deepcopy({"id": piece["id"], **piece[piece["type"]]}))
            elif piece["type"] == "code_interpreter":
                self._grow_code(self.calls[piece["index"]], piece)
            else:
                assert "id" not in piece and "name" not in piece["function"]
                self.calls[piece["index"]]["arguments"] += piece["function"]["arguments"]

    def _grow_code(self, call: Resource, piece: Resource) -> None:
        code = piece["code_interpreter"]
        assert "id" not in piece
        call["input"] += code.get("input", "")
        for output in code.get("outputs", []):
            assert output["index"] == len(call["outputs"])
            call["outputs"].append({name: value for name, value in output.items() if name != "index"})

    def _compare_calls(self, step: Resource) -> None:
        if step["type"] == "tool_calls":
            whole = [{"id": call["id"], **call[call["type"]]} for call in step["step_details"]["tool_calls"]]
            assert [call | {"output": None} if "output" in call else call for call in whole] == self.calls


def _text(part: Resource) -> str:
    return part["text"]["value"] if part["type"] == "text" else part["refusal"]
