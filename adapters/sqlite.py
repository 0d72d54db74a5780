"""Documents in one SQLite file, for a laptop: safe for several processes at once."""

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import apsw

from adapters.arrivals import Arrivals, Key
from adapters.encoding import changed_id, decoded, encoded
from adapters.sqlite_commits import Commit, CommitQueue
from adapters.sqlite_file import check_file, opened, store_errors
from errors import Conflict, StoreUnavailable
from ports.documents import Change, Create, Document, Replace, Unfinished

POLL = 0.002  # seconds
PIECE = 2_000_000  # characters of bodies that a stream reads at once

Written = list[Document]

_COLUMNS = "d.id, d.kind, d.body, d.sort, d.terms, d.unfinished_since, d.ttl, d.version"
_BODY, _SORT = 2, 3  # among the columns
_VISIBLE = "(d.expires_at IS NULL OR d.expires_at > ?)"
_GET = f"SELECT {_COLUMNS} FROM documents AS d WHERE d.id = ? AND d.partition = ? AND {_VISIBLE}"
_UNFINISHED = f"""
    SELECT {_COLUMNS}, d.partition FROM documents AS d WHERE d.unfinished_since < ? AND {_VISIBLE}
    ORDER BY d.unfinished_since LIMIT ?"""


class SqliteDocuments:
    """The document port on a SQLite file (WAL).

    A commit is on the disk when it is answered: synchronous=FULL took 0.09 ms where this was measured,
    NORMAL 0.02, not worth losing the last commits when the power fails. Reads never wait for writers,
    and a point read takes 8 µs where a hop to another thread takes 70, so nothing here needs a thread.
    Belongs to the event loop that uses it.
    """

    def __init__(self, path: Path, *, busy_timeout: float = 5.0) -> None:
        """Open or make the file. `busy_timeout`: seconds a commit waits for other processes.

        Raises StoreUnavailable if the file can't be opened, StoreBroken if it is corrupt, of a newer version
        or not ours.
        """
        self._path = path
        self._busy_timeout = busy_timeout
        writing = opened(path, busy_timeout=busy_timeout, thorough=True)
        writing.set_busy_handler(None)  # CommitQueue waits without blocking the event loop
        self._commits = CommitQueue(writing, self._announce)
        # Reads only wait where a process opens or closes the file as the first or last.
        self._reader = opened(path, busy_timeout=1.0)
        self._arrivals = Arrivals()
        self._seen: int | None = None
        self._watching: asyncio.TimerHandle | None = None

    async def get(self, partition: str, id: str) -> Document | None:
        return self._get(partition, id)

    async def commit(self, partition: str, *changes: Change, writer: str | None = None) -> list[Document]:
        bodies = encoded(changes)
        answer: asyncio.Future[Written] = asyncio.get_running_loop().create_future()
        deadline = time.monotonic() + self._busy_timeout
        self._commits.submit(Commit(partition, changes, bodies, writer or secrets.token_hex(8), answer, deadline))
        return await answer

    async def wait_for(self, partition: str, id: str, *, timeout: float) -> Document | None:
        with self._arrivals.expect((partition, id)) as arrival:
            # Looked for only now: `_watch` looks again only after the next commit of another process.
            document = self._get(partition, id)
            if document or timeout <= 0:
                return document
            if self._watching is None:
                self._watching = asyncio.get_running_loop().call_later(POLL, self._watch)
            await asyncio.wait([arrival], timeout=timeout)
            return arrival.result() if arrival.done() else None

    async def unfinished(self, older_than: float, *, limit: int = 100) -> list[Unfinished]:
        rows = self._read(_UNFINISHED, (older_than, time.time(), limit))
        return [Unfinished(row[-1], _document(row)) for row in rows]

    async def check(self) -> None:
        """Also writes: a disk may be full, or a folder have become read-only."""
        check_file(self._path)
        mark = self._get("health", "health")
        written = Document("health", "health", {})
        before = self._commits.foreign_version()
        try:
            await self.commit("health", Replace(written, mark.version) if mark else Create(written))
        except Conflict:
            return  # another process has just written it
        except StoreUnavailable:
            if self._commits.foreign_version() == before:
                raise  # else others write, and only this one came too late

    async def stream(
        self,
        partition: str,
        kind: str,
        *,
        limit: int,
        after: str | None = None,
        before: str | None = None,
        descending: bool = False,
        where: Mapping[str, str] | None = None,
    ) -> AsyncIterator[Document]:
        while limit > 0:
            lower, upper = (before, after) if descending else (after, before)
            query, values = _listing(partition, kind, lower, upper, descending, where or {})
            # Nothing stays open in between: the log can't be cut back while a reader takes his time.
            rows, is_all = self._read_piece(query, (*values, time.time(), limit))
            for row in rows:
                yield _document(row)
            if is_all:
                return
            limit -= len(rows)
            after = rows[-1][_SORT]

    async def close(self) -> None:
        if self._watching is not None:
            self._watching.cancel()
        await self._commits.close()
        self._reader.close()

    async def list(
        self,
        partition: str,
        kind: str,
        *,
        limit: int,
        after: str | None = None,
        before: str | None = None,
        descending: bool = False,
        where: Mapping[str, str] | None = None,
    ) -> list[Document]:
        """With several `where` terms the cost is that of the documents that match the first."""
        lower, upper = (before, after) if descending else (after, before)
        query, values = _listing(partition, kind, lower, upper, descending, where or {})
        return [_document(row) for row in self._read(query, (*values, time.time(), limit))]

    def _announce(self, commit: Commit) -> None:
        keys = [(commit.partition, changed_id(change)) for change in commit.changes]
        try:
            self._look_for(filter(self._arrivals.is_expected, keys))
        except StoreUnavailable:
            self._seen = None  # `_watch` looks for it in a moment

    def _get(self, partition: str, id: str) -> Document | None:
        rows = self._read(_GET, (id, partition, time.time()))
        return _document(rows[0]) if rows else None

    def _read(self, query: str, values: Sequence[Any]) -> Sequence[Any]:
        with store_errors():
            return self._reader.execute(query, values).fetchall()

    def _read_piece(self, query: str, values: Sequence[Any]) -> tuple[Sequence[Any], bool]:
        """Return what the query finds, or its first rows, which take PIECE; and whether that is all."""
        rows: list[Any] = []
        size = 0
        with store_errors():
            cursor = self._reader.execute(query, values)
            for row in cursor:
                rows.append(row)
                size += len(row[_BODY])
                if size >= PIECE:
                    cursor.close(True)
                    return rows, False
        return rows, True

    def _watch(self) -> None:
        """Look for what other processes commit, every POLL seconds as long as somebody waits."""
        self._watching = None
        if not (expected := self._arrivals.expected()):
            return
        self._watching = asyncio.get_running_loop().call_later(POLL, self._watch)
        try:
            if (version := self._commits.foreign_version()) != self._seen:
                self._look_for(expected)
            self._seen = version
        except (apsw.Error, StoreUnavailable):
            self._seen = None  # looked for again in a moment; whoever it is too long for gets None

    def _look_for(self, keys: Iterable[Key]) -> None:
        for key in keys:
            if document := self._get(*key):
                self._arrivals.announce(key, document)


def _listing(
    partition: str, kind: str, lower: str | None, upper: str | None, descending: bool, where: Mapping[str, str]
) -> tuple[str, list[str]]:
    """Return the query of a listing and its values but the last two, the time and the limit.

    It walks the index of all documents of the kind, or of those with the first term, in order.
    """
    walked = "t" if where else "d"
    source = "terms AS t CROSS JOIN documents AS d ON d.id = t.id" if where else "documents AS d"
    conditions, values = [f"{walked}.partition = ? AND {walked}.kind = ?"], [partition, kind]
    for position, term in enumerate(where.items()):
        conditions.append("t.key = ? AND t.value = ?" if position == 0 else _ANOTHER_TERM)
        values.extend(term)
    for bound, operator in ((lower, ">"), (upper, "<")):
        if bound is not None:
            conditions.append(f"{walked}.sort {operator} ?")
            values.append(bound)
    direction = "DESC" if descending else "ASC"
    query = (
        f"SELECT {_COLUMNS} FROM {source} WHERE {' AND '.join(conditions)} AND {_VISIBLE} "
        f"ORDER BY {walked}.sort {direction} LIMIT ?"
    )
    return query, values


_ANOTHER_TERM = """EXISTS (
    SELECT 1 FROM terms AS u WHERE u.partition = t.partition AND u.kind = t.kind
    AND u.key = ? AND u.value = ? AND u.sort = t.sort AND u.id = t.id)"""


def _document(row: Sequence[Any]) -> Document:
    id, kind, body, sort, terms, unfinished_since, ttl, version = row[:8]
    # Most documents have no terms, and a long thread is read as hundreds of documents.
    return Document(
        id, kind, decoded(body), sort, {} if terms == "{}" else decoded(terms), unfinished_since, ttl, version
    )
