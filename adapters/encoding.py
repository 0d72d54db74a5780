"""A commit's changes, checked against the port's limits and encoded, the same for every document store."""

import json
import re
from collections.abc import Sequence
from typing import Any

from pydantic_core import from_json, to_json

from ports.documents import MAX_CHANGES, MAX_COMMIT_BYTES, Change, CommitTooLarge, Delete

# Needs no escaping in an address; Cosmos DB itself refuses only / \ ? #.
_ID = re.compile(r"[A-Za-z0-9._:@-]{1,255}")


def changed_id(change: Change) -> str:
    return change.id if isinstance(change, Delete) else change.document.id


def encoded(changes: Sequence[Change]) -> list[str]:
    """Return the body of each change as JSON text, "" for a Delete.

    Raises CommitTooLarge beyond MAX_CHANGES or MAX_COMMIT_BYTES (UTF-8, of bodies and terms), and ValueError for
    what else no store takes: nothing at all, two changes of one document, an id with anything but letters,
    digits and ._:@-, a ttl below one second, text that is not Unicode, numbers that are not finite.
    """
    if not changes:
        raise ValueError("A commit holds at least one change.")
    if len(changes) > MAX_CHANGES:
        raise CommitTooLarge(f"A commit holds at most {MAX_CHANGES} changes, not {len(changes)}.")
    if len({changed_id(change) for change in changes}) < len(changes):
        raise ValueError("A commit changes a document only once.")
    for change in changes:
        _check(change)
    bodies = [b"" if isinstance(change, Delete) else _strict_json(change.document.body) for change in changes]
    size = sum(map(len, bodies)) + sum(_bytes_of_terms(change) for change in changes)
    if size > MAX_COMMIT_BYTES:
        raise CommitTooLarge(f"A commit holds at most {MAX_COMMIT_BYTES} bytes, not {size}.")
    return [body.decode() for body in bodies]


def decoded(text: str | bytes) -> Any:
    return from_json(text)


def _strict_json(body: Any) -> bytes:
    """As `to_json`, which would write NaN and Infinity as they are: no JSON, on which clients' parsers fail."""
    encoded = to_json(body)
    if b"NaN" in encoded or b"Infinity" in encoded:  # also as words in a text
        json.dumps(body, allow_nan=False)
    return encoded


def _check(change: Change) -> None:
    if not _ID.fullmatch(changed_id(change)):
        raise ValueError(f"{changed_id(change)!r} cannot be a document's id.")
    if not isinstance(change, Delete) and change.document.ttl is not None and change.document.ttl < 1:
        raise ValueError("A document lives for at least one second.")


def _bytes_of_terms(change: Change) -> int:
    if isinstance(change, Delete) or not change.document.terms:
        return 0
    return len(to_json(dict(change.document.terms)))
