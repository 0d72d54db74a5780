"""Starting on data that can't be used: one line, exit code 1, and not a byte is changed."""

import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.scripted_model import ScriptedModel
from tests.service import ROOT, Service


@pytest.fixture(scope="module")
def left_behind(tmp_path_factory: pytest.TempPathFactory, scripted_model: ScriptedModel) -> Path:
    """The data folder of a service that was killed."""
    with Service(tmp_path_factory.mktemp("killed"), model=scripted_model) as service:
        service.openai().beta.threads.create(messages=[{"role": "user", "content": "x" * 100_000}])
    return service.data


@pytest.fixture(params=["log", "no log"])
def used(request: pytest.FixtureRequest, left_behind: Path, tmp_path: Path) -> Path:
    """A database with its log, or with all that was in there."""
    shutil.copytree(left_behind, tmp_path / "data")
    database = tmp_path / "data" / "assistants.db"
    if request.param == "no log":
        sqlite3.connect(database).execute("PRAGMA wal_checkpoint(TRUNCATE)").connection.close()
    return database


def refused(database: Path) -> str:
    """Start on the data and return the one line that comes of it."""
    before = {path.name: path.read_bytes() for path in database.parent.glob("assistants.db*") if path.is_file()}
    command = [sys.executable, "-m", "devhost", "--port", "0", "--workers", "2", "--data", str(database.parent)]
    command.append("--no-code-interpreter")
    environment = {name: os.environ[name] for name in ("PATH", "HOME", "SYSTEMROOT") if name in os.environ}
    environment |= {"MODEL_BASE_URL": "http://127.0.0.1:9/v1", "ASSISTANTS_API_KEY": "key"}
    ended = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert (ended.returncode, ended.stdout) == (1, "")
    after = {path.name: path.read_bytes() for path in database.parent.glob("assistants.db*") if path.is_file()}
    before.pop("assistants.db-shm", None)  # which only says what is in the log
    after.pop("assistants.db-shm", None)
    assert after == before
    [line] = ended.stderr.splitlines()
    return line


def newer(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 99")
    connection.close()


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def rotten(path: Path) -> None:
    path.write_bytes(os.urandom(path.stat().st_size))


def emptied(path: Path) -> None:
    path.write_bytes(b"")


def folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (newer, "was written by a newer version of this program (schema 99, this one knows 1). Update the program, or"),
        (cut, "is corrupt ("),
        (rotten, "is not a SQLite database. Put back a copy of it, or"),
        (emptied, "is empty. Put back a copy of it, or"),
        (folder, "is a folder. Put back a copy of it, or"),
    ],
)
def test_a_database_that_cannot_be_used_is_one_line_and_left_as_it_is(
    used: Path, damage: Callable[[Path], None], reason: str
):
    damage(used)
    line = refused(used)
    assert line.startswith(f"{used} {reason}")
    assert line.endswith(" set DATA_DIR to another folder.")
