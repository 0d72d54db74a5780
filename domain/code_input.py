"""The source in the arguments of a code call, read while the model writes them."""

import json
import re

_HEAD = re.compile(r'\s*\{\s*"code"\s*:\s*"')
_LONGEST_HEAD = 100  # characters
# What stands for itself, and one whole escape: a half of a pair only with its other half.
_PLAIN = re.compile(r'[^"\\\ud800-\udfff]+')
_ESCAPE = re.compile(r'\\(?:["\\/bfnrt]|u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|u[0-9a-fA-F]{4})')
_HALF = re.compile(r"\\u[dD][89a-fA-F]")
_LONGEST_ESCAPE = 12  # characters


class CodeReader:
    """Feed it the arguments as they come; it gives the source as far as it is certain.

    That is a beginning of what `source` reads from the whole (tools/code_interpreter.py): the rest is left to it,
    also where the arguments are no object with the code first.
    """

    def __init__(self) -> None:
        self._held = ""
        self._state = self._begin

    def feed(self, piece: str) -> str:
        self._held += piece
        return self._state()

    def _begin(self) -> str:
        begun = self._held.lstrip()
        if not begun:
            return ""
        if begun[0] == "{":
            if head := _HEAD.match(self._held):
                self._held, self._state = self._held[head.end() :], self._string
                return self._string()
            if len(self._held) > _LONGEST_HEAD:
                self._state = self._nothing
            return ""
        # Bare source, unless it could still turn out to be JSON.
        self._state = self._bare if begun[0].isalpha() or begun[0] in "#@_(" else self._nothing
        return self._state()

    def _string(self) -> str:
        read: list[str] = []
        at = 0
        while plain := _PLAIN.match(self._held, at) or _ESCAPE.match(self._held, at):
            text = plain[0]
            if text[0] == "\\":
                if _HALF.match(text) and len(text) < _LONGEST_ESCAPE:
                    break  # a half, or one whose other half is still to come
                text = json.loads(f'"{text}"')
            read.append(text)
            at = plain.end()
        self._held = self._held[at:]
        if self._held and (self._held[0] != "\\" or len(self._held) >= _LONGEST_ESCAPE):
            self._state = self._nothing  # the string's end, or what is no text
        return "".join(read)

    def _bare(self) -> str:
        plain = re.match(r"[^\ud800-\udfff]*", self._held)
        assert plain
        if plain.end() < len(self._held):
            self._state = self._nothing
        self._held = ""
        return plain[0]

    def _nothing(self) -> str:
        self._held = ""
        return ""
