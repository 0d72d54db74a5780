"""SQLite files that are not what they should be: refused in words, and left as they are."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import apsw
import pytest

from adapters.sqlite import SqliteDocuments
from adapters.sqlite_file import MIGRATIONS
from errors import StoreBroken
from ports.documents import Create, Document

PARTITION = "default/thread_1"


async def filled(path: Path) -> None:
    documents = SqliteDocuments(path)
    for start in range(0, 200, 50):
        messages = [Document(f"msg_{n}", "message", {"text": "x" * 1000}, f"{n:012}") for n in range(start, start + 50)]
        await documents.commit(PARTITION, *map(Create, messages))
    await documents.close()


def everything_in(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def refusal(path: Path) -> str:
    """Return why the file is refused. AssertionError if that changes anything in its folder."""
    before = everything_in(path.parent)
    with pytest.raises(StoreBroken) as refused:
        SqliteDocuments(path)
    assert everything_in(path.parent) == before
    assert str(path) not in refused.value.message, "that one is for clients"
    return str(refused.value)


def overwritten(start: int, length: int) -> Callable[[bytes], bytes]:
    return lambda content: content[:start] + os.urandom(length) + content[start + length :]


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda content: b"", "is empty"),
        (lambda content: os.urandom(50_000), "is not a SQLite database"),
        (lambda content: b"abc", "is not a SQLite database"),
        (lambda content: b"notes\n" * 1000, "is not a SQLite database"),
        (lambda content: content[:50], "is corrupt"),
        (lambda content: content[:4096], "is corrupt"),
        (lambda content: content[: len(content) // 2], "is corrupt"),
        (lambda content: content[:-1], "is corrupt"),
        (overwritten(0, 100), "is not a SQLite database"),
        (overwritten(100, 3000), "is corrupt"),
        (overwritten(100_000, 20_000), "is corrupt"),
    ],
)
async def test_a_damaged_file_is_refused_and_not_touched(tmp_path: Path, damage: Callable[[bytes], bytes], reason: str):
    path = tmp_path / "assistants.db"
    await filled(path)
    path.write_bytes(damage(path.read_bytes()))
    assert refusal(path).startswith(f"{path} {reason}")


def test_a_folder_in_its_place_is_refused(tmp_path: Path):
    path = tmp_path / "assistants.db"
    path.mkdir()
    assert refusal(path).startswith(f"{path} is a folder")


@pytest.mark.parametrize("version", [0, 1, 99])
@pytest.mark.parametrize("mode", ["delete", "wal"])
def test_the_database_of_another_program_is_refused_and_not_touched(tmp_path: Path, mode: str, version: int):
    path = tmp_path / "assistants.db"
    theirs = apsw.Connection(str(path))
    theirs.pragma("journal_mode", mode)
    theirs.execute("CREATE TABLE notes (text)")
    theirs.pragma("user_version", version)
    theirs.close()
    assert refusal(path).startswith(f"{path} is the database of another program")


async def test_a_file_of_a_newer_version_is_refused_and_not_touched(tmp_path: Path):
    path = tmp_path / "assistants.db"
    await filled(path)
    newer = apsw.Connection(str(path))
    newer.pragma("user_version", 99)
    newer.close()
    expected = f"{path} was written by a newer version of this program (schema 99, this one knows {len(MIGRATIONS)})"
    assert refusal(path).startswith(expected)


_KILLED = """
import os, sys
from pathlib import Path
from adapters.sqlite_file import opened
connection = opened(Path(sys.argv[1]), busy_timeout=1)
connection.pragma("user_version", int(sys.argv[2]))
os.kill(os.getpid(), 9)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="kills with a signal")
def test_a_newer_version_that_was_killed_is_known_from_its_log(tmp_path: Path):
    path = tmp_path / "assistants.db"
    killed = subprocess.run([sys.executable, "-c", _KILLED, str(path), "99"], check=False)
    assert killed.returncode == -signal.SIGKILL
    log = path.with_name("assistants.db-wal")
    before = path.read_bytes(), log.read_bytes()
    with pytest.raises(StoreBroken, match="newer version"):
        SqliteDocuments(path)
    assert (path.read_bytes(), log.read_bytes()) == before


@pytest.mark.skipif(sys.platform == "win32", reason="kills with a signal")
def test_a_file_whose_program_was_killed_is_opened(tmp_path: Path):
    path = tmp_path / "assistants.db"
    subprocess.run([sys.executable, "-c", _KILLED, str(path), str(len(MIGRATIONS))], check=False)
    assert path.with_name("assistants.db-wal").stat().st_size > 0
    asyncio.run(filled(path))


async def test_a_log_without_its_database_is_refused_and_kept(tmp_path: Path):
    path = tmp_path / "assistants.db"
    await filled(path)
    path.rename(path.with_name("elsewhere.db"))
    path.with_name("assistants.db-wal").write_bytes(b"what was written last")
    assert "is missing" in refusal(path)


async def test_a_new_file_leaves_nothing_else_in_the_folder(tmp_path: Path):
    documents = SqliteDocuments(tmp_path / "data" / "assistants.db")
    await documents.close()
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["assistants.db"]


async def test_damage_while_it_is_open_is_told_by_a_check(tmp_path: Path):
    path = tmp_path / "assistants.db"
    await filled(path)
    documents = SqliteDocuments(path)
    await documents.check()
    path.write_bytes(overwritten(0, 4096)(path.read_bytes()))
    with pytest.raises(StoreBroken, match="is not a SQLite database"):
        await documents.check()
