"""The worker library with the app in it, in a process of its own."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import httpx

from devhost.routing import Route, Router

ROOT = Path(__file__).resolve().parents[2]
KEY = "the-key-of-the-bed"
_PASSED_ON = ("PATH", "HOME", "LANG", "TMPDIR", "VIRTUAL_ENV", "SYSTEMROOT")


class WorkerBed:
    """`with WorkerBed(folder) as bed:`. `settings` are environment variables."""

    def __init__(self, folder: Path, settings: Mapping[str, str] | None = None) -> None:
        passed_on = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
        self._environment = passed_on | {
            "ASSISTANTS_API_KEY": KEY,
            "DATA_DIR": str(folder / "data"),
            "MODEL_BASE_URL": "http://127.0.0.1:9/v1",
            "PYTHONUNBUFFERED": "1",
            **(settings or {}),
        }
        (folder / "data").mkdir(exist_ok=True)
        self._log = (folder / "bed.log").open("w+b")
        self.worker_port = 0
        self.functions: list[dict[str, Any]] = []

    def start(self) -> Self:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.worker_bed"],
            cwd=ROOT,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=self._log,
        )
        assert self._process.stdout
        watchdog = threading.Timer(60, self._process.kill)
        watchdog.start()
        line = self._process.stdout.readline()
        watchdog.cancel()
        assert line, f"The worker did not start:\n{self.log}"
        ready = json.loads(line)
        self.worker_port, self.functions = ready["worker"], ready["functions"]
        self.control = httpx.Client(base_url=f"http://127.0.0.1:{ready['control']}", timeout=120, trust_env=False)
        self._router = Router(_prefix(), list(_routes(self.functions)))
        return self

    def stop(self) -> None:
        self._process.kill()
        self._process.wait(10)
        if self._process.stdout:
            self._process.stdout.close()
        self._log.close()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.control.close()
        self.stop()

    @property
    def control_url(self) -> str:
        return str(self.control.base_url)

    @property
    def log(self) -> str:
        self._log.flush()
        return Path(self._log.name).read_text(errors="replace")

    def state(self) -> dict[str, Any]:
        return self.control.get("/state").json()

    def invoke_plainly(self, function: str) -> dict[str, Any]:
        """Invoke a function of an app without HTTP streaming: what it answers is in the invocation's outcome."""
        asked = {"id": "plain", "function": function, "params": {}, "breaks": False}
        return self.control.post("/invoke", json=asked).json()

    def tidy(self) -> None:
        self.control.post("/tidy")

    def function_for(self, method: str, target: str) -> tuple[str, dict[str, str]] | None:
        """The function and the route parameters that the host finds; None: it answers 404 by itself."""
        match = self._router.find(method, target.partition("?")[0])
        return (match.target, match.params) if match else None


def _prefix() -> str:
    host = json.loads((ROOT / "host.json").read_text())
    return host["extensions"]["http"]["routePrefix"]


def _routes(functions: list[dict[str, Any]]) -> list[Route[str]]:
    routes: list[Route[str]] = []
    for function in functions:
        for binding in function["bindings"]:
            if binding["type"] == "httpTrigger":
                methods = frozenset(str(method).upper() for method in binding.get("methods") or [])
                routes.append(
                    Route(function["name"], binding.get("route") or function["name"], methods, function["name"])
                )
    return routes
