"""What the model writes into calls of built-in tools, streamed while it writes, as far as it can be read (F.3).

A run's steps follow one another, so a message that is open is ended before. Whatever is not streamed here comes with
the commit that ends the turn.
"""

from collections.abc import Mapping

from events.turn_stream import TurnStream
from ports.language_model import CallPiece
from tools.tool import Reader, Tool

MOST = 100_000  # characters of a turn's calls that are streamed early


class CallWriter:
    """`tools` are those of the run, by the names that the model calls them by."""

    def __init__(self, stream: TurnStream, tools: Mapping[str, Tool]) -> None:
        self._stream = stream
        self._tools = tools
        self._readers: list[Reader] = []  # of the calls that have been announced
        self._left = MOST

    @property
    def names(self) -> frozenset[str]:
        return frozenset(self._tools)

    def wants(self, piece: CallPiece) -> bool:
        """Whether it is to be streamed now: calls are announced in their order."""
        # What was given up, since the model has said something after it, isn't begun again.
        goes_on = self._stream.calling or not self._readers
        return goes_on and piece.name in self._tools and piece.index <= len(self._readers) and self._left > 0

    def take(self, piece: CallPiece, now: int) -> None:
        """Stream it if it is wanted. No message is open (`wants` tells that one must end)."""
        if not self.wants(piece):
            return
        tool = self._tools[piece.name]
        if piece.index == len(self._readers):
            self._stream.open_calls(now)
            self._stream.add_to_call(piece.index, tool.begun(self._stream.call_id(piece.index)))
            self._readers.append(tool.reader())
        if text := self._readers[piece.index].feed(piece.arguments)[: self._left]:
            self._left -= len(text)
            self._stream.add_to_call(piece.index, tool.written(text))
