"""The path of a request as the Functions host reads it, before it looks for a function."""

import re

_DOT = re.compile("%2e", re.IGNORECASE)
_ESCAPES = re.compile("(?:%[0-9a-f]{2})+", re.IGNORECASE)


def without_dots(raw_path: str) -> str:
    """Resolve `.` and `..`, encoded ones too; nothing is above the root."""
    if "." not in raw_path and "%2" not in raw_path:
        return raw_path
    kept: list[str] = []
    word = ""
    for segment in raw_path.split("/")[1:]:
        word = _DOT.sub(".", segment)
        if word == "..":
            kept = kept[:-1]
        elif word != ".":
            kept.append(segment)
    return "/".join(["", *kept, *([""] if word in (".", "..") else [])])


def decoded(segment: str) -> str:
    """Decode what is UTF-8 and no slash, and leave the rest as it is: `%2F`, `%FF`, `%zz`, `+`."""
    return _ESCAPES.sub(lambda found: _decode(found[0]), segment)


def _decode(escapes: str) -> str:
    octets = bytes.fromhex(escapes.replace("%", ""))
    read: list[str] = []
    at = 0
    while at < len(octets):
        character = _character(octets[at:])
        if character in ("", "/"):
            read.append(escapes[3 * at : 3 * at + 3])
            at += 1
        else:
            read.append(character)
            at += len(character.encode())
    return "".join(read)


def _character(octets: bytes) -> str:
    """Return the first one, nothing if it is not UTF-8."""
    for length in range(1, 5):
        try:
            return octets[:length].decode()[0]
        except UnicodeDecodeError:
            continue
    return ""
