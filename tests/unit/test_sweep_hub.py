"""The sweep of a task hub that keeps what has ended: the local one, its own purging off, through the real client."""

import asyncio
import json
import logging
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from durabletask.internal import orchestrator_service_pb2 as pb
from durabletask.testing.in_memory_backend import OrchestrationInstance

import wiring
from adapters.durable_task_hub import DurableTaskHub
from devhost.task_hub import LocalTaskHub
from timers import sweep_hub

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="listens on a Unix socket")

HOUR = timedelta(hours=1)
ENDED = (pb.ORCHESTRATION_STATUS_COMPLETED, pb.ORCHESTRATION_STATUS_FAILED, pb.ORCHESTRATION_STATUS_TERMINATED)


class KeepingHub(LocalTaskHub):
    def _forget(self, instance: OrchestrationInstance) -> None:
        pass

    def put(self, id: str, status: pb.OrchestrationStatus, *, created: timedelta, updated: timedelta) -> None:
        """Add an instance, as old as that."""
        now = datetime.now(UTC)
        self._create_instance_internal(id, "run_orchestrator")
        instance = self._instances[id]
        instance.status = status
        instance.created_at, instance.last_updated_at = now - created, now - updated

    def ids(self) -> set[str]:
        return set(self._instances)


@pytest.fixture
def folder() -> Iterator[Path]:
    # Not tmp_path: a socket's path may have only about 100 characters.
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


@pytest.fixture
def kept(folder: Path) -> Iterator[KeepingHub]:
    hub = KeepingHub(lambda: None)
    yield hub
    hub.stop()


def client_of(hub: KeepingHub, folder: Path) -> DurableTaskHub:
    return DurableTaskHub(json.dumps({"taskHubName": "local", "rpcBaseUrl": hub.serve(folder)}))


async def test_what_ended_a_day_ago_goes_and_nothing_else(kept: KeepingHub, folder: Path) -> None:
    for status in ENDED:
        kept.put(f"long ended {status}", status, created=30 * HOUR, updated=25 * HOUR)
        kept.put(f"ended of late {status}", status, created=30 * HOUR, updated=23 * HOUR)
    for status in (pb.ORCHESTRATION_STATUS_PENDING, pb.ORCHESTRATION_STATUS_RUNNING, pb.ORCHESTRATION_STATUS_SUSPENDED):
        kept.put(f"not ended {status}", status, created=90 * HOUR, updated=90 * HOUR)
    before = kept.ids()
    await sweep_hub.sweep(client_of(kept, folder), now=time.time())
    assert before - kept.ids() == {f"long ended {status}" for status in ENDED}


async def test_thousands_go_in_batches_past_those_that_stay(
    kept: KeepingHub, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for number in range(2_300):
        kept.put(f"ended {number}", ENDED[number % 3], created=(3000 - number) * HOUR, updated=25 * HOUR)
        if number % 10 == 0:
            kept.put(f"stays {number}", ENDED[0], created=(3000 - number) * HOUR, updated=HOUR)
    with caplog.at_level(logging.INFO, "durable_assistants.sweeper"):
        await sweep_hub.sweep(client_of(kept, folder), now=time.time())
    assert {id.split()[0] for id in kept.ids()} == {"stays"}
    assert [record.getMessage().split()[0] for record in caplog.records] == ["1000", "1000", "300"]


async def test_a_hub_that_is_away_is_a_line_in_the_log(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    hub = DurableTaskHub(json.dumps({"taskHubName": "local", "rpcBaseUrl": f"unix:{folder / 'nobody'}"}))
    async with asyncio.timeout(30):
        await sweep_hub.sweep(hub, now=time.time())
    assert "ended orchestrations are not purged: UNAVAILABLE" in caplog.text


@pytest.mark.parametrize(("provider", "left"), [("AzureStorage", 0), ("mssql", 0), ("azureManaged", 1)])
async def test_it_is_for_hubs_that_do_not_purge_themselves(
    kept: KeepingHub, folder: Path, monkeypatch: pytest.MonkeyPatch, provider: str, left: int
) -> None:
    monkeypatch.setenv("AzureFunctionsJobHost__extensions__durableTask__storageProvider__type", provider)
    wiring.host.cache_clear()
    kept.put("ended", pb.ORCHESTRATION_STATUS_COMPLETED, created=30 * HOUR, updated=25 * HOUR)
    binding = json.dumps({"taskHubName": provider, "rpcBaseUrl": kept.serve(folder)})
    await sweep_hub.sweep_hub(None, binding)
    wiring.host.cache_clear()
    assert len(kept.ids()) == left
