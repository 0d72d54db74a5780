"""The task hub through the Durable Functions client.

One client per process and hub: a client made per call costs a channel and more than 2 ms.
"""

import asyncio
import logging
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from itertools import batched

import azure.durable_functions as df
import grpc
from durabletask.internal import orchestrator_service_pb2 as pb

from ports.task_hub import RunAddress

logger = logging.getLogger("durable_assistants.task_hub")

ORCHESTRATOR = "run_orchestrator"
ANSWERS_WITHIN = 5.0  # seconds
PAGE = 100
AT_ONCE = 20

_ENDED = [
    pb.ORCHESTRATION_STATUS_COMPLETED,
    pb.ORCHESTRATION_STATUS_FAILED,
    pb.ORCHESTRATION_STATUS_TERMINATED,
    pb.ORCHESTRATION_STATUS_CANCELED,
]
# An ended orchestration of this id makes room: its run was not over, or wake would not be called.
_REPLACE_ENDED = pb.OrchestrationIdReusePolicy(replaceableStatus=_ENDED)


class _Client(df.DurableFunctionsClient):
    """Asks for a page at a time: the client's own query collects every page."""

    async def page(self, query: pb.InstanceQuery) -> pb.QueryInstancesResponse:
        return await self._get_stub().QueryInstances(pb.QueryInstancesRequest(query=query))


class DurableTaskHub:
    def __init__(self, configuration: str) -> None:
        """`configuration` is the JSON text of a durableClient binding."""
        self._client = _Client(configuration)

    async def wake(self, run: RunAddress, event: str | None = None) -> bool:
        try:
            async with asyncio.timeout(ANSWERS_WITHIN):
                await self._schedule(run)
                if event:
                    await self._raise(run, event)
        except (grpc.aio.AioRpcError, TimeoutError) as error:
            logger.warning("run %s not woken: %s", run["run_id"], _reason(error))
            return False
        return True

    async def _schedule(self, run: RunAddress) -> None:
        try:
            await self._client.schedule_new_orchestration(
                ORCHESTRATOR, input=dict(run), instance_id=run["run_id"], reuse_id_policy=_REPLACE_ENDED
            )
        except grpc.aio.AioRpcError as error:
            if error.code() is not grpc.StatusCode.ALREADY_EXISTS:
                raise

    async def _raise(self, run: RunAddress, event: str) -> None:
        try:
            await self._client.raise_orchestration_event(run["run_id"], event)
        except grpc.aio.AioRpcError as error:
            # It ended meanwhile, after it had seen what the event is about.
            if error.code() is not grpc.StatusCode.NOT_FOUND:
                raise

    async def ready(self) -> bool:
        try:
            await self._client.get_orchestration_state("health", fetch_payloads=False)
        except grpc.aio.AioRpcError:
            return False
        return True

    async def purge(self, ended_before: float, *, limit: int) -> int:
        purged = 0
        try:
            # All are known before the first is deleted, since a page begins where the one before it ended.
            ended = [id async for id in self._ended(datetime.fromtimestamp(ended_before, UTC), limit)]
            for some in batched(ended, AT_ONCE, strict=False):
                results = await asyncio.gather(*map(self._client.purge_orchestration, some))
                purged += sum(result.deleted_instance_count for result in results)
        except grpc.aio.AioRpcError as error:
            logger.warning("ended orchestrations are not purged: %s", _reason(error))
        return purged

    async def _ended(self, before: datetime, limit: int) -> AsyncIterator[str]:
        query = pb.InstanceQuery(runtimeStatus=_ENDED, maxInstanceCount=PAGE)
        query.createdTimeTo.FromDatetime(before)
        found = 0
        while True:
            page = await self._client.page(query)
            for state in page.orchestrationState:
                if state.lastUpdatedTimestamp.ToDatetime(UTC) < before:
                    yield state.instanceId
                    found += 1
                if found == limit:
                    return
            if not page.continuationToken.value:
                return
            query.continuationToken.CopyFrom(page.continuationToken)


def _reason(error: grpc.aio.AioRpcError | TimeoutError) -> str:
    return error.code().name if isinstance(error, grpc.aio.AioRpcError) else "no answer"
