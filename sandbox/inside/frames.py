"""Frames on a pipe: a head of JSON and a payload of bytes, both with their length."""

import json
import os
import struct
from typing import Any, NamedTuple

HEADER = struct.Struct(">II")
LARGEST_HEAD = 24 << 20  # two outputs of 1 MiB, whose every character may need six
LARGEST_PAYLOAD = 16 << 20
PIECE = 1 << 20  # of a file


class BadFrame(Exception):
    """What came is no frame: whoever sent it can't be understood any more."""


class Frame(NamedTuple):
    head: dict[str, Any]
    payload: bytes = b""


def encoded(frame: Frame) -> bytes:
    head = json.dumps(frame.head, separators=(",", ":")).encode()
    return HEADER.pack(len(head), len(frame.payload)) + head + frame.payload


def sizes(header: bytes) -> tuple[int, int]:
    """Return the lengths of head and payload. Raises BadFrame."""
    head, payload = HEADER.unpack(header)
    if head > LARGEST_HEAD or payload > LARGEST_PAYLOAD:
        raise BadFrame(f"a frame of {head} + {payload} bytes")
    return head, payload


def decoded(head: bytes, payload: bytes) -> Frame:
    """Raises BadFrame."""
    try:
        read = json.loads(head)
    except (ValueError, RecursionError) as error:
        raise BadFrame("a head that is no JSON") from error
    if not isinstance(read, dict):
        raise BadFrame("a head that is no object")
    return Frame(read, payload)


def write(descriptor: int, frame: Frame) -> None:
    """Raises OSError."""
    left = memoryview(encoded(frame))
    while left:
        left = left[os.write(descriptor, left) :]


def read(descriptor: int) -> Frame | None:
    """Wait for a frame; None at the end. Raises BadFrame, OSError."""
    header = _exactly(descriptor, HEADER.size)
    if header is None:
        return None
    of_head, of_payload = sizes(header)
    head, payload = _exactly(descriptor, of_head), _exactly(descriptor, of_payload)
    return None if head is None or payload is None else decoded(head, payload)


def _exactly(descriptor: int, count: int) -> bytes | None:
    got = bytearray()
    while len(got) < count:
        piece = os.read(descriptor, min(count - len(got), PIECE))
        if not piece:
            return None
        got += piece
    return bytes(got)
