"""Putting streamed function calls together.

The API sends an index with every piece, and id and name with a call's first one. Seen elsewhere: no index, one
index for all; no id, one id for all, a new id with each piece, ids that are numbers; the name with each piece, or in
pieces; arguments as an object, none, null.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from ids import derived_id
from ports.language_model import CallPiece, FunctionCall, ModelRefused
from texts import whole

MAX_CALLS = 1_000_000  # characters of all names and arguments of an answer; no run can keep as much
_MAX_ID = 256  # characters

TOO_MUCH = "The model's function calls hold too much to be stored."
NAMELESS = "The model called a function without naming it."
NOT_CALLS = "The model endpoint sent function calls that are none."


@dataclass(frozen=True, slots=True)
class _Piece:
    """What one entry of a delta's `tool_calls` holds; "" stands for nothing."""

    index: int | None
    id: str
    name: str
    arguments: str


@dataclass(slots=True)
class _Call:
    id: str = ""
    name: str = ""
    arguments: str = ""

    @property
    def is_whole(self) -> bool:
        return is_object(self.arguments)


class Calls:
    """The calls of one answer: `add` each list of deltas. Raises ModelRefused for what can be no call.

    `known` are the names of the functions that the model may call.
    """

    def __init__(self, known: Iterable[str]) -> None:
        self._known = frozenset(known)
        self._calls: list[_Call] = []
        self._call_at: dict[int, _Call] = {}
        self._size = 0

    def __bool__(self) -> bool:
        return bool(self._calls)

    @property
    def are_whole(self) -> bool:
        """Whether the arguments of each call are all there."""
        return all(call.is_whole or not call.arguments.strip() for call in self._calls)

    def add(self, entries: object, *, each_is_whole: bool = False) -> list[CallPiece]:
        """Add a delta's list; return what came of it. `each_is_whole`: it is a message's, an entry for each call."""
        if isinstance(entries, dict):
            entries = [entries]
        if not isinstance(entries, list):
            raise ModelRefused("server_error", NOT_CALLS)
        pieces: list[CallPiece] = []
        named: list[_Call] = []  # by this very delta: it would not say the same call's name in two pieces
        for entry in entries:
            piece = _piece(entry)
            call = None if each_is_whole else self._call_of(piece)
            if call is None or (piece.name and any(call is other for other in named)):
                call = self._begin(piece)
            if added := self._extend(call, piece):
                index = next(index for index, each in enumerate(self._calls) if each is call)
                pieces.append(CallPiece(index, call.name, added))
            if piece.name:
                named.append(call)
        return pieces

    def _call_of(self, piece: _Piece) -> _Call | None:
        """The call that the piece belongs to, None if it begins one."""
        last = self._calls[-1] if self._calls else None
        if piece.index is not None:
            call = self._call_at.get(piece.index)
            if call is None and not piece.name:
                call = last if last and not last.is_whole else None
        else:
            same = next((call for call in reversed(self._calls) if piece.id and call.id == piece.id), None)
            call = same or last
        return None if call is None or self._begins_another(call, piece) else call

    def _begins_another(self, call: _Call, piece: _Piece) -> bool:
        same_id = bool(piece.id) and piece.id == call.id
        if call.is_whole:
            # Nothing can be added to an object that is closed.
            says_more = bool(piece.arguments.strip()) and piece.arguments != call.arguments
            return says_more or (bool(piece.name) and not (same_id and piece.name == call.name))
        if same_id or not piece.name or not call.name or piece.name == call.name:
            return False
        if call.arguments.strip():
            return bool(piece.id)
        return self._names_another(call, piece)

    def _names_another(self, call: _Call, piece: _Piece) -> bool:
        """Whether a second name, before any arguments, is that of another call, not the rest of the first."""
        if call.name in self._known and piece.name in self._known:
            return True
        if piece.name.startswith(call.name) or call.name + piece.name in self._known:
            return False
        return call.name in self._known or bool(piece.id and call.id)

    def _begin(self, piece: _Piece) -> _Call:
        call = _Call()
        self._calls.append(call)
        if piece.index is not None:
            self._call_at[piece.index] = call
        return call

    def _extend(self, call: _Call, piece: _Piece) -> str:
        """Add the piece to the call; return what it adds to its arguments."""
        call.id = call.id or piece.id
        if piece.name.startswith(call.name):  # said again, or more of it
            call.name = piece.name
        elif not call.arguments.strip():
            call.name += piece.name
        added = "" if call.is_whole else piece.arguments
        call.arguments += added
        self._size += len(piece.name) + len(piece.arguments)
        if self._size > MAX_CALLS:
            raise ModelRefused("server_error", TOO_MUCH)
        return added

    def function_calls(self, messages: list[dict[str, Any]]) -> list[FunctionCall]:
        """The calls, each with an id that neither another one has nor one in `messages`, the conversation so far."""
        taken = {call.get("id") for message in messages for call in message.get("tool_calls") or ()}
        calls: list[FunctionCall] = []
        for index, call in enumerate(self._calls):
            name = whole(call.name)
            if not name:
                raise ModelRefused("server_error", NAMELESS)
            id = call.id
            if not id or id in taken:
                # The messages are in it, so the same call in a later turn gets another id.
                id = derived_id("call", json.dumps(messages), index, name)
            taken.add(id)
            calls.append(FunctionCall(index, id, name, _arguments(call.arguments)))
        return calls


def is_object(text: str) -> bool:
    """Whether the text is a whole JSON object."""
    if not text.rstrip().endswith("}"):  # which most pieces don't, and reading is dear
        return False
    try:
        return isinstance(json.loads(text), dict)
    except (ValueError, RecursionError):
        return False


def _arguments(text: str) -> str:
    """As the model wrote them; but clients and endpoints parse them, so none are an empty object."""
    return "{}" if text.strip() in ("", "null") else whole(text)


def _piece(entry: object) -> _Piece:
    if not isinstance(entry, dict):
        raise ModelRefused("server_error", NOT_CALLS)
    function = entry.get("function", entry)
    if not isinstance(function, dict):
        function = {}
    return _Piece(
        _index(entry.get("index")), _id(entry.get("id")), _name(function.get("name")), _text(function.get("arguments"))
    )


def _index(value: object) -> int | None:
    if isinstance(value, str) and value.isdecimal() and len(value) < 10:
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _id(value: object) -> str:
    """An id that can be sent in a body and compared, else ""."""
    usable = isinstance(value, str) and len(value) <= _MAX_ID and value.isprintable() and not value.isspace()
    return value if usable and isinstance(value, str) else ""


def _name(value: object) -> str:
    return "".join(filter(str.isprintable, value)).strip() if isinstance(value, str) else ""


def _text(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False)
    except (ValueError, RecursionError):
        raise ModelRefused("server_error", NOT_CALLS) from None
