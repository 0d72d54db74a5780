"""What the Functions host has been told, as far as the app must keep within it: host.json and the host's settings.

A value of host.json is overridden by the environment variable of its path, `AzureFunctionsJobHost__functionTimeout`;
the host compares such names without case.
"""

import json
import math
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from settings import SettingsError

HOST_JSON = Path(__file__).parent.parent / "host.json"
BODY_LIMIT = "FUNCTIONS_REQUEST_BODY_SIZE_LIMIT"
DEFAULT_BODY_LIMIT = 104_857_600  # bytes
SMALLEST_BODY_LIMIT = 2_000_000
OURS_TO_REFUSE = 1_000_000  # bytes below the host's limit, from which on a form is refused in our words
DEFAULT_TIMEOUT = 1_800.0  # seconds
LAST_WORDS = 60.0  # seconds before the host's cut at which we end by ourselves
LARGEST_SHARE = 0.2  # of a short time that this may be
DEFAULT_PROVIDER = "AzureStorage"

TIMEOUT = "functionTimeout"
OVERRIDES = "AzureFunctionsJobHost"  # what the names of such variables begin with
NAMES = (BODY_LIMIT, TIMEOUT)  # as messages call what is broken
_SPAN = re.compile(r"(?:(\d{1,7})\.)?([01]?\d|2[0-3]):([0-5]?\d):([0-5]?\d)(\.\d{1,7})?")


@dataclass(frozen=True, slots=True)
class HostConfiguration:
    """`body_limit` is in bytes: the host answers a larger body itself, with an empty 500.

    `function_timeout` is in seconds, `math.inf` for none: it ends an invocation that lasts longer, and its worker with
    all others. `storage_provider` is that of Durable Functions.
    """

    body_limit: int = DEFAULT_BODY_LIMIT
    function_timeout: float = DEFAULT_TIMEOUT
    storage_provider: str = DEFAULT_PROVIDER

    @property
    def form_limit(self) -> int:
        """Bytes that a form may have in all."""
        return self.body_limit - OURS_TO_REFUSE

    @property
    def time_limit(self) -> float | None:
        """Seconds after which an invocation ends by itself; None if it may last for ever."""
        if math.isinf(self.function_timeout):
            return None
        return self.function_timeout - min(LAST_WORDS, self.function_timeout * LARGEST_SHARE)

    @property
    def send_limit(self) -> float | None:
        """Seconds after which an answer that its client doesn't read, or reads too slowly, is cut."""
        return None if self.time_limit is None else (self.time_limit + self.function_timeout) / 2

    @property
    def purges_its_hub(self) -> bool:
        """Say whether something deletes ended orchestrations: the scheduler's retention policy does."""
        return self.storage_provider.lower() == "azuremanaged"

    @classmethod
    def read(cls, environment: Mapping[str, str] = os.environ, path: Path = HOST_JSON) -> "HostConfiguration":
        """Raises SettingsError for what the host itself would not take."""
        given = _Given(environment, _host_json(path))
        timeout = given.value(TIMEOUT)
        provider = given.value("extensions", "durableTask", "storageProvider", "type")
        return cls(
            body_limit=_body_limit(environment.get(BODY_LIMIT, "").strip()),
            function_timeout=DEFAULT_TIMEOUT if timeout is None else _seconds(timeout),
            storage_provider=DEFAULT_PROVIDER if provider is None else str(provider),
        )


@dataclass(frozen=True, slots=True)
class _Given:
    environment: Mapping[str, str]
    host_json: Mapping[str, Any]

    def value(self, *path: str) -> Any:
        """Return what the environment, or else host.json, says at that path; None if nothing does."""
        name = "__".join((OVERRIDES, *path)).lower()
        for key, value in self.environment.items():
            if key.lower() == name and value.strip():
                return value.strip()
        found: Any = self.host_json
        for step in path:
            members = found.items() if isinstance(found, Mapping) else ()
            found = next((value for key, value in members if key.lower() == step.lower()), None)
        return found


def _host_json(path: Path) -> Mapping[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError):
        raise SettingsError("host.json cannot be read, or is no JSON.") from None
    if not isinstance(content, dict):
        raise SettingsError("host.json must hold an object.")
    return content


def _body_limit(given: str) -> int:
    if not given:
        return DEFAULT_BODY_LIMIT
    if not (given.isascii() and given.isdecimal() and len(given) < 19):
        raise SettingsError(f"{BODY_LIMIT} must be a whole number of bytes.")
    if int(given) < SMALLEST_BODY_LIMIT:
        raise SettingsError(f"{BODY_LIMIT} must be at least {SMALLEST_BODY_LIMIT}.")
    return int(given)


def _seconds(given: Any) -> float:
    if given == "-1" or given == -1:
        return math.inf
    span = _SPAN.fullmatch(given) if isinstance(given, str) else None
    if not span:
        raise SettingsError(f"{TIMEOUT} must be hh:mm:ss, d.hh:mm:ss, or -1 for none.")
    days, hours, minutes, seconds = (int(part or 0) for part in span.groups()[:4])
    fraction = float(span[5] or 0)
    total = timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds).total_seconds() + fraction
    if total < 1:
        raise SettingsError(f"{TIMEOUT} must be at least one second.")
    return total
