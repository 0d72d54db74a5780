"""What only the Cosmos DB store has to stand: throttling, lost answers, outages; and what it may cost."""

import asyncio
import random
import time
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest

from adapters.cosmos import COMMIT_ATTEMPTS, CosmosDocuments
from adapters.cosmos_client import cosmos_client, cosmos_documents
from errors import Conflict, StoreUnavailable
from ports.documents import Create, Delete, Document, Replace
from settings import Settings, SettingsError
from tests.cosmos_container import ensure_container, make_database
from tests.cosmos_double.faults import Kind
from tests.cosmos_double.process import running_double
from tests.cosmos_double.server import KEY, CosmosDouble

PARTITION = "default/thread_1"


@pytest.fixture
def charges() -> defaultdict[str, list[float]]:
    return defaultdict(list)


@pytest.fixture
async def documents(
    cosmos_double: CosmosDouble, charges: defaultdict[str, list[float]]
) -> AsyncIterator[CosmosDocuments]:
    client = cosmos_client(cosmos_double.endpoint, KEY)
    await ensure_container(client, "assistants")
    documents = CosmosDocuments(client, "assistants", on_charge=lambda method, units: charges[method].append(units))
    yield documents
    await documents.close()


def message(number: int, **body: object) -> Document:
    return Document(f"msg_{number}", "message", body, f"{number:012}", {"run_id": "run_1"})


async def test_a_commit_whose_answer_was_lost_is_done_once(documents: CosmosDocuments, cosmos_double: CosmosDouble):
    [thread] = await documents.commit(PARTITION, Create(message(0)))
    cosmos_double.faults.plan("cut_after", operation="batch")
    cosmos_double.requests.clear()
    written = await documents.commit(
        PARTITION, Replace(replace(thread, body={"next": 1}), thread.version), Create(message(1))
    )
    assert cosmos_double.requests["batch"] == 2
    assert await documents.list(PARTITION, "message", limit=10) == written


async def test_a_deletion_whose_answer_was_lost_is_answered(documents: CosmosDocuments, cosmos_double: CosmosDouble):
    await documents.commit(PARTITION, Create(message(0)))
    cosmos_double.faults.plan("cut_after", operation="batch")
    assert await documents.commit(PARTITION, Delete("msg_0")) == []
    with pytest.raises(Conflict):
        await documents.commit(PARTITION, Delete("msg_0"))


async def test_only_the_adapter_repeats_a_commit(documents: CosmosDocuments, cosmos_double: CosmosDouble):
    await documents.get(PARTITION, "msg_0")
    cosmos_double.faults.plan("cut_before", times=COMMIT_ATTEMPTS, operation="batch")
    with pytest.raises(StoreUnavailable):
        await documents.commit(PARTITION, Create(message(0)))
    assert cosmos_double.requests["batch"] == COMMIT_ATTEMPTS
    assert await documents.get(PARTITION, "msg_0") is None


async def test_a_lost_race_is_told_from_a_lost_answer(documents: CosmosDocuments, cosmos_double: CosmosDouble):
    [thread] = await documents.commit(PARTITION, Create(message(0)))
    await documents.commit(PARTITION, Replace(thread, thread.version))
    cosmos_double.faults.plan("cut_before", operation="batch")
    with pytest.raises(Conflict):
        await documents.commit(PARTITION, Replace(thread, thread.version), Create(message(1)))
    assert await documents.get(PARTITION, "msg_1") is None


@pytest.mark.parametrize("fault", ["throttle", "busy", "cut_before"])
async def test_a_passing_fault_is_not_noticed(documents, cosmos_double, fault):
    [stored] = await documents.commit(PARTITION, Create(message(0)))
    cosmos_double.faults.plan(fault, operation="read")
    cosmos_double.faults.plan(fault, operation="query")
    cosmos_double.faults.plan(fault, operation="batch")
    assert await documents.get(PARTITION, "msg_0") == stored
    assert await documents.list(PARTITION, "message", limit=10) == [stored]
    assert await documents.commit(PARTITION, Replace(stored, stored.version))


async def test_throttling_that_lasts_is_told_with_its_time(documents: CosmosDocuments, cosmos_double: CosmosDouble):
    await documents.get(PARTITION, "msg_0")
    cosmos_double.faults.plan("throttle", times=1000, retry_after_ms=50)
    attempts = [
        documents.get(PARTITION, "msg_0"),
        documents.list(PARTITION, "message", limit=10),
        documents.unfinished(1e9),
        documents.commit(PARTITION, Create(message(0))),
    ]
    for attempt in attempts:
        began = time.perf_counter()
        with pytest.raises(StoreUnavailable) as raised:
            await attempt
        assert raised.value.retry_after == 0.05
        assert time.perf_counter() - began < 2


async def test_a_store_that_is_away_is_told_soon_and_comes_back(
    documents: CosmosDocuments, cosmos_double: CosmosDouble
):
    [stored] = await documents.commit(PARTITION, Create(message(0)))
    cosmos_double.faults.down = True
    for attempt in (
        documents.get(PARTITION, "msg_0"),
        documents.list(PARTITION, "message", limit=10),
        documents.commit(PARTITION, Create(message(1))),
        documents.wait_for(PARTITION, "msg_1", timeout=0.1),
    ):
        began = time.perf_counter()
        with pytest.raises(StoreUnavailable):
            await attempt
        assert time.perf_counter() - began < 5
    cosmos_double.faults.down = False
    assert await documents.get(PARTITION, "msg_0") == stored
    assert await documents.commit(PARTITION, Create(message(1)))


async def test_a_store_away_at_the_start_is_opened_later(documents: CosmosDocuments, cosmos_double: CosmosDouble):
    cosmos_double.faults.down = True
    with pytest.raises(StoreUnavailable):
        await documents.get(PARTITION, "msg_0")
    cosmos_double.faults.down = False
    assert await documents.get(PARTITION, "msg_0") is None


async def test_a_tail_outlives_throttling(documents: CosmosDocuments, cosmos_double: CosmosDouble):
    await documents.get(PARTITION, "msg_0")
    cosmos_double.faults.plan("throttle", times=8, operation="read")
    other = CosmosDocuments(cosmos_client(cosmos_double.endpoint, KEY), "assistants")
    waiting = asyncio.create_task(documents.wait_for(PARTITION, "msg_1", timeout=10))
    await asyncio.sleep(0.1)
    [stored] = await other.commit(PARTITION, Create(message(1)))
    assert await waiting == stored
    await other.close()


async def test_a_tail_asks_at_most_every_60_ms_apart(documents: CosmosDocuments, cosmos_double: CosmosDouble):
    await documents.get(PARTITION, "msg_0")
    cosmos_double.requests.clear()
    assert await documents.wait_for(PARTITION, "msg_1", timeout=1.2) is None
    assert 15 <= cosmos_double.requests["read"] <= 40


async def test_a_page_is_one_request_and_costs_the_page(documents, cosmos_double, charges):
    for start in range(0, 900, 90):
        await documents.commit(PARTITION, *(Create(message(n)) for n in range(start, start + 90)))
    cosmos_double.requests.clear()
    options: list[dict[str, Any]] = [
        {"after": f"{number:012}", "descending": descending, "where": where}
        for number in (30, 800)
        for descending in (False, True)
        for where in (None, {"run_id": "run_1"})
    ]
    for option in options:
        assert len(await documents.list(PARTITION, "message", limit=20, **option)) == 20
    assert cosmos_double.requests["query"] == len(options)
    assert len(set(charges["list"])) == 1


async def test_every_operation_tells_its_charge(documents, charges, cosmos_double):
    [stored] = await documents.commit(PARTITION, Create(message(0)))
    await documents.get(PARTITION, "msg_0")
    await documents.get(PARTITION, "msg_1")
    await documents.list(PARTITION, "message", limit=10)
    await documents.wait_for(PARTITION, "msg_0", timeout=0)
    await documents.unfinished(1e9)
    with pytest.raises(Conflict):
        await documents.commit(PARTITION, Create(message(0)))
    assert charges.keys() == {"commit", "get", "list", "wait_for", "unfinished"}
    assert len(charges["get"]) == 2
    assert all(units > 0 for units in charges["commit"])
    assert stored


async def test_a_missing_container_is_not_a_missing_document(cosmos_double):
    documents = CosmosDocuments(cosmos_client(cosmos_double.endpoint, KEY), "nowhere")
    with pytest.raises(RuntimeError, match="deploy it first"):
        await documents.get(PARTITION, "msg_0")
    await documents.close()


async def test_what_the_adapter_does_not_use_is_refused_loudly(documents: CosmosDocuments, cosmos_double: CosmosDouble):
    await documents.get(PARTITION, "msg_0")
    container = documents._container
    assert container
    with pytest.raises(Exception, match="double does not do this"):
        await container.upsert_item({"id": "a", "pk": PARTITION})
    scan = container.query_items(
        "SELECT * FROM c WHERE c.body = @b ORDER BY c.place ASC",
        parameters=[{"name": "@b", "value": 1}],
        partition_key=PARTITION,
    )
    with pytest.raises(Exception, match="double does not do this"):
        await anext(scan)
    assert len(cosmos_double.refusals) == 2
    cosmos_double.refusals.clear()


def test_a_key_never_leaves_the_machine():
    with pytest.raises(ValueError, match="emulator"):
        cosmos_client("https://account.documents.azure.com:443/", KEY)
    with pytest.raises(SettingsError, match="COSMOS_KEY"):
        Settings.from_environment({"COSMOS_ENDPOINT": "https://account.documents.azure.com:443/", "COSMOS_KEY": KEY})
    assert Settings.from_environment({"COSMOS_ENDPOINT": "https://localhost:8081", "COSMOS_KEY": KEY}).cosmos_key


async def test_the_double_serves_other_processes_and_fails_on_demand():
    with running_double() as double:
        documents = cosmos_documents(Settings.from_environment(await make_database(double.endpoint, "assistants")))
        [stored] = await documents.commit(PARTITION, Create(message(0)))
        double.plan("cut_after", operation="batch")
        assert await documents.commit(PARTITION, Replace(stored, stored.version))
        double.take_away()
        with pytest.raises(StoreUnavailable):
            await documents.get(PARTITION, "msg_0")
        double.bring_back()
        assert await documents.get(PARTITION, "msg_0")
        await documents.close()


async def test_clients_that_race_through_faults_count_everything_once(cosmos_double: CosmosDouble):
    """Connections break before and after, requests are throttled: no increment is lost or done twice."""
    async with cosmos_client(cosmos_double.endpoint, KEY) as control:
        await ensure_container(control, "assistants")
    clients = [CosmosDocuments(cosmos_client(cosmos_double.endpoint, KEY), "assistants") for _ in range(3)]
    await clients[0].commit(PARTITION, Create(Document("counter", "thread", {"count": 0})))

    async def count(documents: CosmosDocuments, name: str) -> None:
        for number in range(12):
            entry = Document(f"{name}.{number}", "entry", {}, f"{name}.{number:02}")
            done = False
            while not done:
                with suppress(Conflict, StoreUnavailable):
                    if done := await documents.get(PARTITION, entry.id) is not None:
                        continue
                    counter = await documents.get(PARTITION, "counter")
                    assert counter
                    grown = replace(counter, body={"count": counter.body["count"] + 1})
                    await documents.commit(PARTITION, Replace(grown, counter.version), Create(entry))
                    done = True

    async def disturb() -> None:
        dice = random.Random(20)
        while True:
            kind: Kind = dice.choice(["cut_after", "cut_after", "cut_before", "throttle"])
            cosmos_double.faults.plan(kind, operation="batch" if dice.random() < 0.7 else "read")
            await asyncio.sleep(0.05)

    disturbing = asyncio.create_task(disturb())
    await asyncio.gather(*(count(client, f"c{n}") for n, client in enumerate(clients)))
    disturbing.cancel()
    assert sum(fault.times == 0 for fault in cosmos_double.faults.planned) > 5
    cosmos_double.faults.planned.clear()
    counter = await clients[0].get(PARTITION, "counter")
    assert counter
    assert counter.body == {"count": 36}
    assert len(await clients[0].list(PARTITION, "entry", limit=100)) == 36
    for client in clients:
        await client.close()
