"""Links to files of the code interpreter in an answer: `sandbox:/mnt/data/report.xlsx` (G.1.7, G.1.8, C.5)."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from pydantic_core import to_json

Resource = dict[str, Any]

PREFIX = "sandbox:/mnt/data/"
ROOM = 40_000  # bytes as JSON that the annotations of one text may take: an answer is stored in one commit


class FileLinks:
    """Finds links in a text that arrives in pieces.

    `files` is file id by name. Of two names that fit the longer one counts, so a link may be known only by what
    follows it. Positions count code points of the whole text.
    """

    def __init__(self, files: Mapping[str, str]) -> None:
        self._files = {spelling: file_id for name, file_id in files.items() for spelling in _spellings(name)}
        self._tail = ""  # from `_at` on, not decided yet
        self._at = 0
        self._room = ROOM

    def feed(self, piece: str) -> list[Resource]:
        """Return the annotations of the links that this piece has decided."""
        return self._decided(piece, is_end=False) if self._files else []

    def end(self) -> list[Resource]:
        """Return those that only the text's end decides."""
        return self._decided("", is_end=True) if self._files else []

    def _decided(self, piece: str, *, is_end: bool) -> list[Resource]:
        self._tail += piece
        found: list[Resource] = []
        while (start := self._tail.find(PREFIX)) >= 0:
            rest = self._tail[start + len(PREFIX) :]
            if not is_end and self._may_grow(rest):
                self._drop(start)
                return found
            name = self._longest(rest)
            end = start + len(PREFIX) + len(name)
            if name:
                found += self._annotated(self._tail[start:end], self._at + start, self._files[name])
            self._drop(end)
        self._drop(max(0, len(self._tail) - len(PREFIX) + 1))
        return found

    def _drop(self, count: int) -> None:
        self._tail, self._at = self._tail[count:], self._at + count

    def _may_grow(self, rest: str) -> bool:
        """Whether more text could still change what is linked. A name is followed by at most two characters more."""
        return any(
            name.startswith(rest) or (rest.startswith(name) and len(rest) < len(name) + 2) for name in self._files
        )

    def _longest(self, rest: str) -> str:
        fitting = (name for name in self._files if rest.startswith(name) and _ends(rest[len(name) :]))
        return max(fitting, key=len, default="")

    def _annotated(self, text: str, start: int, file_id: str) -> list[Resource]:
        annotation = {
            "type": "file_path",
            "text": text,
            "start_index": start,
            "end_index": start + len(text),
            "file_path": {"file_id": file_id},
        }
        self._room -= len(to_json(annotation))
        return [annotation] if self._room >= 0 else []


def _spellings(name: str) -> set[str]:
    """As it is, and as models write it into a link of Markdown."""
    return {name, quote(name), name.replace(" ", "%20")}


def _ends(rest: str) -> bool:
    """Whether a name ends where `rest` begins: `a.csv` is not in `a.csv2` nor in `a.csv.gz`."""
    is_word = rest[:1].isascii() and (rest[:1].isalnum() or rest[:1] == "_")
    goes_on = rest[:1] in (".", "-") and rest[1:2].isascii() and rest[1:2].isalnum()
    return not is_word and not goes_on
