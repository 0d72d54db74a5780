"""The ports as an actor of the simulation sees them: every operation waits for the scheduler."""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from errors import StoreUnavailable
from ports.documents import Change, Document, Unfinished
from ports.task_hub import RunAddress
from tests.model.memory_documents import MemoryDocuments
from tests.model.scheduler import Actor, Fate


@dataclass(frozen=True, slots=True)
class ScheduledDocuments:
    """A client of the store in the hands of one actor: an operation happens at once, when it is let."""

    store: MemoryDocuments
    actor: Actor

    async def get(self, partition: str, id: str) -> Document | None:
        await self._read(f"get {id}")
        return await self.store.get(partition, id)

    async def commit(self, partition: str, *changes: Change, writer: str | None = None) -> list[Document]:
        fate = await self.actor.point(f"commit {_named(changes)}", writes=True)
        if fate is Fate.FAILS:
            raise StoreUnavailable
        written = await self.store.commit(partition, *changes, writer=writer)
        if fate is Fate.IS_FATAL:
            await self.actor.die_here()
        if fate is Fate.IS_LOST:
            raise StoreUnavailable
        return written

    async def wait_for(self, partition: str, id: str, *, timeout: float) -> Document | None:
        found = await self.store.wait_for(partition, id, timeout=timeout)
        await self._read(f"{'see' if found else 'miss'} {id}")
        return found

    async def unfinished(self, older_than: float, *, limit: int = 100) -> list[Unfinished]:
        await self._read("unfinished runs")
        return await self.store.unfinished(older_than, limit=limit)

    async def check(self) -> None:
        pass

    async def close(self) -> None:
        pass

    async def _read(self, what: str) -> None:
        if await self.actor.point(what) is Fate.FAILS:
            raise StoreUnavailable

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
        await self._read(f"stream {kind}")
        async for document in self.store.stream(
            partition, kind, limit=limit, after=after, before=before, descending=descending, where=where
        ):
            yield document

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
        await self._read(f"list {kind}")
        return await self.store.list(
            partition, kind, limit=limit, after=after, before=before, descending=descending, where=where
        )


def _named(changes: Sequence[Change]) -> str:
    def name(change: Any) -> str:
        id = getattr(change, "id", None) or change.document.id
        return f"{type(change).__name__} {id[:5]}…{id[-16:]}" if len(id) > 24 else f"{type(change).__name__} {id}"

    return ", ".join(map(name, changes))


@dataclass(frozen=True, slots=True)
class ScheduledHub:
    """The task hub in the hands of one actor: a nudge may fail, or succeed without anybody knowing."""

    raise_event: Callable[[RunAddress, str | None], None]
    actor: Actor

    async def wake(self, run: RunAddress, event: str | None = None) -> bool:
        fate = await self.actor.point(f"wake {event or ''}", writes=True)
        if fate is Fate.FAILS:
            return False
        self.raise_event(run, event)
        if fate is Fate.IS_FATAL:
            await self.actor.die_here()
        return fate is not Fate.IS_LOST

    async def ready(self) -> bool:
        return True
