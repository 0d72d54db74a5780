"""Ids: a prefix and 32 hex digits. Opaque to clients, never sorted by.

Ids that a client's request makes are random; ids that an activity makes are derived, so that a
second delivery makes the same ones.
"""

import hashlib
import re
import secrets
from typing import Literal

from errors import InvalidRequest

Kind = Literal[
    "assistant", "thread", "message", "run", "step", "call", "file", "vector_store", "file_batch", "upload", "part"
]

PREFIX: dict[Kind, str] = {
    "assistant": "asst_",
    "thread": "thread_",
    "message": "msg_",
    "run": "run_",
    "step": "step_",
    "call": "call_",
    "file": "file-",
    "vector_store": "vs_",
    "file_batch": "vsfb_",
    "upload": "upload_",
    "part": "part_",
}

# The hosted service on Azure named files assistant-…; imported ones keep their ids (C.0.1).
_ALSO_ACCEPTED: dict[Kind, tuple[str, ...]] = {"file": ("assistant-",)}
_REST = re.compile(r"[A-Za-z0-9_-]{1,64}")


def new_id(kind: Kind) -> str:
    return PREFIX[kind] + secrets.token_hex(16)


def derived_id(kind: Kind, *parts: str | int) -> str:
    """Return the same id for the same parts, in every process and at every delivery."""
    # Not hash(): it is salted per process.
    digest = hashlib.sha256("/".join(map(str, parts)).encode()).hexdigest()
    return PREFIX[kind] + digest[:32]


def is_id(kind: Kind, value: str) -> bool:
    prefixes = (PREFIX[kind], *_ALSO_ACCEPTED.get(kind, ()))
    prefix = next((p for p in prefixes if value.startswith(p)), None)
    return prefix is not None and _REST.fullmatch(value, len(prefix)) is not None


def check_id(kind: Kind, value: str, param: str) -> str:
    """Return `value`. InvalidRequest if it could not be an id of this kind (J.3)."""
    if is_id(kind, value):
        return value
    begins = PREFIX[kind].rstrip("_-")
    raise InvalidRequest(
        f"Invalid '{param}': '{value[:100]}'. Expected an ID that begins with '{begins}'.",
        param=param,
        code="invalid_value",
    )
