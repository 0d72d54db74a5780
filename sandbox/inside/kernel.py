"""The kernel: runs the code it is sent and keeps its variables, as a notebook does. Nothing here is trusted."""

import ast
import builtins
import io
import linecache
import os
import signal
import sys
import traceback
from contextlib import suppress
from pathlib import Path
from types import CodeType, ModuleType, TracebackType
from typing import Any

from sandbox.inside import frames
from sandbox.inside.displays import Displays
from sandbox.inside.frames import Frame
from sandbox.inside.limits import Limits

LONGEST_TEXT = 100_000  # characters of a result; an error's are shorter
LONGEST_TRACEBACK = 20_000
ERROR = {"name", "value", "traceback"}  # what is told of one
_HERE = str(Path(__file__).parent)


class Kernel:
    def __init__(self, limits: Limits) -> None:
        self._is_busy = False
        self._count = 0
        self._displays = Displays(limits.images)
        module = ModuleType("__main__")
        sys.modules["__main__"] = module
        self._variables = vars(module)
        self._variables |= {"__builtins__": builtins, "display": self._displays.display}

    def on_interrupt(self, *_: Any) -> None:
        if self._is_busy:  # one that comes too late is for nobody
            raise KeyboardInterrupt

    def execute(self, number: int, code: str) -> Frame:
        """Return the reply: what the last expression's value looks like, an error, and the images shown."""
        self._displays.clear()
        result = error = None
        try:
            self._is_busy = True
            result = self._run(code)
            self._displays.show_figures()
        except SystemExit:
            pass
        except BaseException as raised:  # noqa: BLE001  # it is the code's, and to be told
            self._is_busy = False
            error = _described(raised)
        self._is_busy = False
        images = self._displays.images
        head = {"number": number, "result": result, "error": error, "images": [len(image) for image in images]}
        return Frame(head, b"".join(images))

    def _run(self, code: str) -> str | None:
        self._count += 1
        name = f"<cell {self._count}>"
        linecache.cache[name] = (len(code), None, code.splitlines(keepends=True), name)
        body, last = _compiled(code, name)
        exec(body, self._variables)  # what this is for
        if last is None:
            return None
        value = eval(last, self._variables)
        if value is None:
            return None
        self._variables["_"] = value
        if self._displays.take(value):
            return None
        return repr(value)[:LONGEST_TEXT]


def _compiled(code: str, name: str) -> tuple[CodeType, CodeType | None]:
    """Return the code without its last expression, and that expression unless a semicolon silences it."""
    tree = ast.parse(code, name)
    last = None
    if tree.body and isinstance(tree.body[-1], ast.Expr) and not code.rstrip().endswith(";"):
        expression = tree.body.pop()
        assert isinstance(expression, ast.Expr)
        last = compile(ast.Expression(expression.value), name, "eval")
    return compile(tree, name, "exec"), last


def _described(error: BaseException) -> dict[str, str]:
    """Name, value and traceback, which begins in the code: no path of the host is in it."""
    at: TracebackType | None = error.__traceback__
    while at is not None and not at.tb_frame.f_code.co_filename.startswith("<cell "):
        at = at.tb_next
    try:
        told = traceback.TracebackException(type(error), error, at)
        told.stack[:] = [frame for frame in told.stack if not frame.filename.startswith(_HERE)]
        lines, value = "".join(told.format()), str(error)
    except Exception:  # noqa: BLE001  # an exception of the code's own making
        lines = value = type(error).__name__
    return {"name": type(error).__name__[:200], "value": value[:4_000], "traceback": lines[-LONGEST_TRACEBACK:]}


def _speak() -> None:
    """Standard output and error are pipes that the supervisor bounds."""
    sys.argv = ["python"]
    sys.stdin = open(os.devnull, encoding="utf-8")  # noqa: SIM115  # for ever
    for descriptor, name, at_once in ((1, "stdout", False), (2, "stderr", True)):
        raw = os.fdopen(descriptor, "wb", closefd=False)
        text = io.TextIOWrapper(raw, encoding="utf-8", errors="replace", line_buffering=at_once)
        setattr(sys, name, text)


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        with suppress(Exception):  # the code may have put anything there
            stream.flush()


def _bury() -> None:
    """What the supervisor has killed after the last execution."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        return


def serve(talk: int, limits: Limits) -> None:
    """Execute request by request, for ever."""
    kernel = Kernel(limits)
    signal.signal(signal.SIGINT, kernel.on_interrupt)
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    _speak()
    while request := frames.read(talk):
        _bury()
        reply = kernel.execute(request.head["number"], request.head["code"])
        _flush()
        frames.write(talk, reply)
