"""What only the SQLite store has to stand: several processes, their deaths, a full disk, its own future."""

import asyncio
import random
import signal
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import apsw
import pytest

from adapters.sqlite import SqliteDocuments
from adapters.sqlite_commits import CLEANUP_BATCH
from errors import Conflict, StoreUnavailable
from ports.documents import Create, Document

PARTITION = "default/thread_1"
PROCESS = Path(__file__).with_name("sqlite_process.py")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "data" / "store.db"


@pytest.fixture
async def documents(file: Path) -> AsyncIterator[SqliteDocuments]:
    documents = SqliteDocuments(file, busy_timeout=0.3)
    yield documents
    await documents.close()


async def start(file: Path, name: str, count: int) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable, str(PROCESS), str(file), name, str(count), stdout=asyncio.subprocess.PIPE
    )


def lock(file: Path) -> apsw.Connection:
    locker = apsw.Connection(str(file))
    locker.set_busy_timeout(5000)  # ms: a clean-up may be under way
    locker.execute("BEGIN IMMEDIATE")
    return locker


async def everything_adds_up(documents: SqliteDocuments) -> int:
    """Check that no commit was half done or done twice, and return their number."""
    counter = await documents.get(PARTITION, "counter")
    count = counter.body["count"] if counter else 0
    entries = await documents.list(PARTITION, "entry", limit=1_000_000)
    assert [e.id for e in entries] == [f"{half}.{n}" for n in range(count) for half in ("a", "b")]
    assert await documents.list(PARTITION, "entry", limit=1_000_000, where={"half": "b"}) == entries[1::2]
    return count


async def test_processes_that_start_at_once_and_write_at_once_lose_nothing(file: Path):
    processes = [await start(file, f"p{n}", 60) for n in range(4)]
    outputs = [await process.communicate() for process in processes]
    assert [process.returncode for process in processes] == [0] * 4
    answered = [int(line) for stdout, _ in outputs for line in stdout.split()]
    assert sorted(answered) == list(range(240))

    documents = SqliteDocuments(file)
    assert await everything_adds_up(documents) == 240
    await documents.close()


async def test_a_killed_process_leaves_whole_commits_and_every_answered_one(file: Path):
    answered: set[int] = set()
    for attempt in range(6):
        process = await start(file, f"p{attempt}", 1_000_000)
        assert process.stdout
        answered.add(int(await process.stdout.readline()))
        await asyncio.sleep(random.uniform(0, 0.1))
        process.send_signal(signal.SIGKILL)
        rest, _ = await process.communicate()
        lines = rest.split(b"\n")[:-1]  # the last one may be cut
        answered.update(int(line) for line in lines)

        documents = SqliteDocuments(file)
        assert await everything_adds_up(documents) > max(answered)
        await documents.close()


async def test_a_commit_of_another_process_wakes_who_waits_for_it(documents: SqliteDocuments, file: Path):
    waiting = asyncio.create_task(documents.wait_for(PARTITION, "b.2", timeout=20))
    process = await start(file, "other", 3)
    arrived = await waiting
    await process.communicate()
    assert arrived
    assert arrived.body == {"by": "other"}


async def test_a_locked_store_is_unavailable_and_recovers(documents: SqliteDocuments, file: Path):
    await documents.commit(PARTITION, Create(Document("msg_1", "message", {})))
    locker = lock(file)
    began = time.perf_counter()
    with pytest.raises(StoreUnavailable):
        await documents.commit(PARTITION, Create(Document("msg_2", "message", {})))
    assert 0.25 < time.perf_counter() - began < 2
    assert await documents.get(PARTITION, "msg_1"), "readers don't care"
    locker.execute("ROLLBACK")
    locker.close()
    assert await documents.commit(PARTITION, Create(Document("msg_2", "message", {})))


async def test_the_event_loop_runs_on_while_a_commit_waits_for_the_lock(documents: SqliteDocuments, file: Path):
    locker = lock(file)
    waiting = asyncio.create_task(documents.commit(PARTITION, Create(Document("msg_1", "message", {}))))
    longest, before = 0.0, time.perf_counter()
    for _ in range(20):
        await asyncio.sleep(0.005)
        longest, before = max(longest, time.perf_counter() - before), time.perf_counter()
    locker.execute("ROLLBACK")
    locker.close()
    assert await waiting
    assert longest < 0.1


async def test_a_full_disk_is_unavailable_and_spares_what_is_stored(documents: SqliteDocuments):
    await documents.commit(PARTITION, Create(Document("msg_1", "message", {})))
    documents._commits._connection.pragma("max_page_count", 40)  # there is no other way to fill only our disk
    big = [Create(Document(f"big_{n}", "message", {"text": "x" * 100_000})) for n in range(8)]
    with pytest.raises(StoreUnavailable):
        await documents.commit(PARTITION, *big)
    assert [d.id for d in await documents.list(PARTITION, "message", limit=10)] == ["msg_1"]
    documents._commits._connection.pragma("max_page_count", 1_000_000)
    assert len(await documents.commit(PARTITION, *big)) == 8


async def test_a_broken_connection_is_told_and_nobody_waits_for_ever(documents: SqliteDocuments):
    documents._commits._connection.close()
    async with asyncio.timeout(5):
        with pytest.raises(apsw.ConnectionClosedError):
            await documents.commit(PARTITION, Create(Document("msg_1", "message", {})))


async def test_a_conflict_spares_the_commits_of_the_same_moment(documents: SqliteDocuments):
    await documents.commit(PARTITION, Create(Document("taken", "message", {})))
    results = await asyncio.gather(
        *(
            documents.commit(
                PARTITION,
                Create(Document(f"msg_{n}", "message", {})),
                Create(Document(f"{n % 2}" if n % 3 else "taken", "x", {})),
            )
            for n in range(30)
        ),
        return_exceptions=True,
    )
    assert [n for n, result in enumerate(results) if not isinstance(result, Conflict)] == [1, 2]
    assert {d.id for d in await documents.list(PARTITION, "message", limit=99)} == {"taken", "msg_1", "msg_2"}


async def test_a_taken_id_is_taken_in_every_partition(documents: SqliteDocuments):
    await documents.commit(PARTITION, Create(Document("msg_1", "message", {})))
    with pytest.raises(Conflict):
        await documents.commit("default/thread_2", Create(Document("msg_1", "message", {})))


async def test_what_has_expired_is_removed_in_time_with_its_terms(documents: SqliteDocuments):
    for start in range(0, CLEANUP_BATCH, 50):
        batch = [Document(f"b{n}", "batch", {}, f"{n}", {"run_id": "r"}, ttl=1) for n in range(start, start + 50)]
        await documents.commit(PARTITION, *map(Create, batch))
    documents._commits._connection.execute("UPDATE documents SET expires_at = 1")
    documents._commits._next_cleanup = 0.0  # a minute is long
    await documents.commit(PARTITION, Create(Document("msg_1", "message", {})))
    connection = documents._reader

    def rows(table: str) -> int:
        return len(connection.execute(f"SELECT id FROM {table}").fetchall())

    async with asyncio.timeout(5):
        while rows("documents") > 1:
            await asyncio.sleep(0.01)
    assert (rows("documents"), rows("terms")) == (1, 0)


@pytest.mark.parametrize("where", [None, {"run_id": "r"}], ids=["all", "by a term"])
@pytest.mark.parametrize("descending", [False, True])
async def test_a_page_costs_the_same_among_10_000(documents: SqliteDocuments, where, descending):
    async def steps_for_a_page(partition: str, after: int) -> int:
        counted = 0

        def count() -> bool:
            nonlocal counted
            counted += 1
            return False

        documents._reader.set_progress_handler(count, 1)
        page = await documents.list(
            partition, "message", limit=20, after=f"{after:012}", descending=descending, where=where
        )
        documents._reader.set_progress_handler(None)
        assert len(page) == 20
        return counted

    for partition, size in (("default/small", 100), ("default/large", 10_000)):
        connection = documents._commits._connection
        connection.execute(
            """WITH RECURSIVE numbers (value) AS (VALUES (1) UNION ALL SELECT value + 1 FROM numbers LIMIT ?2)
               INSERT INTO documents SELECT ?1 || value, ?1, 'message', printf('%012d', value), '{}', '{"run_id":"r"}',
               NULL, NULL, NULL, 'v', 'w' FROM numbers""",
            (partition, size),
        )
    small = await steps_for_a_page("default/small", 50)
    large = await steps_for_a_page("default/large", 5_000)
    assert large <= small * 1.1
