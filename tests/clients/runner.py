"""Runs the test programs of other clients: the last openai of generation 1, and npm's openai."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from dev import OPENAI_1
from tests.service import API_VERSION, Service

CLIENTS = Path(__file__).resolve().parent
NODE_MODULES = CLIENTS / "node" / "node_modules"
PATIENCE = 60.0  # seconds


def old_python_client(service: Service, scenario: str, model: str, *, azure: bool = False) -> Any:
    """Play the scenario of old_python.py; return what it prints, read as JSON. Skips where the client is missing."""
    if not (OPENAI_1 / "openai").is_dir():
        pytest.skip("openai 1.x is not installed beside this environment: run the tests with dev.py")
    return _play([sys.executable, str(CLIENTS / "old_python.py")], service, scenario, model, azure)


def node_client(service: Service, scenario: str, model: str, *, azure: bool = False) -> Any:
    """Play the scenario of node/scenarios.mjs. Skips where Node or its packages are missing."""
    node = shutil.which("node")
    if not node:
        pytest.skip("Node.js is not here")
    if not (NODE_MODULES / "openai").is_dir():
        pytest.skip("npm's openai is not installed in tests/clients/node: run the tests with dev.py")
    return _play([node, str(CLIENTS / "node" / "scenarios.mjs")], service, scenario, model, azure)


def _play(command: Sequence[str], service: Service, scenario: str, model: str, azure: bool) -> Any:
    environment = {
        "PATH": os.environ.get("PATH", ""),
        "PYTHONPATH": str(OPENAI_1),
        "CLIENT": "azure" if azure else "openai",
        "SERVICE_URL": service.url,
        "SERVICE_KEY": service.key,
        "API_VERSION": API_VERSION,
        "MODEL": model,
    }
    played = subprocess.run(
        [*command, scenario], env=environment, capture_output=True, text=True, timeout=PATIENCE, check=False
    )
    assert played.returncode == 0, f"{scenario} failed:\n{played.stderr[-3000:]}"
    return json.loads(played.stdout)
