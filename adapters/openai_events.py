"""The body of a model's answer: bytes in, the JSON objects in it out, in whichever form an endpoint sends them.

Asked for a stream of events, endpoints send that, one JSON object, or an object in each line, and label any of
it as they like. So the form is told from the first line.
"""

import json
from collections.abc import Iterator
from typing import Any

MAX_LINE = 16 << 20  # bytes; beyond that nothing is on its way that could be kept
MAX_BODY = 32 << 20  # bytes of one JSON object that takes many lines
MAX_STRAY = 500  # characters kept of what is neither

_BOM = b"\xef\xbb\xbf"
# Text that holds a line break as it is breaks no stream.
_JSON = json.JSONDecoder(strict=False)

Object = dict[str, Any]


class NotACompletion(Exception):
    """The endpoint sent something that is not a chat completion."""


class EventReader:
    """Feed it the body as it arrives, then `end` it. Both give objects and raise NotACompletion.

    An error that came as an event of that name, or as a field, is given as {"error": …}. `done` is set by
    "[DONE]"; nothing follows it. `stray` is what was no event at all, such as an error in plain text.
    """

    def __init__(self) -> None:
        self.done = False
        self.stray = ""
        self._partial: list[bytes] = []
        self._partial_size = 0
        self._after_cr = False
        self._begun = False
        self._form: _Events | _Json | None = None

    def feed(self, data: bytes) -> Iterator[Object]:
        for line in self._lines(data):
            yield from self._take(line)

    def end(self) -> Iterator[Object]:
        if self._partial:
            line, self._partial = b"".join(self._partial), []
            yield from self._take(line)
        if self._form and not self.done:
            yield from self._form.end()

    def _take(self, line: bytes) -> Iterator[Object]:
        if not self._begun:
            self._begun, line = True, line.removeprefix(_BOM)
        if self._form is None:
            if not line.strip():
                return
            self._form = _Json() if line.lstrip()[:1] in (b"{", b"[") else _Events(self)
        if not self.done:
            yield from self._form.take(line)

    def _lines(self, data: bytes) -> list[bytes]:
        """The lines that end in `data`: at LF, CR or both. The rest waits."""
        if self._after_cr and data.startswith(b"\n"):
            data = data[1:]
        if not data:
            return []
        self._after_cr = data.endswith(b"\r")
        lines = data.splitlines(keepends=True)
        rest = lines.pop() if lines[-1][-1:] not in b"\r\n" else b""
        if lines and self._partial:
            lines[0] = b"".join([*self._partial, lines[0]])
            self._partial, self._partial_size = [], 0
        if rest:
            self._keep(rest)
        return [line.rstrip(b"\r\n") for line in lines]

    def _keep(self, rest: bytes) -> None:
        self._partial.append(rest)
        self._partial_size += len(rest)
        if self._partial_size > MAX_LINE:
            raise NotACompletion("The model endpoint sent a line without an end.")


class _Events:
    """A stream of server-sent events, https://html.spec.whatwg.org/multipage/server-sent-events.html."""

    def __init__(self, reader: EventReader) -> None:
        self._reader = reader
        self._data: list[bytes] = []
        self._event = b""

    def take(self, line: bytes) -> Iterator[Object]:
        if not line:
            yield from self.end()
            return
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if name == b"data":
            if self._data:  # of this event, or of the next one where they are not kept apart by empty lines
                yield from self._unless_half()
            self._data.append(value)
        elif name == b"event":
            self._event = value.strip()
        elif name == b"error":
            yield {"error": _value_or_text(_text(value))}
        elif name not in (b"", b"id", b"retry"):
            self._reader.stray = f"{self._reader.stray} {_text(line)}"[:MAX_STRAY]

    def end(self) -> Iterator[Object]:
        text, self._data = _text(b"\n".join(self._data)).strip(), []
        event, self._event = self._event, b""
        if text.startswith("[DONE]"):
            self._reader.done = True
        elif event.lower() == b"error":
            yield {"error": _value_or_text(text)}
        elif text:
            yield from _objects(_value(text))

    def _unless_half(self) -> Iterator[Object]:
        """Give the event so far if it is whole."""
        text = _text(b"\n".join(self._data)).strip()
        try:
            value = None if not text or text.startswith("[DONE]") else _value(text)
        except NotACompletion:
            return
        self._data = []
        yield from _objects(value)


class _Json:
    """One JSON text, or one in each line."""

    def __init__(self) -> None:
        self._lines: list[bytes] = []
        self._size = 0
        self._one_in_each_line = False

    def take(self, line: bytes) -> Iterator[Object]:
        if not self._lines and line.strip():
            try:
                yield from _objects(_value(_text(line)))
            except NotACompletion:
                if self._one_in_each_line:
                    raise
            else:
                self._one_in_each_line = True
                return
        self._size += len(line)
        if self._size > MAX_BODY:
            raise NotACompletion("The model endpoint's answer is too large.")
        if not self._one_in_each_line:
            self._lines.append(line)

    def end(self) -> Iterator[Object]:
        if self._lines:
            yield from _objects(_value(_text(b"\n".join(self._lines))))


def _text(data: bytes) -> str:
    return data.decode("utf-8", "replace")


def _value(text: str) -> Any:
    try:
        return _JSON.decode(text)
    except (ValueError, RecursionError):
        raise NotACompletion("The model endpoint sent something that is not JSON.") from None


def _value_or_text(text: str) -> Any:
    try:
        return _value(text) or text
    except NotACompletion:
        return text


def _objects(value: Any) -> Iterator[Object]:
    """The objects of an event: itself, those of a list, of `null` none."""
    for member in value if isinstance(value, list) else [value]:
        if isinstance(member, dict):
            yield member
        elif member is not None:
            raise NotACompletion("The model endpoint sent something that is not a chat completion.")
