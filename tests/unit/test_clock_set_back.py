"""A clock that is set back, while a process runs or before it began, holds up nothing for ever."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from adapters.sqlite import SqliteDocuments
from devhost import ticks, timer_heap
from devhost.timer_heap import TimerHeap
from domain.runs import waiting_for_outputs
from events.lifetimes import Lifetimes
from events.run_record import new_run_document, run_of
from ports.documents import Create, Document
from ports.task_hub import RunAddress
from tests.unit.resources import a_run
from timers.sweep_runs import Memory, sweep

HOUR = 3_600.0
NOW = 1_700_000_000.0  # when a_run is created; it lives for 600 s


class Hub:
    def __init__(self) -> None:
        self.woken: list[str] = []

    async def wake(self, run: RunAddress, event: str | None = None) -> bool:
        self.woken.append(run["run_id"])
        return True

    async def ready(self) -> bool:
        return True


@pytest.fixture
async def documents(tmp_path: Path) -> AsyncIterator[SqliteDocuments]:
    documents = SqliteDocuments(tmp_path / "assistants.db")
    yield documents
    await documents.close()


async def store(documents: SqliteDocuments, document: Document) -> None:
    thread = Document("thread_1", "thread", {"resource": {"id": "thread_1"}, "active_run_id": "run_1", "next_seq": 2})
    await documents.commit("default/thread_1", Create(thread), Create(document))


def test_a_run_ends_when_its_time_is_over_by_a_clock_that_is_never_set():
    run, lifetimes = a_run(), Lifetimes()
    assert not lifetimes.is_over(run, NOW + 100, elapsed=5.0)
    assert not lifetimes.is_over(run, NOW + 100 - HOUR, elapsed=504.0)
    assert lifetimes.is_over(run, NOW + 101 - HOUR, elapsed=505.0)
    assert not lifetimes.is_over(run, NOW + 101 - HOUR, elapsed=505.0, grace=60.0)


def test_a_run_that_is_yet_to_be_created_has_its_lifetime_from_when_it_is_first_seen():
    run, lifetimes = a_run(), Lifetimes()
    assert not lifetimes.is_over(run, NOW - 24 * HOUR, elapsed=5.0)
    assert not lifetimes.is_over(run, NOW - 24 * HOUR + 599, elapsed=604.0)
    assert lifetimes.is_over(run, NOW - 24 * HOUR + 600, elapsed=605.0)


def test_a_run_whose_time_is_over_by_the_clock_is_over():
    assert Lifetimes().is_over(a_run(), NOW + 600, elapsed=0.0)
    assert not Lifetimes().is_over(a_run() | {"expires_at": None}, NOW + HOUR, elapsed=0.0)


async def test_the_first_sweep_wakes_what_was_changed_in_a_time_to_come(documents: SqliteDocuments):
    await store(documents, new_run_document(a_run(), "1", lifetime=600, now=NOW))
    hub, memory = Hub(), Memory()
    await sweep(documents, hub, now=NOW - HOUR, memory=memory)
    await sweep(documents, hub, now=NOW - HOUR + 5, memory=memory)
    assert hub.woken == ["run_1", "run_1"]


async def test_sweeps_go_on_when_the_clock_is_set_back_meanwhile(documents: SqliteDocuments):
    hub, memory = Hub(), Memory()
    await sweep(documents, hub, now=NOW + 10, memory=memory)
    await store(documents, new_run_document(a_run(), "1", lifetime=600, now=NOW))
    await sweep(documents, hub, now=NOW - HOUR, memory=memory)
    assert hub.woken == ["run_1"]


async def test_a_waiting_run_is_left_alone_by_the_first_sweep(documents: SqliteDocuments):
    run = waiting_for_outputs(a_run(), [])
    document = new_run_document(run, "1", lifetime=600, now=NOW)
    await store(documents, replace(document, unfinished_since=float(run["expires_at"])))
    hub = Hub()
    await sweep(documents, hub, now=NOW + 10, memory=Memory())
    assert hub.woken == []
    stored = await documents.get("default/thread_1", "run_1")
    assert stored
    assert run_of(stored)["status"] == "requires_action"


def test_a_durable_timer_fires_after_its_time_also_when_the_clock_is_set_back(monkeypatch: pytest.MonkeyPatch):
    elapsed = [100.0]
    monkeypatch.setattr(timer_heap.time, "monotonic", lambda: elapsed[0])
    heap, now = TimerHeap(), datetime.now(UTC)
    heap.add(now + timedelta(seconds=30), "a", 1, 1)
    heap.add(now + timedelta(hours=2), "b", 1, 1)
    an_hour_ago = now - timedelta(hours=1)
    assert list(heap.pop_due(an_hour_ago)) == []
    elapsed[0] += 31
    assert [timer.instance_id for timer in heap.pop_due(an_hour_ago)] == ["a"]
    assert len(heap) == 1
    assert [timer.instance_id for timer in heap.pop_due(now + timedelta(hours=3))] == ["b"]
    assert (len(heap), heap.next_due) == (0, None)


async def test_a_timer_function_ticks_after_its_time_also_when_the_clock_is_set_back(monkeypatch: pytest.MonkeyPatch):
    due = datetime.now(UTC) + timedelta(seconds=0.2)
    waiting = asyncio.create_task(ticks._wait_until(due))
    await asyncio.sleep(0.05)

    class SetBack(datetime):
        @classmethod
        def now(cls, tz=None):
            return datetime.now(tz) - timedelta(days=1)

    monkeypatch.setattr(ticks, "datetime", SetBack)
    await asyncio.wait_for(waiting, 5)
