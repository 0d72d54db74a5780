"""What the model writes into calls of built-in tools, streamed while it writes, as far as it can be read (F.3).

Only where nothing else of the turn is open: a message that was begun in it ends with the turn, and a run's steps
follow one another. Whatever is not streamed here comes with the commit that ends the turn.
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

    def take(self, piece: CallPiece, now: int) -> None:
        tool, announced = self._tools.get(piece.name), len(self._readers)
        if tool is None or self._left <= 0 or piece.index > announced or self._stream.speaking:
            return
        if self._readers and not self._stream.calling:
            return  # given up: the model has said something after its calls
        if piece.index == announced:
            self._stream.open_calls(now)
            self._stream.add_to_call(piece.index, tool.begun(self._stream.call_id(piece.index)))
            self._readers.append(tool.reader())
        if text := self._readers[piece.index].feed(piece.arguments)[: self._left]:
            self._left -= len(text)
            self._stream.add_to_call(piece.index, tool.written(text))
