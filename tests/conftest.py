"""For all tests: nothing of the environment they run in may decide how they end; what the service answers
keeps to the official schema, whatever a test is about."""

import os
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.wire_tap import TAP

TESTS = Path(__file__).parent
# Proxies, and the settings of clients and of this service that a developer may have at hand.
_FOREIGN = ("OPENAI_", "AZURE_OPENAI_", "ASSISTANTS_", "MODEL_", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")
_MOST_FAULTS = 20  # that a test shows

for _name in list(os.environ):
    if _name.upper().startswith(_FOREIGN):
        del os.environ[_name]


def pytest_configure(config: pytest.Config) -> None:
    TAP.install()
    # Being deprecated is why this service exists.
    for text in ("The Assistants API is deprecated", "deprecated$"):
        config.addinivalue_line("filterwarnings", f"ignore:{text}:DeprecationWarning")


@pytest.fixture(autouse=True)
def answers_keep_to_the_official_schema() -> Iterator[None]:
    TAP.take_faults()
    yield
    faults = TAP.take_faults()
    if faults:
        shown = "\n".join(faults[:_MOST_FAULTS])
        pytest.fail(f"Not as the official schema says (tests/official_schema.py):\n{shown}", pytrace=False)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Generator[None, Any, Any]:
    """Tests that are skipped for what a fixture misses are one line of the summary, not one for each test."""
    report = yield
    if report.skipped and report.when == "setup" and call.excinfo and isinstance(report.longrepr, tuple):
        ours = [entry for entry in call.excinfo.traceback if TESTS in Path(entry.path).parents]
        if ours:  # not one that is marked
            report.longrepr = (str(ours[-1].path), ours[-1].lineno + 1, report.longrepr[2])
    return report
