"""The document port in memory: a store like the others, held against the same contract suite."""

import asyncio
import bisect
import time
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field, replace

from adapters.encoding import decoded, encoded
from errors import Conflict
from ports.documents import Change, Create, Delete, Document, Replace, Unfinished

Key = tuple[str, str]  # partition and id


@dataclass(frozen=True, slots=True)
class Stored:
    """`document` has no body: that is kept as JSON text, so that no reader can change what is stored."""

    partition: str
    document: Document
    body: str
    writer: str
    expires_at: float | None

    def read(self) -> Document:
        kept = self.document
        return Document(
            *(kept.id, kept.kind, decoded(self.body), kept.sort, kept.terms),
            *(kept.unfinished_since, kept.ttl, kept.version),
        )


@dataclass(slots=True)
class Memory:
    """What the clients of one store share. `on_commit` is called with each commit, after it was applied."""

    clock: Callable[[], float] = time.time
    on_commit: Callable[[str, list[Document]], None] | None = None
    stored: dict[str, Stored] = field(default_factory=dict)  # by id: ids are unique in the whole store
    sorts: dict[tuple[str, str], list[tuple[str, str]]] = field(default_factory=dict)  # by partition and kind
    awaited: dict[Key, set[asyncio.Future[Document]]] = field(default_factory=dict)
    versions: int = 0

    def visible(self, partition: str, id: str) -> Stored | None:
        found = self.stored.get(id)
        if found is None or found.partition != partition:
            return None
        return found if found.expires_at is None or found.expires_at > self.clock() else None

    def put(self, entry: Stored) -> None:
        self.remove(entry.document.id)
        document = entry.document
        self.stored[document.id] = entry
        places = self.sorts.setdefault((entry.partition, document.kind), [])
        bisect.insort(places, (document.sort, document.id))

    def remove(self, id: str) -> None:
        if entry := self.stored.pop(id, None):
            self.sorts[entry.partition, entry.document.kind].remove((entry.document.sort, id))


class MemoryDocuments:
    def __init__(self, memory: Memory | None = None) -> None:
        self._memory = memory or Memory()

    async def get(self, partition: str, id: str) -> Document | None:
        found = self._memory.visible(partition, id)
        return found.read() if found else None

    async def commit(self, partition: str, *changes: Change, writer: str | None = None) -> list[Document]:
        bodies = encoded(changes)
        memory = self._memory
        try:
            for change in changes:
                _check(memory, partition, change)
        except Conflict:
            earlier = _earlier_answer(memory, partition, changes, writer) if writer else None
            if earlier is None:
                raise
            return earlier
        memory.versions += 1
        written = [_apply(memory, partition, *each, writer or "") for each in zip(changes, bodies, strict=True)]
        documents = [document for document in written if document]
        self._announce(partition, documents)
        return documents

    def _announce(self, partition: str, documents: list[Document]) -> None:
        for document in documents:
            for arrival in self._memory.awaited.pop((partition, document.id), ()):
                if not arrival.done():
                    arrival.set_result(document)
        if self._memory.on_commit:
            self._memory.on_commit(partition, documents)

    async def wait_for(self, partition: str, id: str, *, timeout: float) -> Document | None:
        found = await self.get(partition, id)
        if found or timeout <= 0:
            return found
        arrival: asyncio.Future[Document] = asyncio.get_running_loop().create_future()
        arrivals = self._memory.awaited.setdefault((partition, id), set())
        arrivals.add(arrival)
        try:
            async with asyncio.timeout(timeout):
                return await arrival
        except TimeoutError:
            return None
        finally:
            arrivals.discard(arrival)

    async def unfinished(self, older_than: float, *, limit: int = 100) -> list[Unfinished]:
        now = self._memory.clock()
        due = [
            (entry.document.unfinished_since, entry)
            for entry in self._memory.stored.values()
            if entry.document.unfinished_since is not None
            and entry.document.unfinished_since < older_than
            and (entry.expires_at is None or entry.expires_at > now)
        ]
        due.sort(key=lambda found: found[0])
        return [Unfinished(entry.partition, entry.read()) for _, entry in due[:limit]]

    async def check(self) -> None:
        pass

    async def close(self) -> None:
        pass

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
        for document in await self.list(
            partition, kind, limit=limit, after=after, before=before, descending=descending, where=where
        ):
            yield document

    # Last, so that the annotations above still mean the builtin.
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
        lower, upper = (before, after) if descending else (after, before)
        places = self._memory.sorts.get((partition, kind), [])
        start = 0 if lower is None else bisect.bisect_left(places, lower + "\0", key=_sort_of)
        end = len(places) if upper is None else bisect.bisect_left(places, upper, key=_sort_of)
        page: list[Document] = []
        for _, id in reversed(places[start:end]) if descending else places[start:end]:
            if len(page) == limit:
                break
            found = self._memory.visible(partition, id)
            if found and (where or {}).items() <= found.document.terms.items():
                page.append(found.read())
        return page


def _sort_of(place: tuple[str, str]) -> str:
    return place[0]


def _check(memory: Memory, partition: str, change: Change) -> None:
    """Raise Conflict if the change can't be applied to what is stored."""
    match change:
        case Create(document):
            taken = memory.stored.get(document.id)
            if taken and memory.visible(taken.partition, document.id):
                raise Conflict(f"{document.id} exists.")
        case Replace(document, if_version):
            found = memory.visible(partition, document.id)
            if found is None or found.document.version != if_version or found.document.kind != document.kind:
                raise Conflict(f"{document.id} is not at the version to replace.")
        case Delete(id, if_version):
            found = memory.visible(partition, id)
            if found is None or if_version not in (None, found.document.version):
                raise Conflict(f"{id} is missing or not at the version to delete.")


def _apply(memory: Memory, partition: str, change: Change, body: str, writer: str) -> Document | None:
    if isinstance(change, Delete):
        memory.remove(change.id)
        return None
    document = replace(change.document, version=str(memory.versions))
    expires_at = None if document.ttl is None else memory.clock() + document.ttl
    memory.put(Stored(partition, replace(document, body={}), body, writer, expires_at))
    return document


def _earlier_answer(memory: Memory, partition: str, changes: tuple[Change, ...], writer: str) -> list[Document] | None:
    """Return what the first attempt of this commit answered, None if there was none.

    A created document that still bears the writer is proof; where none was created, a replaced one.
    """
    written = [change.document for change in changes if not isinstance(change, Delete)]
    proof = [change.document.id for change in changes if isinstance(change, Create)] or [each.id for each in written]
    versions = {
        each.id: found.document.version
        for each in written
        if (found := memory.visible(partition, each.id)) and found.writer == writer
    }
    if not versions.keys() & set(proof):
        return None
    return [replace(each, version=versions.get(each.id, "")) for each in written]
