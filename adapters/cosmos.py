"""Documents in Cosmos DB (NoSQL API), in one container that the deployment makes."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from azure.core.credentials_async import AsyncTokenCredential
from azure.core.exceptions import AzureError, ClientAuthenticationError, HttpResponseError
from azure.cosmos.aio import ContainerProxy, CosmosClient
from azure.cosmos.exceptions import CosmosResourceNotFoundError

from adapters.arrivals import Arrivals
from adapters.cosmos_errors import AnswerLost, charge_of, store_errors
from adapters.cosmos_items import UNFINISHED, Item, Query, document, item, listing
from adapters.encoding import changed_id, decoded, encoded
from errors import Conflict, StoreUnavailable
from ports.documents import Change, Create, Delete, Document, Replace, Unfinished

CONTAINER = "documents"
COMMIT_ATTEMPTS = 3  # as long as the answer gets lost
FIRST_POLL, SLOWEST_POLL = 0.015, 0.060  # seconds
LARGEST_PAGE = 1000  # Cosmos DB's own limit

EVENTUALLY = {"x-ms-consistency-level": "Eventual"}

OnCharge = Callable[[str, float], None]


class CosmosDocuments:
    """The document port on a Cosmos DB container.

    A commit is one transactional batch. Repeating one whose answer was lost is safe: what it wrote bears
    its writer's name. `on_charge` hears of every request: the port's method and its request units.
    Belongs to the event loop that uses it first.
    """

    def __init__(
        self,
        client: CosmosClient,
        database: str,
        *,
        credential: AsyncTokenCredential | None = None,
        on_charge: OnCharge = lambda operation, units: None,
    ) -> None:
        """Takes over `client` and `credential`: close() closes them."""
        self._client = client
        self._credential = credential
        self._database = database
        self._on_charge = on_charge
        self._container: ContainerProxy | None = None
        self._opening = asyncio.Lock()
        self._arrivals = Arrivals()

    async def get(self, partition: str, id: str) -> Document | None:
        stored = await self._read("get", partition, id)
        return document(stored) if stored else None

    async def commit(self, partition: str, *changes: Change, writer: str | None = None) -> list[Document]:
        bodies = [decoded(body) if body else {} for body in encoded(changes)]
        if any(not isinstance(change, Create) and change.if_version == "" for change in changes):
            raise Conflict("A document that was never stored has no version to be at.")
        writer = writer or secrets.token_hex(8)
        lost = 0
        while True:
            try:
                return await self._batch(partition, changes, bodies, writer)
            except Conflict:
                earlier = await self._earlier_answer(partition, changes, writer, lost=lost > 0)
                if earlier is None:
                    raise
                return list(earlier)
            except AnswerLost:
                lost += 1
                if lost == COMMIT_ATTEMPTS:
                    raise
                # The first is most often an idle connection that the gateway had closed.
                await asyncio.sleep(0.2 * (lost - 1))

    async def wait_for(self, partition: str, id: str, *, timeout: float) -> Document | None:
        """Polls with eventual consistency; what this process commits itself arrives at once.

        A passing fault is only told if it lasts to the end.
        """
        loop = asyncio.get_running_loop()
        deadline, pause = loop.time() + timeout, FIRST_POLL
        with self._arrivals.expect((partition, id)) as arrival:
            while True:
                fault = None
                try:
                    if stored := await self._read("wait_for", partition, id, initial_headers=EVENTUALLY):
                        return document(stored)
                except StoreUnavailable as unavailable:
                    fault = unavailable
                remaining = deadline - loop.time()
                if remaining > 0:
                    await asyncio.wait([arrival], timeout=min(pause, remaining))
                if arrival.done():
                    return arrival.result()
                if remaining <= 0:
                    if fault:
                        raise fault
                    return None
                pause = min(pause * 1.3, SLOWEST_POLL)

    async def unfinished(self, older_than: float, *, limit: int = 100) -> list[Unfinished]:
        query = (UNFINISHED, [{"name": "@older_than", "value": older_than}])
        rows = await self._query("unfinished", query, limit)
        return [Unfinished(stored["pk"], document(stored)) for stored in rows]

    async def check(self) -> None:
        try:
            await self._read("check", "health", "health")
        except HttpResponseError as error:
            refused = isinstance(error, ClientAuthenticationError) or error.status_code in (401, 403)
            reason = "refuses this identity or key" if refused else f"answers {error.status_code}"
            raise StoreUnavailable(f"Cosmos DB {reason}.") from error
        except RuntimeError as error:
            raise StoreUnavailable("Cosmos DB has no such database or container.") from error

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
        """Cosmos DB answers in pages of 4 MB at most; each is asked for when the one before it has been taken."""
        query = listing(partition, kind, after, before, descending, where)
        async for stored in self._found("list", query, limit, partition):
            yield document(stored)

    async def close(self) -> None:
        await self._client.close()
        if self._credential is not None:
            await self._credential.close()

    async def _opened(self) -> ContainerProxy:
        """Return the container. RuntimeError if the deployment has not made it."""
        if self._container is None:
            async with self._opening:
                if self._container is None:
                    self._container = await self._open()
        return self._container

    async def _open(self) -> ContainerProxy:
        container = self._client.get_database_client(self._database).get_container_client(CONTAINER)
        with store_errors():
            await self._client.__aenter__()
            try:
                # The SDK wants its properties anyway. Asked here, a missing container is not mistaken for a
                # missing document.
                await container.read()
            except CosmosResourceNotFoundError as error:
                raise RuntimeError(
                    f"Cosmos DB has no container '{CONTAINER}' in a database '{self._database}': deploy it first."
                ) from error
        return container

    async def _read(self, operation: str, partition: str, id: str, **options: Any) -> Item | None:
        container = await self._opened()
        with store_errors():
            try:
                return dict(await container.read_item(id, partition, response_hook=self._charged(operation), **options))
            except CosmosResourceNotFoundError as error:
                self._on_charge(operation, charge_of(error))
                return None

    async def _query(self, operation: str, query: Query, limit: int, partition: str | None = None) -> Sequence[Item]:
        return [stored async for stored in self._found(operation, query, limit, partition)]

    async def _found(
        self, operation: str, query: Query, limit: int, partition: str | None = None
    ) -> AsyncIterator[Item]:
        """Yield up to `limit` of what the query finds; asked in pages of that size, small ones cost one page."""
        if limit < 1:
            return
        container = await self._opened()
        text, parameters = query
        scope: dict[str, Any] = {} if partition is None else {"partition_key": partition}
        found = 0
        with store_errors():
            async for stored in container.query_items(
                text,
                parameters=parameters,
                max_item_count=min(limit, LARGEST_PAGE),
                response_hook=self._charged(operation),
                **scope,
            ):
                yield stored
                found += 1
                if found == limit:
                    return

    async def _batch(
        self, partition: str, changes: Sequence[Change], bodies: Sequence[dict[str, Any]], writer: str
    ) -> list[Document]:
        container = await self._opened()
        operations = [_operation(partition, change, body, writer) for change, body in zip(changes, bodies, strict=True)]
        with store_errors():
            try:
                # The SDK repeats even writes whose connection broke, unless told otherwise. We do that.
                results = await container.execute_item_batch(
                    operations, partition, response_hook=self._charged("commit"), retry_read=0, retry_connect=0
                )
            except AzureError as error:
                self._on_charge("commit", charge_of(error))
                raise
        written = []
        for change, body, result in zip(changes, bodies, results, strict=True):
            if not isinstance(change, Delete):
                written.append(replace(change.document, version=result["eTag"]))
                self._arrivals.announce((partition, change.document.id), replace(written[-1], body=body))
        return written

    async def _earlier_answer(
        self, partition: str, changes: Sequence[Change], writer: str, *, lost: bool
    ) -> Sequence[Document] | None:
        """Return what an earlier attempt of this commit answered, None if there was none.

        What a commit created still bears its writer's name unless somebody has replaced it since; one such
        document is proof. Where it created nothing, what it replaced has to do. A document replaced since is
        returned with version "", which nothing matches. Deletions leave no name: if an answer was `lost`
        and all are gone, they were ours or might as well have been.
        """
        stored = await asyncio.gather(*(self._read("commit", partition, changed_id(change)) for change in changes))
        written = [change.document for change in changes if not isinstance(change, Delete)]
        if not written:
            return [] if lost and not any(stored) else None
        created = [change.document for change in changes if isinstance(change, Create)]
        versions = {found["id"]: found["_etag"] for found in stored if found and found["writer"] == writer}
        if not any(proof.id in versions for proof in created or written):
            return None
        return [replace(made, version=versions.get(made.id, "")) for made in written]

    def _charged(self, operation: str) -> Callable[[Mapping[str, Any], Any], None]:
        def hear(headers: Mapping[str, Any], _: Any) -> None:
            self._on_charge(operation, float(headers.get("x-ms-request-charge", 0.0)))

        return hear

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
        query = listing(partition, kind, after, before, descending, where)
        return [document(stored) for stored in await self._query("list", query, limit, partition)]


def _operation(partition: str, change: Change, body: dict[str, Any], writer: str) -> tuple[Any, ...]:
    match change:
        case Create(made):
            return ("create", (item(partition, made, body, writer),))
        case Replace(made, if_version):
            return ("replace", (made.id, item(partition, made, body, writer)), {"if_match_etag": if_version})
        case Delete(id, if_version):
            return ("delete", (id,), {"if_match_etag": if_version})
