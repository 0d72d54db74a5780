"""The kernel's process as the supervisor sees it: forked, interrupted, frozen, killed with whatever it has started."""

import ctypes
import os
import resource
import signal
import socket
import time
from contextlib import suppress
from pathlib import Path

from sandbox.inside import kernel
from sandbox.inside.limits import MIB, Limits

PATIENCE = 2.0  # seconds for a killed process to be gone
_PR_SET_DUMPABLE = 4
_SHARED_MAPPINGS = 1024 * MIB  # addresses of libraries, beyond what is private
_GONE = "ZX"


def set_dumpable(dumpable: bool) -> None:
    """A process that isn't hides its memory and its descriptors from others of its user."""
    ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, int(dumpable), 0, 0, 0)


class KernelProcess:
    """`talk` is the socket to the kernel, `outputs` are the pipes that it prints to, by their names."""

    def __init__(self, limits: Limits, kept: list[int]) -> None:
        """`kept` are descriptors that the kernel must not inherit."""
        self._limits = limits
        self._kept = kept
        self._fork()

    def _fork(self) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        out, err = os.pipe(), os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            try:
                os.dup2(out[1], 1)
                os.dup2(err[1], 2)
                for descriptor in (*self._kept, *out, *err, ours.detach()):
                    os.close(descriptor)
                self._limit()
                kernel.serve(theirs.detach(), self._limits)
            finally:
                os._exit(0)
        theirs.close()
        os.close(out[1])
        os.close(err[1])
        self.talk = ours
        self.outputs = {"stdout": out[0], "stderr": err[0]}
        for descriptor in self.outputs.values():
            os.set_blocking(descriptor, False)

    def _limit(self) -> None:
        set_dumpable(True)
        memory, cpu = self._limits.memory, self._limits.cpu
        for limit, soft, hard in (
            (resource.RLIMIT_DATA, memory, memory),
            (resource.RLIMIT_AS, memory + _SHARED_MAPPINGS, memory + _SHARED_MAPPINGS),
            (resource.RLIMIT_NPROC, self._limits.processes, self._limits.processes),
            (resource.RLIMIT_CPU, cpu, cpu + 2),
        ):
            resource.setrlimit(limit, (soft, hard))

    def interrupt(self) -> None:
        with suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGINT)

    def freeze(self) -> None:
        """Stop every process of the box but this one: nothing runs between executions."""
        self._signal_all(signal.SIGSTOP)

    def thaw(self) -> None:
        self._signal_all(signal.SIGCONT)

    def restart(self) -> None:
        """Kill every process of the box but this one, and fork a new kernel."""
        self._signal_all(signal.SIGKILL)
        self.talk.close()
        for descriptor in self.outputs.values():
            os.close(descriptor)
        deadline = time.monotonic() + PATIENCE
        while self._others() and time.monotonic() < deadline:
            self._reap()
            time.sleep(0.002)
        self._fork()

    def end_strays(self) -> None:
        """Kill what the code has started: it ends with its execution. Threads of the kernel stay."""
        for _ in range(100):
            self._reap()
            strays = [pid for pid in self._others() if pid != self.pid]
            if not strays:
                return
            for pid in strays:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.005)

    def _signal_all(self, number: signal.Signals) -> None:
        with suppress(ProcessLookupError):
            os.kill(-1, number)  # of the PID namespace, without its PID 1

    def _reap(self) -> None:
        with suppress(ChildProcessError):
            while os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG):
                pass

    def _others(self) -> list[int]:
        pids = [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit() and entry.name != "1"]
        return [pid for pid in pids if _state(pid) not in _GONE]


def _state(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return "X"
