"""The SQLite file: how it is made and opened, its tables, and the numbered migrations between their versions.

It gets its name when it is whole, so one that is empty or no database was not left by us: such a file is
refused and not touched.
"""

import logging
import os
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import apsw

from errors import StoreBroken, StoreUnavailable

logger = logging.getLogger(__name__)

# Never edited once released: a new version is a new entry. `terms` is an index that triggers keep,
# so that a filtered page costs the page.
MIGRATIONS = (
    """
    CREATE TABLE documents (
        id TEXT PRIMARY KEY NOT NULL,
        partition TEXT NOT NULL,
        kind TEXT NOT NULL,
        sort TEXT NOT NULL,
        body TEXT NOT NULL,
        terms TEXT NOT NULL,
        unfinished_since REAL,
        ttl INTEGER,
        expires_at REAL,
        version TEXT NOT NULL,
        writer TEXT NOT NULL
    ) STRICT;
    CREATE INDEX documents_in_order ON documents (partition, kind, sort);
    CREATE INDEX documents_unfinished ON documents (unfinished_since) WHERE unfinished_since IS NOT NULL;
    CREATE INDEX documents_expiring ON documents (expires_at) WHERE expires_at IS NOT NULL;

    CREATE TABLE terms (
        partition TEXT NOT NULL,
        kind TEXT NOT NULL,
        key TEXT NOT NULL,
        value TEXT NOT NULL,
        sort TEXT NOT NULL,
        id TEXT NOT NULL,
        PRIMARY KEY (partition, kind, key, value, sort, id)
    ) STRICT, WITHOUT ROWID;
    CREATE TRIGGER terms_of_created AFTER INSERT ON documents WHEN new.terms <> '{}' BEGIN
        INSERT INTO terms SELECT new.partition, new.kind, key, value, new.sort, new.id FROM json_each(new.terms);
    END;
    CREATE TRIGGER terms_of_replaced AFTER UPDATE ON documents
    WHEN new.terms <> old.terms OR (new.terms <> '{}' AND new.sort <> old.sort) BEGIN
        DELETE FROM terms WHERE (partition, kind, key, value, sort, id) IN
            (SELECT old.partition, old.kind, e.key, e.value, old.sort, old.id FROM json_each(old.terms) AS e);
        INSERT INTO terms SELECT new.partition, new.kind, key, value, new.sort, new.id FROM json_each(new.terms);
    END;
    CREATE TRIGGER terms_of_deleted AFTER DELETE ON documents WHEN old.terms <> '{}' BEGIN
        DELETE FROM terms WHERE (partition, kind, key, value, sort, id) IN
            (SELECT old.partition, old.kind, e.key, e.value, old.sort, old.id FROM json_each(old.terms) AS e);
    END;
    """,
)

MAGIC = b"SQLite format 3\0"
CHECKED_WHOLE = 64 << 20  # bytes; a tenth of a second. Of a larger file's pages only some are looked at

# What passes by itself, or once somebody has freed the disk.
_AWAY: dict[type[apsw.Error], str] = {
    apsw.BusyError: "The store is busy.",
    apsw.LockedError: "The store is busy.",
    apsw.FullError: "The store's disk is full.",
    apsw.IOError: "The store's disk fails.",
    apsw.CantOpenError: "The store cannot be opened.",
    apsw.ReadOnlyError: "The store cannot be written.",
}
_BROKEN = (apsw.CorruptError, apsw.NotADBError)
_FOREIGN = "is the database of another program"


@contextmanager
def store_errors() -> Iterator[None]:
    """Turn what SQLite raises while it is locked, full, unreadable or corrupt into StoreUnavailable."""
    try:
        yield
    except _BROKEN as error:
        logger.error("the SQLite store failed: %s: %s", type(error).__name__, error)
        raise StoreBroken("The database is corrupt.", detail=f"The database is corrupt: {error}.") from error
    except tuple(_AWAY) as error:
        logger.warning("the SQLite store failed: %s: %s", type(error).__name__, error)
        reason = next(_AWAY[kind] for kind in type(error).__mro__ if kind in _AWAY)
        raise StoreUnavailable(f"{reason} Try again.") from error
    except OSError as error:
        logger.warning("the SQLite store failed: %s", error.strerror)
        raise StoreUnavailable("The store cannot be opened. Try again.") from error


def opened(path: Path, *, busy_timeout: float, thorough: bool = False) -> apsw.Connection:
    """Return a connection to the file, which is made, or brought to this version, if need be.

    `thorough`: also look whether it is corrupt somewhere inside; a large one is not read through.
    Raises StoreUnavailable if it can't be opened or stays locked, StoreBroken, without a change to the
    file, if it is not one of ours or a newer version of this program wrote it.
    """
    with store_errors():
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            _make(path)
        connection = _checked(path, busy_timeout, thorough=thorough)
        _until_unlocked(lambda: connection.pragma("journal_mode", "wal"), busy_timeout)
        connection.pragma("synchronous", "full")
        connection.pragma("journal_size_limit", 64 * 1024 * 1024)
        _migrate(connection)
        return connection


def check_file(path: Path) -> None:
    """Look at the file as a program that starts would. Raises as `opened`."""
    with store_errors():
        _checked(path, busy_timeout=1.0, thorough=False).close()


def _make(path: Path) -> None:
    """Make the file under another name, then give it its own, unless another process was faster."""
    if _log_of(path).exists() and not path.exists():
        raise _broken(path, f"is missing, but what was written last is in {_log_of(path).name}")
    made = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        _make_in_place(made)
        os.link(made, path)
    except FileExistsError:
        return
    except OSError:  # a file system without links
        _make_in_place(path)
    finally:
        made.unlink(missing_ok=True)


def _make_in_place(path: Path) -> None:
    connection = apsw.Connection(str(path))
    try:
        _migrate(connection)
    finally:
        connection.close()


def _log_of(path: Path) -> Path:
    return path.with_name(f"{path.name}-wal")


def _has_log(path: Path) -> bool:
    try:
        return _log_of(path).stat().st_size > 0
    except FileNotFoundError:
        return False


def _checked(path: Path, busy_timeout: float, *, thorough: bool) -> apsw.Connection:
    """Return a connection that has written nothing yet, to a file that is ours."""
    if path.is_dir():
        raise _broken(path, "is a folder")
    if path.stat().st_size == 0:
        raise _broken(path, "is empty")
    if _beginning(path) != MAGIC:  # SQLite itself would not look where the log has another beginning
        raise _broken(path, "is not a SQLite database")
    connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE)
    connection.set_busy_handler(_patience(busy_timeout))
    # Else closing the connection would write what is in the log into the file.
    connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, _has_log(path))
    try:
        with _telling(path):
            _check_version(connection, path)
            if thorough:
                _check_pages(connection, path)
    except BaseException:
        connection.close()
        raise
    connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, False)
    return connection


def _beginning(path: Path) -> bytes:
    # Through SQLite: the process would lose its locks on the file if it closed it behind SQLite's back.
    flags = apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_MAIN_DB
    file = apsw.VFSFile("", str(path), [flags, 0])
    try:
        return file.xRead(len(MAGIC), 0)
    finally:
        file.xClose()


@contextmanager
def _telling(path: Path) -> Iterator[None]:
    try:
        yield
    except apsw.NotADBError as error:
        raise _broken(path, "is not a SQLite database") from error
    except apsw.CorruptError as error:
        raise _broken(path, f"is corrupt ({error})") from error


def _check_version(connection: apsw.Connection, path: Path) -> None:
    version: int = connection.pragma("user_version")
    tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}
    size = connection.pragma("page_count") * connection.pragma("page_size")
    if not _has_log(path) and size != path.stat().st_size:
        raise _broken(path, "is corrupt (its size is not the one that it names)")
    ours = {"documents", "terms"}
    if version > len(MIGRATIONS) and (ours & tables or not tables):
        raise StoreBroken(
            "The database is of a newer version of this service.",
            detail=f"{path} was written by a newer version of this program (schema {version}, this one knows "
            f"{len(MIGRATIONS)}). Update the program, or set DATA_DIR to another folder.",
        )
    if (version == 0 and tables) or (version > 0 and not ours <= tables):
        raise _broken(path, _FOREIGN)


def _check_pages(connection: apsw.Connection, path: Path) -> None:
    if path.stat().st_size > CHECKED_WHOLE:
        return
    if (found := str(connection.pragma("quick_check", 1))) != "ok":
        raise _broken(path, f"is corrupt ({' '.join(found.split())[:100]})")


def _broken(path: Path, what: str) -> StoreBroken:
    kind = "The database is missing." if "missing" in what else "The database is corrupt."
    if what == _FOREIGN:
        kind = "The database is another program's."
    return StoreBroken(kind, detail=f"{path} {what}. Put back a copy of it, or set DATA_DIR to another folder.")


def _migrate(connection: apsw.Connection) -> None:
    if connection.pragma("user_version") == len(MIGRATIONS):
        return
    connection.execute("BEGIN IMMEDIATE")
    try:
        # Again, under the lock: another process may have been faster.
        for number in range(connection.pragma("user_version"), len(MIGRATIONS)):
            connection.execute(MIGRATIONS[number])
            connection.pragma("user_version", number + 1)
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")


def _patience(timeout: float) -> Callable[[int], bool]:
    """Return a busy handler that asks often: commits last a tenth of a millisecond, SQLite's own
    handler sleeps up to 100."""
    deadline = 0.0

    def wait(attempt: int) -> bool:
        nonlocal deadline
        if attempt == 0:
            deadline = time.monotonic() + timeout
        if time.monotonic() >= deadline:
            return False
        time.sleep(min(0.0002 * (attempt + 1), 0.005))
        return True

    return wait


def _until_unlocked(step: Callable[[], Any], timeout: float) -> None:
    """Switching to WAL fails at once while another process does it: SQLite asks no busy handler."""
    deadline = time.monotonic() + timeout
    while True:
        try:
            step()
            return
        except apsw.BusyError:
            if time.monotonic() >= deadline:
                raise
            time.sleep(0.005)
