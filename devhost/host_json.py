"""What the app's host.json tells the host: the prefix of its routes, how long an invocation may last, how much may run.

A value is overridden by the environment variable of its path (`AzureFunctionsJobHost__functionTimeout`); the host
compares such names without case.
"""

import json
import math
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from devhost.setup_error import SetupError

DEFAULT_PREFIX = "api"
DEFAULT_TIMEOUT = 1_800.0  # seconds
RUN_PER_CORE = 10  # activities, and as many orchestrators, where host.json doesn't say
_OVERRIDES = "AzureFunctionsJobHost"
_SPAN = re.compile(r"(?:(\d{1,7})\.)?(\d{1,2}):(\d{1,2}):(\d{1,2}(?:\.\d{1,7})?)")


@dataclass(frozen=True, slots=True)
class HostJson:
    """`function_timeout` is in seconds, infinite for none. `activities` and `orchestrators` run at once in a worker."""

    route_prefix: str
    function_timeout: float
    activities: int
    orchestrators: int

    @classmethod
    def read(cls, app: Path, variables: Mapping[str, str] = os.environ) -> "HostJson":
        """Raises SetupError."""
        given = _Given(_content(app / "host.json"), variables)
        prefix = given.value("extensions", "http", "routePrefix")
        return cls(
            route_prefix=DEFAULT_PREFIX if prefix is None else str(prefix).strip("/"),
            function_timeout=_seconds(given.value("functionTimeout")),
            activities=given.concurrency("maxConcurrentActivityFunctions"),
            orchestrators=given.concurrency("maxConcurrentOrchestratorFunctions"),
        )


@dataclass(frozen=True, slots=True)
class _Given:
    content: Any
    variables: Mapping[str, str]

    def value(self, *path: str) -> Any:
        name = "__".join((_OVERRIDES, *path)).lower()
        for key, value in self.variables.items():
            if key.lower() == name and value.strip():
                return value.strip()
        found = self.content
        for step in path:
            members = found.items() if isinstance(found, Mapping) else ()
            found = next((value for key, value in members if key.lower() == step.lower()), None)
        return found

    def concurrency(self, name: str) -> int:
        value = self.value("extensions", "durableTask", name)
        if value is None:
            return RUN_PER_CORE * (os.cpu_count() or 1)
        if not re.fullmatch(r"[1-9]\d{0,8}", str(value)):
            raise SetupError(f"{name} in host.json must be a whole number of at least 1.")
        return int(value)


def _content(path: Path) -> Any:
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig")) if path.exists() else {}
    except (ValueError, OSError) as error:
        raise SetupError(f"host.json cannot be read: {error}") from None
    if not isinstance(content, dict):
        raise SetupError("host.json cannot be read: it holds no object.")
    return content


def _seconds(given: Any) -> float:
    if given is None:
        return DEFAULT_TIMEOUT
    if str(given).strip() == "-1":
        return math.inf
    span = _SPAN.fullmatch(str(given).strip())
    if not span:
        raise SetupError("functionTimeout must be hh:mm:ss, d.hh:mm:ss, or -1 for none.")
    days, hours, minutes, seconds = (float(part or 0) for part in span.groups())
    total = ((days * 24 + hours) * 60 + minutes) * 60 + seconds
    if hours >= 24 or minutes >= 60 or seconds >= 60 or total < 1:
        raise SetupError("functionTimeout must be a time of at least one second.")
    return total
