"""Messages between host and worker: JSON objects, each behind its length in 4 bytes, over the worker's pipes.

Host to worker:   {"run": dispatch number, "kind", "name", "body"} · {"stop": true}
Worker to host:   {"alive": true} · {"ready": address, "timers": [...]} · {"broken": message}
                  {"overtime": function}
                  {"reply": dispatch number, "body"} · {"reply": dispatch number, "error", "trace"}
"""

import json
import struct
from asyncio import IncompleteReadError, StreamReader
from typing import Any, BinaryIO

Frame = dict[str, Any]

_LENGTH = struct.Struct(">I")


def encode(frame: Frame) -> bytes:
    text = json.dumps(frame, separators=(",", ":")).encode()
    return _LENGTH.pack(len(text)) + text


async def receive(stream: StreamReader) -> Frame | None:
    """Return the next frame, or None when the other side has closed the pipe."""
    try:
        (length,) = _LENGTH.unpack(await stream.readexactly(_LENGTH.size))
        return json.loads(await stream.readexactly(length))
    except (IncompleteReadError, ConnectionError):
        return None


def read(stream: BinaryIO) -> Frame | None:
    """The same from a blocking file."""
    head = stream.read(_LENGTH.size)
    if len(head) < _LENGTH.size:
        return None
    (length,) = _LENGTH.unpack(head)
    body = stream.read(length)
    return json.loads(body) if len(body) == length else None
