"""The rooms and who may import whom: docs/architecture.md, section 2, held by a test."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

EVERYONE_MAY = {"errors", "ids", "texts"}
MAY_IMPORT = {
    "function_app": {"routes", "orchestrators", "activities", "timers", "wiring", "hosting"},
    "hosting": {"settings"},
    "wiring": {"settings", "ports", "adapters", "tools", "hosting"},
    "settings": set(),
    "errors": set(),
    "ids": set(),
    "texts": set(),
    "schemas": set(),
    "ports": {"schemas"},
    "domain": {"schemas", "ports"},
    "events": {"schemas", "domain", "ports"},
    "files": {"schemas", "domain", "ports"},
    "tools": {"schemas", "domain", "files", "ports"},
    "adapters": {"ports", "schemas", "settings"},
    "access": {"ports", "schemas", "settings"},
    "routes": {"wiring", "settings", "access", "schemas", "domain", "events", "files", "ports"},
    "orchestrators": {"schemas"},
    "activities": {"wiring", "schemas", "domain", "events", "files", "tools", "ports", "access"},
    "timers": {"wiring", "schemas", "domain", "events", "files", "ports", "access"},
    "devhost": {"sandbox"},
    "sandbox": set(),
}
# An orchestrator is replayed: nothing in it may see the clock, randomness or the world.
ORCHESTRATORS_MAY = {"azure.durable_functions", "durabletask", "collections.abc", "datetime", "typing", "logging"}


def modules_of(room: str) -> list[Path]:
    folder = ROOT / room
    return sorted(folder.rglob("*.py")) if folder.is_dir() else [ROOT / f"{room}.py"]


def imported_by(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names.add(node.module or "")
    return names


@pytest.mark.parametrize("room", sorted(MAY_IMPORT))
def test_room_imports_only_the_rooms_it_may(room):
    for path in modules_of(room):
        rooms = {name.split(".")[0] for name in imported_by(path)} & set(MAY_IMPORT)
        assert rooms - {room} - EVERYONE_MAY <= MAY_IMPORT[room], path.relative_to(ROOT)


def test_orchestrators_import_nothing_that_changes_between_replays():
    for path in modules_of("orchestrators"):
        outside = {name for name in imported_by(path) if not name.startswith("orchestrators")}
        assert outside <= ORCHESTRATORS_MAY, path.relative_to(ROOT)


def test_domain_never_awaits():
    """Pure rules: a domain function that could wait could do I/O."""
    for path in modules_of("domain"):
        assert not any(
            isinstance(n, ast.AsyncFunctionDef | ast.Await) for n in ast.walk(ast.parse(path.read_text()))
        ), path


def test_every_room_has_a_row():
    code = {path.parent.name for path in ROOT.glob("*/__init__.py")} - {"tests", "bench"}
    assert code <= set(MAY_IMPORT)
