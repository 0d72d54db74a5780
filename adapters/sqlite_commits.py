"""Commits to the SQLite file: those that wait share a transaction, and nobody waits for a lock asleep.

They run in the event loop's own thread. In another one, every statement would have to win the GIL
back from a busy loop: measured, 6 ms a commit and now and then seconds, with the file locked to all
other processes meanwhile. Here the lock is held for a tenth of a millisecond; while another process
has it, the loop goes on and asks again. Each commit is a savepoint of its own, so that one's conflict
is not another's.
"""

import asyncio
import dataclasses
import secrets
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

import apsw
from pydantic_core import to_json

from adapters.sqlite_file import store_errors
from errors import Conflict, StoreUnavailable
from ports.documents import Change, Create, Delete, Document, Replace

COMMITS_PER_TRANSACTION = 64
LOCKED_PAUSE = 0.001  # seconds
CLEANUP_INTERVAL = 60.0  # seconds
CLEANUP_BATCH = 200  # documents: about a millisecond

_INSERT = """
    INSERT INTO documents (id, partition, kind, sort, body, terms, unfinished_since, ttl, expires_at, version, writer)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"""
_UPDATE = """
    UPDATE documents SET sort = ?, body = ?, terms = ?, unfinished_since = ?, ttl = ?, expires_at = ?,
        version = ?, writer = ?
    WHERE id = ? AND partition = ? AND kind = ? AND version = ? AND (expires_at IS NULL OR expires_at > ?)"""
_DELETE = """
    DELETE FROM documents
    WHERE id = ?1 AND partition = ?2 AND (?3 IS NULL OR version = ?3) AND (expires_at IS NULL OR expires_at > ?4)"""
_DELETE_EXPIRED_ID = "DELETE FROM documents WHERE id = ? AND expires_at <= ?"
_CLEAN_UP = """
    DELETE FROM documents WHERE rowid IN
        (SELECT rowid FROM documents WHERE expires_at <= ? ORDER BY expires_at LIMIT ?)"""


@dataclass(frozen=True, slots=True)
class Commit:
    """`bodies` are those of `changes`, as JSON text. `answer` gets the written documents."""

    partition: str
    changes: Sequence[Change]
    bodies: Sequence[str]
    writer: str
    answer: asyncio.Future[list[Document]]
    deadline: float  # of time.monotonic()
    version: str = field(default_factory=lambda: secrets.token_hex(8))


class CommitQueue:
    """Owns the connection that writes; it must not wait for locks by itself.

    `on_commit` is called with what has been committed, after it was.
    """

    def __init__(self, connection: apsw.Connection, on_commit: Callable[[Commit], None]) -> None:
        self._connection = connection
        self._on_commit = on_commit
        self._waiting: list[Commit] = []
        self._next_cleanup = time.monotonic()

    def submit(self, commit: Commit) -> None:
        self._waiting.append(commit)
        if len(self._waiting) == 1:
            # Not at once: whatever else the loop has ready now comes along.
            commit.answer.get_loop().call_soon(self._work)

    def foreign_version(self) -> int:
        """Return a number that changes with each commit of any connection but this one."""
        # Not Connection.data_version(): that one doesn't look at the file.
        return self._connection.execute("PRAGMA data_version").get

    async def close(self) -> None:
        """Finish what was submitted, then close the connection."""
        await asyncio.gather(*(commit.answer for commit in self._waiting), return_exceptions=True)
        self._connection.close()

    def _work(self) -> None:
        """Commit what waits, and arrange to be called again if something is left."""
        loop = self._waiting[0].answer.get_loop()
        self._waiting = [commit for commit in self._waiting if not commit.answer.done()]
        batch = self._waiting[:COMMITS_PER_TRANSACTION]
        answers = self._transact(batch) if batch else []
        if answers is None:
            self._give_up_late_ones()
        else:
            del self._waiting[: len(batch)]
            for commit, answer in zip(batch, answers, strict=True):
                _deliver(commit, answer)
        if self._waiting:
            loop.call_later(LOCKED_PAUSE if answers is None else 0, self._work)
        for commit, answer in zip(batch, answers or (), strict=False):
            if not isinstance(answer, Exception):
                self._on_commit(commit)
        if not self._waiting:
            self._clean_up()

    def _transact(self, batch: list[Commit]) -> Sequence[list[Document] | Exception] | None:
        """Return each commit's answer, None if another process has the lock."""
        try:
            with store_errors():
                if not self._begin():
                    return None
                answers = [self._attempt(commit) for commit in batch]
                self._connection.execute("COMMIT")
        except (apsw.Error, StoreUnavailable, TypeError, ValueError, OverflowError) as error:
            self._roll_back()
            return [error] * len(batch)
        return answers

    def _begin(self) -> bool:
        try:
            self._connection.execute("BEGIN IMMEDIATE")
        except apsw.BusyError:
            return False
        return True

    def _roll_back(self) -> None:
        # Nothing to do after some errors, a full disk for one: SQLite has rolled back by itself. A
        # connection that is broken raises, and its transaction is gone.
        with suppress(apsw.Error):
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")

    def _give_up_late_ones(self) -> None:
        now = time.monotonic()
        for commit in self._waiting:
            if commit.deadline <= now:
                commit.answer.set_exception(StoreUnavailable())
        self._waiting = [commit for commit in self._waiting if not commit.answer.done()]

    def _attempt(self, commit: Commit) -> list[Document] | Exception:
        """Apply the commit whole or not at all; what makes the whole transaction fail is raised."""
        now = time.time()
        try:
            with self._connection:
                for change, body in zip(commit.changes, commit.bodies, strict=True):
                    self._apply(commit, change, body, now)
        except Conflict as conflict:
            return self._earlier_answer(commit) or conflict
        return [
            dataclasses.replace(change.document, version=commit.version)
            for change in commit.changes
            if not isinstance(change, Delete)
        ]

    def _apply(self, commit: Commit, change: Change, body: str, now: float) -> None:
        match change:
            case Create(document):
                self._create(commit, document, body, now)
            case Replace(document, if_version):
                expires_at = None if document.ttl is None else now + document.ttl
                values = (document.sort, body, _terms(document), document.unfinished_since, document.ttl, expires_at)
                key = (document.id, commit.partition, document.kind, if_version, now)
                self._connection.execute(_UPDATE, (*values, commit.version, commit.writer, *key))
                self._expect_one(f"{document.id} is not at the version to replace.")
            case Delete(id, if_version):
                self._connection.execute(_DELETE, (id, commit.partition, if_version, now))
                self._expect_one(f"{id} is missing or not at the version to delete.")

    def _create(self, commit: Commit, document: Document, body: str, now: float) -> None:
        expires_at = None if document.ttl is None else now + document.ttl
        row = (
            *(document.id, commit.partition, document.kind, document.sort, body, _terms(document)),
            *(document.unfinished_since, document.ttl, expires_at, commit.version, commit.writer),
        )
        try:
            self._connection.execute(_INSERT, row)
        except apsw.ConstraintError:
            self._connection.execute(_DELETE_EXPIRED_ID, (document.id, now))
            self._expect_one(f"{document.id} exists.")
            self._connection.execute(_INSERT, row)

    def _expect_one(self, otherwise: str) -> None:
        if self._connection.changes() != 1:
            raise Conflict(otherwise)

    def _earlier_answer(self, commit: Commit) -> list[Document] | None:
        """Return what the first attempt of this commit answered, None if there was none.

        What a commit created still bears its writer's name unless somebody has replaced it since;
        one such document is proof. Where it created nothing, what it replaced has to do. A document
        replaced since is returned with version "", which nothing matches.
        """
        written = [change.document for change in commit.changes if not isinstance(change, Delete)]
        created = [change.document for change in commit.changes if isinstance(change, Create)]
        versions = {document.id: self._version_written(commit, document.id) for document in written}
        if not any(versions[document.id] for document in created or written):
            return None
        return [dataclasses.replace(document, version=versions[document.id]) for document in written]

    def _version_written(self, commit: Commit, id: str) -> str:
        rows = self._connection.execute(
            "SELECT version FROM documents WHERE id = ? AND partition = ? AND writer = ?",
            (id, commit.partition, commit.writer),
        ).fetchall()
        return str(rows[0][0]) if rows else ""

    def _clean_up(self) -> None:
        """Remove some expired documents, now and then, while nobody waits."""
        if time.monotonic() < self._next_cleanup:
            return
        more = False
        # Locked, or the disk is full: it can wait.
        with suppress(StoreUnavailable), store_errors():
            self._connection.execute(_CLEAN_UP, (time.time(), CLEANUP_BATCH))
            more = self._connection.changes() == CLEANUP_BATCH
        self._next_cleanup = time.monotonic() + (1.0 if more else CLEANUP_INTERVAL)


def _deliver(commit: Commit, answer: list[Document] | Exception) -> None:
    if isinstance(answer, Exception):
        commit.answer.set_exception(answer)
    else:
        commit.answer.set_result(answer)


def _terms(document: Document) -> str:
    return to_json(dict(document.terms)).decode() if document.terms else "{}"
