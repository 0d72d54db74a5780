"""Whether this machine can have the sandbox, and its packages."""

import os
from typing import NoReturn

import pytest

from devhost.code_interpreter import PACKAGES, RUNTIME
from sandbox.availability import why_unavailable

# Set by `.ci/run`: what is missing there is a failure, not a skipped test.
REQUIRED = "SANDBOX_REQUIRED"


def skip_for(reason: str) -> NoReturn:
    """Skip the test that needs the sandbox; fail it where it has to run."""
    if os.environ.get(REQUIRED):
        pytest.fail(f"{REQUIRED} is set. {reason}", pytrace=False)
    pytest.skip(reason)


async def skip_where_missing() -> None:
    if reason := await why_unavailable(RUNTIME):
        skip_for(reason)
    if not (PACKAGES / "pandas").is_dir():
        skip_for("The packages of the code interpreter are not installed: run `python3 dev.py packages`.")
