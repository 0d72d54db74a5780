"""PID 1 of the box, trusted: takes requests from the host, forks the kernel, watches it, carries files.

`python -m sandbox.inside.supervisor`. Its standard input and output are the pipes to the host; when the host
goes, so does the box.
"""

import importlib
import json
import os
import resource
import signal
from contextlib import suppress
from pathlib import Path
from typing import Any

from sandbox.inside import files, frames, memory
from sandbox.inside.execution import Execution
from sandbox.inside.files import NoSuchFile
from sandbox.inside.frames import PIECE, BadFrame, Frame
from sandbox.inside.kernel_process import KernelProcess, set_dumpable
from sandbox.inside.limits import Limits


class Supervisor:
    def __init__(self, limits: Limits, host_in: int, host_out: int) -> None:
        self._limits = limits
        self._in, self._out = host_in, host_out
        self._executions = 0
        self._receiving = -1  # the descriptor of a file that is being put
        self._kernel = KernelProcess(limits, [host_in, host_out])
        self._kernel.freeze()

    def serve(self) -> None:
        """Answer request by request, for ever."""
        while True:
            request = self._hear()
            try:
                self._answer(request)
            except NoSuchFile as error:
                frames.write(self._out, Frame({"no_file": str(error)}))

    def _hear(self) -> Frame:
        try:
            request = frames.read(self._in)
        except (BadFrame, OSError):
            request = None
        if request is None:
            os._exit(0)  # the host is gone, and every process of the box goes with PID 1
        return request

    def wants_interrupt(self) -> bool:
        return self._hear().head["op"] == "interrupt"

    def _answer(self, request: Frame) -> None:
        head = request.head
        match head["op"]:
            case "execute":
                self._execute(head["code"], head["timeout"])
            case "put":
                self._put(head, request.payload)
            case "drop":
                self._drop(head["name"])
                self._reply({})
            case "get":
                self._get(head["name"])
            case "list":
                self._reply({"files": files.listing(self._limits.files)})
            case "hello":
                self._reply({"uid": os.getuid(), "memory": memory.used()})
            case _:  # an interrupt of what has ended already
                return

    def _reply(self, head: dict[str, Any], payload: bytes = b"") -> None:
        frames.write(self._out, Frame(head, payload))

    def _execute(self, code: str, timeout: float) -> None:
        before = {file["name"]: file for file in files.listing(self._limits.files)}
        self._kernel.thaw()
        self._executions += 1
        execution = Execution(self._kernel, self._limits, self._executions, timeout)
        try:
            execution.watch(code, self, self._in)
        except BrokenPipeError:  # it has been killed between two executions
            execution.status, execution.must_restart = "kernel_died", True
        if execution.must_restart:
            self._kernel.restart()
        else:
            self._kernel.end_strays()
        self._kernel.freeze()
        outcome = execution.outcome()
        changed = [file for file in files.listing(self._limits.files) if before.get(file["name"]) != file]
        self._reply({**outcome.head, "files": changed}, outcome.payload)

    def _put(self, head: dict[str, Any], piece: bytes) -> None:
        """Take a piece of a file, `first` and `last` say which; a file that doesn't fit is removed."""
        if head["first"]:
            self._receiving = files.open_file(head["name"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        try:
            with memoryview(piece) as left:
                at = 0
                while at < len(left):
                    at += os.write(self._receiving, left[at:])
        except OSError as error:
            self._drop(head["name"])
            raise NoSuchFile(error.strerror or "cannot be written") from error
        if head["last"]:
            os.close(self._receiving)
            self._receiving = -1
        self._reply({})

    def _drop(self, name: str) -> None:
        """Forget the file that is being put, if one is."""
        if self._receiving < 0:
            return
        os.close(self._receiving)
        self._receiving = -1
        with suppress(OSError):
            Path(files.FOLDER, name).unlink()

    def _get(self, name: str) -> None:
        """Send the file in pieces, the last of which says so."""
        descriptor = files.open_file(name, os.O_RDONLY)
        try:
            left = min(os.fstat(descriptor).st_size, self._limits.data)
            while piece := os.read(descriptor, min(PIECE, left)) if left else b"":
                left -= len(piece)
                self._reply({"last": False}, piece)
            self._reply({"last": True})
        finally:
            os.close(descriptor)


def _confine(limits: Limits, uid: int | None) -> None:
    """Become the session's own user, whom limits on processes count for (not for root), and deaf to its signals.

    A PID 1 gets from its namespace the signals that it handles, and Python handles SIGINT.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if uid is not None:
        os.setgroups([])
        os.setresgid(uid, uid, uid)
        os.setresuid(uid, uid, uid)
    set_dumpable(False)
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")
    for limit, value in (
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, limits.data),
        (resource.RLIMIT_NOFILE, limits.descriptors),
        (resource.RLIMIT_MEMLOCK, 0),
        (resource.RLIMIT_MSGQUEUE, 0),
    ):
        resource.setrlimit(limit, (value, value))


def main() -> None:
    told = json.loads(os.environ.pop("SANDBOX"))
    limits = Limits(**told["limits"])
    _confine(limits, told["uid"])
    for module in told["preloaded"]:
        with suppress(ImportError):
            importlib.import_module(module)
    # What is printed here must not reach the host, which reads frames.
    host_in, host_out = os.dup(0), os.dup(1)
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, 0)
    os.dup2(2, 1)
    Supervisor(limits, host_in, host_out).serve()


if __name__ == "__main__":
    main()
