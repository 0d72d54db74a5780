"""The SQLite file: how it is opened, its tables, and the numbered migrations between their versions."""

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import apsw

from errors import StoreUnavailable

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

# What passes by itself, or once somebody has freed the disk. Anything else is a defect of ours.
_AWAY = (apsw.BusyError, apsw.LockedError, apsw.FullError, apsw.IOError, apsw.CantOpenError, apsw.ReadOnlyError)


@contextmanager
def store_errors() -> Iterator[None]:
    """Turn what SQLite raises while it is locked, full or unreadable into StoreUnavailable."""
    try:
        yield
    except _AWAY as error:
        logger.warning("the SQLite store failed: %s: %s", type(error).__name__, error)
        raise StoreUnavailable() from error


def opened(path: Path, *, busy_timeout: float) -> apsw.Connection:
    """Return a connection to the file, which is made, or brought to this version, if need be.

    Raises StoreUnavailable if it can't be opened or stays locked, RuntimeError if a newer version of
    this program wrote it.
    """
    with store_errors():
        path.parent.mkdir(parents=True, exist_ok=True)
        connection = apsw.Connection(str(path))
        connection.set_busy_handler(_patience(busy_timeout))
        _until_unlocked(lambda: connection.pragma("journal_mode", "wal"), busy_timeout)
        connection.pragma("synchronous", "full")
        connection.pragma("journal_size_limit", 64 * 1024 * 1024)
        _migrate(connection, path)
        return connection


def _migrate(connection: apsw.Connection, path: Path) -> None:
    if _version(connection, path) == len(MIGRATIONS):
        return
    connection.execute("BEGIN IMMEDIATE")
    try:
        # Again, under the lock: another process may have been faster.
        for number in range(_version(connection, path), len(MIGRATIONS)):
            connection.execute(MIGRATIONS[number])
            connection.pragma("user_version", number + 1)
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")


def _version(connection: apsw.Connection, path: Path) -> int:
    version: int = connection.pragma("user_version")
    if version > len(MIGRATIONS):
        raise RuntimeError(
            f"{path} was written by a newer version of this program (schema {version}, this one knows "
            f"{len(MIGRATIONS)}). Update the program, or set DATA_DIR to another folder."
        )
    return version


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
