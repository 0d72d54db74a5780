"""One execution, watched: until its reply, a limit, or the kernel's end."""

import os
import selectors
import time
from contextlib import suppress
from typing import Any, Protocol

from sandbox.inside import frames, memory
from sandbox.inside.frames import BadFrame, Frame
from sandbox.inside.kernel import ERROR, LONGEST_TEXT
from sandbox.inside.kernel_process import KernelProcess
from sandbox.inside.limits import MIB, MOST_IMAGES, Limits

LOOK = 0.05  # seconds between looks at the memory
LAST_WORDS = 0.2  # seconds for what was printed before the end to arrive


class Host(Protocol):
    def wants_interrupt(self) -> bool:
        """Read what the host has said meanwhile. Ends the process if the host is gone."""
        ...


class Execution:
    """`status` is in the end one of ok, error, interrupted, timeout, memory_limit, output_limit, kernel_died.

    A kernel whose code has closed its outputs must be restarted, too: it would be mute.
    """

    def __init__(self, kernel: KernelProcess, limits: Limits, number: int, timeout: float) -> None:
        self._kernel = kernel
        self._limits = limits
        self._number = number
        self._began = time.monotonic()
        self._deadline = self._began + timeout
        self._killed_at = float("inf")
        self._raw = bytearray()
        self._reply: Frame | None = None
        self._printed = {name: bytearray() for name in kernel.outputs}
        self._dropped = dict.fromkeys(kernel.outputs, 0)
        self._peak = 0
        self.status = ""
        self.must_restart = False

    def watch(self, code: str, host: Host, host_input: int) -> None:
        frames.write(self._kernel.talk.fileno(), Frame({"number": self._number, "code": code}))
        next_look, is_mute = self._began, False
        with selectors.DefaultSelector() as selector:
            selector.register(host_input, selectors.EVENT_READ, "host")
            selector.register(self._kernel.talk, selectors.EVENT_READ, "kernel")
            for name, descriptor in self._kernel.outputs.items():
                selector.register(descriptor, selectors.EVENT_READ, name)
            while self._reply is None and not self.must_restart:
                now = time.monotonic()
                if now >= next_look:
                    self._look_at_memory()
                    next_look = now + LOOK
                self._look_at_time(now)
                for key, _ in selector.select(LOOK):
                    if key.data == "host":
                        if host.wants_interrupt():
                            self._interrupt("interrupted")
                    elif key.data == "kernel":
                        self._hear()
                    elif not self._keep(key.data):
                        selector.unregister(key.fd)
                        is_mute = True
        self._keep_last_words()
        self.must_restart |= is_mute

    def outcome(self) -> Frame:
        """Return the reply to the host; images are its payload, one behind the other."""
        reply = self._reply.head if self._reply else {}
        error, result = reply.get("error"), reply.get("result")
        head: dict[str, Any] = {
            "status": self.status or ("error" if error else "ok"),
            "restarted": self.must_restart,
            "seconds": round(time.monotonic() - self._began, 4),
            "peak_memory": self._peak,
            **{name: bytes(printed).decode(errors="replace") for name, printed in self._printed.items()},
            "dropped": sum(self._dropped.values()),
            "result": None if result is None else _whole(result),
            "error": error and {name: _whole(text) for name, text in error.items()},
            "images": reply.get("images", []),
        }
        return Frame(head, self._reply.payload if self._reply else b"")

    def _look_at_memory(self) -> None:
        used = memory.used()
        self._peak = max(self._peak, used)
        if used > self._limits.memory:
            self._end("memory_limit")

    def _look_at_time(self, now: float) -> None:
        if now >= self._killed_at:
            self.must_restart = True
        elif now >= self._deadline:
            self._interrupt("timeout")

    def _interrupt(self, status: str) -> None:
        if self.status:
            return
        self.status, self._killed_at = status, time.monotonic() + self._limits.grace
        self._deadline = float("inf")
        self._kernel.interrupt()

    def _end(self, status: str) -> None:
        self.status = self.status or status
        self.must_restart = True

    def _hear(self) -> None:
        """Read from the kernel. The code can write to this socket too: what is no reply to this is dropped."""
        try:
            piece = self._kernel.talk.recv(MIB)
        except OSError:
            piece = b""
        if not piece:
            self._end("kernel_died")
            return
        self._raw += piece
        if len(self._raw) > self._limits.images + 16 * MIB:
            self._end("output_limit")
            return
        try:
            while self._reply is None and (frame := self._next_frame()):
                self._reply = frame if frame.head.get("number") == self._number and _is_reply(frame) else None
        except BadFrame:
            self._end("kernel_died")

    def _next_frame(self) -> Frame | None:
        start = frames.HEADER.size
        if len(self._raw) < start:
            return None
        head, payload = frames.sizes(bytes(self._raw[:start]))
        end = start + head + payload
        if len(self._raw) < end:
            return None
        frame = frames.decoded(bytes(self._raw[start : start + head]), bytes(self._raw[start + head : end]))
        del self._raw[:end]
        return frame

    def _keep(self, name: str) -> bool:
        """Read what was printed; False at its end."""
        try:
            piece = os.read(self._kernel.outputs[name], 65_536)
        except BlockingIOError:
            return True
        except OSError:
            return False
        self._store(name, piece)
        return bool(piece)

    def _keep_last_words(self) -> None:
        until = time.monotonic() + LAST_WORDS
        for name, descriptor in self._kernel.outputs.items():
            with suppress(OSError):
                while time.monotonic() < until and (piece := os.read(descriptor, 65_536)):
                    self._store(name, piece)

    def _store(self, name: str, piece: bytes) -> None:
        room = self._limits.output - len(self._printed[name])
        self._printed[name] += piece[:room]
        self._dropped[name] += max(0, len(piece) - room)


def _is_reply(frame: Frame) -> bool:
    """The code may forge one; it must not be able to break the supervisor or the host with it."""
    head = frame.head
    images, error, result = head.get("images", []), head.get("error"), head.get("result")
    return (
        isinstance(images, list)
        and len(images) <= MOST_IMAGES
        and all(isinstance(size, int) and size >= 0 for size in images)
        and sum(images) == len(frame.payload)
        and (result is None or _is_text(result))
        and (
            error is None or (isinstance(error, dict) and error.keys() == ERROR and all(map(_is_text, error.values())))
        )
    )


def _is_text(told: Any) -> bool:
    return isinstance(told, str) and len(told) <= LONGEST_TEXT


def _whole(text: str) -> str:
    """Return it as Unicode that can be sent: code may hold, and name its files with, halves of a pair."""
    return text.encode("utf-8", "backslashreplace").decode()
