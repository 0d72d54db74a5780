"""Commits to the SQLite file: one thread, which groups those that wait into one transaction.

The event loop never waits for the lock of another process, and a fsync is shared by whoever needs
it at the time. Each commit is a savepoint of its own, so that one's conflict is not another's.
"""

import asyncio
import dataclasses
import logging
import queue
import secrets
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import apsw
from pydantic_core import to_json

from adapters.sqlite_file import store_errors
from errors import Conflict, StoreUnavailable
from ports.documents import Change, Create, Delete, Document, Replace

logger = logging.getLogger(__name__)

COMMITS_PER_TRANSACTION = 64
CLEANUP_INTERVAL = 60.0  # seconds
CLEANUP_BATCH = 200  # documents: about a millisecond under the lock

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
    """`bodies` are those of `changes`, as JSON text. `done` is called in the writer's thread, with
    the written documents or what went wrong."""

    partition: str
    changes: Sequence[Change]
    bodies: Sequence[str]
    writer: str
    done: Callable[[list[Document] | Exception], None]
    version: str = field(default_factory=lambda: secrets.token_hex(8))


class CommitThread:
    """Owns the connection that writes. `submit` may be called from any thread."""

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection
        self._waiting: queue.SimpleQueue[Commit | None] = queue.SimpleQueue()
        self._next_cleanup = time.monotonic()
        # A daemon, so that a process that ends without close() ends.
        self._thread = threading.Thread(target=self._work, name="sqlite-commits", daemon=True)
        self._thread.start()

    def submit(self, commit: Commit) -> None:
        self._waiting.put(commit)

    async def stop(self) -> None:
        """Finish what was submitted, then close the connection."""
        self._waiting.put(None)
        await asyncio.to_thread(self._thread.join)
        self._connection.close()

    def _work(self) -> None:
        while (first := self._waiting.get()) is not None:
            if not self._transact(first):
                return
            self._clean_up()

    def _transact(self, first: Commit) -> bool:
        """Answer the first commit and those behind it. False if `stop` was among them."""
        commits, going_on = [first], True
        try:
            with store_errors():
                self._connection.execute("BEGIN IMMEDIATE")
                # Only now: whoever came while we waited for the lock comes along.
                going_on = self._take_waiting(commits)
                answers = [self._attempt(commit) for commit in commits]
                self._connection.execute("COMMIT")
        except (apsw.Error, StoreUnavailable, TypeError, ValueError, OverflowError) as error:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            answers = [error] * len(commits)
        for commit, answer in zip(commits, answers, strict=True):
            commit.done(answer)
        return going_on

    def _take_waiting(self, commits: list[Commit]) -> bool:
        while len(commits) < COMMITS_PER_TRANSACTION:
            try:
                commit = self._waiting.get_nowait()
            except queue.Empty:
                return True
            if commit is None:
                return False
            commits.append(commit)
        return True

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
        if time.monotonic() < self._next_cleanup or not self._waiting.empty():
            return
        try:
            with store_errors():
                self._connection.execute(_CLEAN_UP, (time.time(), CLEANUP_BATCH))
                more = self._connection.changes() == CLEANUP_BATCH
        except StoreUnavailable:
            more = False
        self._next_cleanup = time.monotonic() + (1.0 if more else CLEANUP_INTERVAL)


def _terms(document: Document) -> str:
    return to_json(dict(document.terms)).decode() if document.terms else "{}"
