"""For all tests: nothing of the environment they run in may decide how they end."""

import os

import pytest

# Proxies, and the settings of clients and of this service that a developer may have at hand.
_FOREIGN = ("OPENAI_", "AZURE_OPENAI_", "ASSISTANTS_", "MODEL_", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")

for _name in list(os.environ):
    if _name.upper().startswith(_FOREIGN):
        del os.environ[_name]


def pytest_configure(config: pytest.Config) -> None:
    # Being deprecated is why this service exists.
    for text in ("The Assistants API is deprecated", "deprecated$"):
        config.addinivalue_line("filterwarnings", f"ignore:{text}:DeprecationWarning")
