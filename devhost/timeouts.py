"""How long one invocation may last before the host ends it, and restarts its worker: `functionTimeout`."""

import json
import math
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from devhost.setup_error import SetupError

DEFAULT = 1_800.0  # seconds
_OVERRIDE = "azurefunctionsjobhost__functiontimeout"  # the host compares without case
_SPAN = re.compile(r"(?:(\d{1,7})\.)?(\d{1,2}):(\d{1,2}):(\d{1,2}(?:\.\d{1,7})?)")


def function_timeout(app: Path, variables: Mapping[str, str] = os.environ) -> float:
    """Return the seconds that host.json or, before it, the environment says; infinite for none. Raises SetupError."""
    given: Any = next((value for name, value in variables.items() if name.lower() == _OVERRIDE and value.strip()), None)
    if given is None:
        given = _of_host_json(app / "host.json")
    if given is None:
        return DEFAULT
    text = str(given).strip()
    if text == "-1":
        return math.inf
    span = _SPAN.fullmatch(text)
    if not span:
        raise SetupError("functionTimeout must be hh:mm:ss, d.hh:mm:ss, or -1 for none.")
    days, hours, minutes, seconds = (float(part or 0) for part in span.groups())
    total = ((days * 24 + hours) * 60 + minutes) * 60 + seconds
    if hours >= 24 or minutes >= 60 or seconds >= 60 or total < 1:
        raise SetupError("functionTimeout must be a time of at least one second.")
    return total


def _of_host_json(path: Path) -> Any:
    try:
        host = json.loads(path.read_text(encoding="utf-8-sig")) if path.exists() else {}
        return next((value for name, value in host.items() if name.lower() == "functiontimeout"), None)
    except (ValueError, AttributeError, OSError) as error:
        raise SetupError(f"host.json cannot be read: {error}") from None
