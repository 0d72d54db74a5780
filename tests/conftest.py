"""For all tests: nothing of the environment they run in may decide how they end."""

import os
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

TESTS = Path(__file__).parent
# Proxies, and the settings of clients and of this service that a developer may have at hand.
_FOREIGN = ("OPENAI_", "AZURE_OPENAI_", "ASSISTANTS_", "MODEL_", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")

for _name in list(os.environ):
    if _name.upper().startswith(_FOREIGN):
        del os.environ[_name]


def pytest_configure(config: pytest.Config) -> None:
    # Being deprecated is why this service exists.
    for text in ("The Assistants API is deprecated", "deprecated$"):
        config.addinivalue_line("filterwarnings", f"ignore:{text}:DeprecationWarning")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Generator[None, Any, Any]:
    """Tests that are skipped for what a fixture misses are one line of the summary, not one for each test."""
    report = yield
    if report.skipped and report.when == "setup" and call.excinfo and isinstance(report.longrepr, tuple):
        ours = [entry for entry in call.excinfo.traceback if TESTS in Path(entry.path).parents]
        if ours:  # not one that is marked
            report.longrepr = (str(ours[-1].path), ours[-1].lineno + 1, report.longrepr[2])
    return report
