"""Files in a session of the code interpreter: how they are called there, and what the model is told of them (G.1.3)."""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

Resource = dict[str, Any]

FOLDER = "/mnt/data"
LONGEST_NAME = 180  # bytes; a file system takes 255
# What a pool of dynamic sessions takes in names, which is less than what a file system does.
_UNSAFE = re.compile(r"[^\w \-.@$&=;,#%^()]")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


def names_of(files: Sequence[Resource], known: Mapping[str, str], others: Iterable[str] = ()) -> dict[str, str]:
    """Return the name of each file by its id. Those that have one (`known`) keep it; no two have the same, and none
    that of one of the `others`."""
    names = {file["id"]: known[file["id"]] for file in files if file["id"] in known}
    ids = (file["id"] for file in files)
    taken = {name.casefold() for name in (*names.values(), *ids, *others)}
    for file in files:
        if file["id"] not in names:
            names[file["id"]] = _free(safe_name(file["filename"]), taken)
            taken.add(names[file["id"]].casefold())
    return names


def safe_name(filename: str) -> str:
    """Return a name that every session takes, with the file's extension."""
    name = PurePosixPath(_UNSAFE.sub("_", filename).strip(" .") or "file")
    suffix = name.suffix if len(name.suffix.encode()) <= 20 else ""
    stem = name.name.removesuffix(suffix)
    return _cut(stem, LONGEST_NAME - len(suffix.encode())) + suffix


def _free(name: str, taken: set[str]) -> str:
    path, number = PurePosixPath(name), 1
    while name.casefold() in taken:
        number += 1
        name = f"{path.stem}_{number}{path.suffix}"
    return name


def _cut(text: str, most: int) -> str:
    return text.encode()[:most].decode(errors="ignore")


def note(files: Sequence[Resource], names: Mapping[str, str]) -> str:
    """Return what the system context says of the files; nothing if there are none."""
    if not files:
        return ""
    lines = (_line(file, names[file["id"]]) for file in files)
    return "\n".join(["Files for the code interpreter:", *lines])


def _line(file: Resource, name: str) -> str:
    called = "" if file["filename"] == name else f", uploaded as {json.dumps(file['filename'], ensure_ascii=False)}"
    return f"- {FOLDER}/{name} (also {FOLDER}/{file['id']}): {file['bytes']} bytes{called}"


def shown_name(name: str) -> str:
    """Return a name that code has given, for a line of text."""
    return repr(name) if _CONTROL.search(name) else name
