"""What every document store does, whatever it is made of."""

import asyncio
import time
from dataclasses import replace
from typing import Any

import pytest

from errors import Conflict
from ports.documents import MAX_CHANGES, MAX_COMMIT_BYTES, Create, Delete, Document, Documents, Replace

PARTITION = "default/thread_1"
OTHER = "default/thread_2"


def message(number: int, **members: Any) -> Document:
    fields = {"id": f"msg_{number}", "kind": "message", "body": {"number": number}, "sort": f"{number:012}"}
    return Document(**{**fields, **members})


async def create(documents: Documents, *made: Document, partition: str = PARTITION) -> list[Document]:
    return await documents.commit(partition, *[Create(document) for document in made])


async def ids(documents: Documents, kind: str = "message", **options: Any) -> list[str]:
    options = {"limit": 100, **options}
    return [d.id for d in await documents.list(options.pop("partition", PARTITION), kind, **options)]


class TestGet:
    async def test_a_created_document_is_read_as_it_was_written(self, documents: Documents):
        written = Document(
            id="run_1",
            kind="run",
            body={"resource": {"id": "run_1", "z": None, "a": [1, 2.5, True, "ü\u2028\U0001f600", {}]}, "big": 2**53},
            sort="000000000007",
            terms={"metadata.a b/c": "ä", "run_id": ""},
            unfinished_since=1_700_000_000.25,
            ttl=3600,
        )
        [stored] = await create(documents, written)
        assert stored.version
        assert stored == replace(written, version=stored.version)
        read = await documents.get(PARTITION, "run_1")
        assert read
        assert read == stored
        assert list(read.body["resource"]) == ["id", "z", "a"]

    async def test_an_id_nobody_created_is_none(self, documents: Documents):
        assert await documents.get(PARTITION, "msg_1") is None

    async def test_one_partition_never_reads_anothers_document(self, documents: Documents):
        await create(documents, message(1))
        assert await documents.get(OTHER, "msg_1") is None
        assert await documents.get("default", "msg_1") is None
        assert await documents.get(PARTITION + "0", "msg_1") is None

    async def test_an_expired_document_is_none(self, documents: Documents):
        await create(documents, message(1, ttl=1), message(2, ttl=60))
        await asyncio.sleep(2.1)  # a store may count in whole seconds
        assert await documents.get(PARTITION, "msg_1") is None
        assert await ids(documents) == ["msg_2"]


class TestCommit:
    async def test_all_changes_are_applied_and_answered_in_order(self, documents: Documents):
        [first, second] = await create(documents, message(1), message(2))
        written = await documents.commit(
            PARTITION,
            Replace(replace(first, body={"new": True}), first.version),
            Delete("msg_2", second.version),
            Create(message(3)),
        )
        assert [d.id for d in written] == ["msg_1", "msg_3"]
        assert written[0].version not in ("", first.version)
        assert await documents.list(PARTITION, "message", limit=10) == written
        assert await documents.get(PARTITION, "msg_2") is None

    @pytest.mark.parametrize(
        "failing",
        [
            Create(message(1)),
            Replace(message(1), "no such version"),
            Replace(message(1), ""),
            Replace(message(7), "no such version"),
            Delete("msg_1", "no such version"),
            Delete("msg_7"),
        ],
        ids=["taken id", "old version", "empty version", "nothing to replace", "old version to delete", "no such id"],
    )
    async def test_one_failing_change_leaves_nothing_of_the_others(self, documents: Documents, failing):
        [first, second] = await create(documents, message(1), message(2))
        changes = [Create(message(3)), Replace(replace(second, body={}), second.version), failing, Create(message(4))]
        with pytest.raises(Conflict):
            await documents.commit(PARTITION, *changes)
        assert await documents.list(PARTITION, "message", limit=10) == [first, second]

    async def test_a_version_is_good_for_one_replace(self, documents: Documents):
        [first] = await create(documents, message(1))
        [second] = await documents.commit(PARTITION, Replace(replace(first, body={"by": "me"}), first.version))
        with pytest.raises(Conflict):
            await documents.commit(PARTITION, Replace(replace(first, body={"by": "you"}), first.version))
        assert await documents.get(PARTITION, "msg_1") == second

    async def test_another_client_sees_a_commit_at_once(self, documents: Documents, other_client: Documents):
        for number in range(10):
            [stored] = await create(documents, message(number))
            assert await other_client.get(PARTITION, stored.id) == stored
            assert (await ids(other_client, descending=True, limit=1)) == [stored.id]

    async def test_a_version_does_not_outlive_its_document(self, documents: Documents):
        [first] = await create(documents, message(1))
        await documents.commit(PARTITION, Delete("msg_1"))
        await create(documents, message(1))
        with pytest.raises(Conflict):
            await documents.commit(PARTITION, Replace(first, first.version))

    async def test_a_replace_rewrites_everything(self, documents: Documents):
        [old] = await create(documents, message(1, terms={"run_id": "run_1"}, unfinished_since=5.0, ttl=3600))
        new = message(1, sort="000000000009", terms={"run_id": "run_2"}, body={})
        [stored] = await documents.commit(PARTITION, Replace(new, old.version))
        assert await documents.get(PARTITION, "msg_1") == replace(new, version=stored.version)
        assert await ids(documents, where={"run_id": "run_1"}) == []
        assert await ids(documents, where={"run_id": "run_2"}, after="000000000008") == ["msg_1"]
        assert await documents.unfinished(1e12) == []

    async def test_a_replace_starts_the_ttl_again(self, documents: Documents):
        [first] = await create(documents, message(1, ttl=3))
        await asyncio.sleep(1.6)
        await documents.commit(PARTITION, Replace(first, first.version))
        await asyncio.sleep(1.6)
        assert await documents.get(PARTITION, "msg_1")

    async def test_a_create_may_take_the_id_of_an_expired_document(self, documents: Documents):
        await create(documents, message(1, ttl=1, terms={"run_id": "run_1"}))
        await asyncio.sleep(2.1)
        [stored] = await create(documents, message(1, body={"new": True}))
        assert await documents.get(PARTITION, "msg_1") == stored
        assert await ids(documents, where={"run_id": "run_1"}) == []

    async def test_an_expired_document_is_neither_replaced_nor_deleted(self, documents: Documents):
        [first, second] = await create(documents, message(1, ttl=1), message(2, ttl=1))
        await asyncio.sleep(2.1)
        with pytest.raises(Conflict):
            await documents.commit(PARTITION, Replace(first, first.version))
        with pytest.raises(Conflict):
            await documents.commit(PARTITION, Delete(second.id))

    async def test_a_delete_without_version_takes_any(self, documents: Documents):
        await create(documents, message(1, terms={"run_id": "run_1"}))
        assert await documents.commit(PARTITION, Delete("msg_1")) == []
        assert await ids(documents, where={"run_id": "run_1"}) == []
        with pytest.raises(Conflict):
            await documents.commit(PARTITION, Delete("msg_1"))

    async def test_another_partitions_document_is_not_there_to_change(self, documents: Documents):
        [stored] = await create(documents, message(1))
        with pytest.raises(Conflict):
            await documents.commit(OTHER, Replace(stored, stored.version))
        with pytest.raises(Conflict):
            await documents.commit(OTHER, Delete("msg_1", stored.version))
        assert await documents.get(PARTITION, "msg_1") == stored

    async def test_one_of_many_racing_replaces_wins(self, documents: Documents):
        [stored] = await create(documents, message(1))
        racers = [replace(stored, body={"racer": n}) for n in range(12)]
        results = await asyncio.gather(
            *(
                documents.commit(PARTITION, Replace(racer, stored.version), Create(message(100 + racer.body["racer"])))
                for racer in racers
            ),
            return_exceptions=True,
        )
        assert sum(isinstance(r, Conflict) for r in results) == 11
        [[winner, created]] = [r for r in results if isinstance(r, list)]
        assert await documents.list(PARTITION, "message", limit=100) == [winner, created]
        assert created.id == f"msg_{100 + winner.body['racer']}"

    async def test_one_of_many_racing_creates_wins(self, documents: Documents):
        results = await asyncio.gather(
            *(create(documents, message(1, body={"racer": n})) for n in range(12)), return_exceptions=True
        )
        assert sum(isinstance(r, Conflict) for r in results) == 11
        [winner] = [r for r in results if isinstance(r, list)]
        assert [await documents.get(PARTITION, "msg_1")] == winner


class TestLimits:
    async def test_a_commit_takes_so_many_changes_and_no_more(self, documents: Documents):
        made = [message(n) for n in range(MAX_CHANGES + 1)]
        with pytest.raises(ValueError):
            await create(documents, *made)
        assert await ids(documents) == []
        assert len(await create(documents, *made[:-1])) == MAX_CHANGES

    @pytest.mark.parametrize("letter", ["a", "ж", '"'], ids=["ascii", "cyrillic", "escaped"])
    async def test_a_commit_takes_so_many_bytes_and_no_more(self, documents: Documents, letter: str):
        size = len(letter.encode()) + (letter == '"')
        text = letter * ((MAX_COMMIT_BYTES - 100) // 2 // size)
        [first, second] = await create(documents, message(1, body={"t": text}), message(2, body={"t": text}))
        assert await documents.get(PARTITION, "msg_1") == first
        assert await documents.get(PARTITION, "msg_2") == second
        with pytest.raises(ValueError):
            await create(documents, message(3, body={"t": text}), message(4, body={"t": text + letter * 200}))
        assert await ids(documents) == ["msg_1", "msg_2"]

    @pytest.mark.parametrize("id", ["", "a/b", "a\\b", "a?b", "a#b", "a b", "ä", "x" * 256])
    async def test_an_id_that_not_every_store_takes_is_refused(self, documents: Documents, id: str):
        with pytest.raises(ValueError):
            await create(documents, message(1, id=id))

    async def test_a_document_lives_for_at_least_a_second(self, documents: Documents):
        with pytest.raises(ValueError):
            await create(documents, message(1, ttl=0))

    async def test_a_commit_changes_something_and_each_document_once(self, documents: Documents):
        with pytest.raises(ValueError):
            await documents.commit(PARTITION)
        with pytest.raises(ValueError):
            await documents.commit(PARTITION, Create(message(1)), Delete("msg_1"))
        assert await documents.get(PARTITION, "msg_1") is None


class TestLostAnswers:
    async def test_a_commit_repeated_under_its_writer_answers_as_the_first_did(self, documents: Documents):
        [thread] = await create(documents, message(0))
        changes = [Replace(replace(thread, body={"next": 2}), thread.version), Create(message(1)), Create(message(2))]
        first = await documents.commit(PARTITION, *changes, writer="w1")
        again = await documents.commit(PARTITION, *changes, writer="w1")
        assert again == first
        assert await documents.list(PARTITION, "message", limit=10) == first

    async def test_it_answers_so_although_another_has_replaced_some_of_it(self, documents: Documents):
        [thread] = await create(documents, message(0))
        changes = [Replace(replace(thread, body={"by": 1}), thread.version), Create(message(1))]
        [mine, created] = await documents.commit(PARTITION, *changes, writer="w1")
        [theirs] = await documents.commit(PARTITION, Replace(replace(mine, body={"by": 2}), mine.version))
        [lost, again] = await documents.commit(PARTITION, *changes, writer="w1")
        assert again == created
        assert lost.body == {"by": 1}
        with pytest.raises(Conflict):
            await documents.commit(PARTITION, Replace(lost, lost.version))
        assert await documents.get(PARTITION, "msg_0") == theirs

    async def test_a_repeated_replace_answers_as_the_first_did(self, documents: Documents):
        [stored] = await create(documents, message(0))
        change = Replace(replace(stored, body={"by": 1}), stored.version)
        assert await documents.commit(PARTITION, change, writer="w1") == await documents.commit(
            PARTITION, change, writer="w1"
        )

    async def test_the_same_changes_of_another_writer_are_a_conflict(self, documents: Documents):
        await documents.commit(PARTITION, Create(message(1)), writer="w1")
        for writer in ("w2", None):
            with pytest.raises(Conflict):
                await documents.commit(PARTITION, Create(message(1)), writer=writer)

    async def test_a_writers_replace_is_no_proof_of_its_next_create(self, documents: Documents):
        [thread] = await create(documents, message(0))
        await create(documents, message(1))
        [mine] = await documents.commit(PARTITION, Replace(thread, thread.version), writer="w1")
        with pytest.raises(Conflict):
            await documents.commit(PARTITION, Replace(mine, mine.version), Create(message(1)), writer="w1")


class TestList:
    async def test_documents_come_in_the_order_of_sort(self, documents: Documents):
        for number in (3, 1, 10, 2):
            await create(documents, message(number))
        assert await ids(documents) == ["msg_1", "msg_2", "msg_3", "msg_10"]
        assert await ids(documents, descending=True) == ["msg_10", "msg_3", "msg_2", "msg_1"]

    async def test_after_and_before_are_exclusive_in_the_order_of_travel(self, documents: Documents):
        await create(documents, *(message(n) for n in range(1, 7)))
        at = {n: f"{n:012}" for n in range(1, 7)}
        assert await ids(documents, after=at[2]) == ["msg_3", "msg_4", "msg_5", "msg_6"]
        assert await ids(documents, before=at[3]) == ["msg_1", "msg_2"]
        assert await ids(documents, after=at[2], before=at[5]) == ["msg_3", "msg_4"]
        assert await ids(documents, after=at[5], descending=True) == ["msg_4", "msg_3", "msg_2", "msg_1"]
        assert await ids(documents, before=at[5], descending=True) == ["msg_6"]
        assert await ids(documents, after=at[5], before=at[2], descending=True) == ["msg_4", "msg_3"]
        assert await ids(documents, after=at[6]) == []
        assert await ids(documents, after="") == [f"msg_{n}" for n in range(1, 7)]

    async def test_limit_takes_the_first_of_them(self, documents: Documents):
        await create(documents, *(message(n) for n in range(1, 7)))
        assert await ids(documents, limit=2) == ["msg_1", "msg_2"]
        assert await ids(documents, limit=2, descending=True) == ["msg_6", "msg_5"]
        assert await ids(documents, limit=2, before=f"{4:012}") == ["msg_1", "msg_2"]

    async def test_only_the_kind_and_the_partition_asked_for(self, documents: Documents):
        await create(documents, message(1), message(2, kind="run"))
        await create(documents, message(3), partition=OTHER)
        assert await ids(documents) == ["msg_1"]
        assert await ids(documents, "run") == ["msg_2"]
        assert await ids(documents, partition=OTHER) == ["msg_3"]
        assert await ids(documents, "step") == []

    async def test_where_keeps_documents_whose_terms_equal_all_of_it(self, documents: Documents):
        await create(
            documents,
            message(1, terms={"run_id": "run_1", "metadata.a": "x"}),
            message(2, terms={"run_id": "run_2", "metadata.a": "x"}),
            message(3, terms={"run_id": "run_1", "metadata.a": "y"}),
            message(4, terms={"metadata.a": "x", 'metadata.it\'s "q".[0]\\ü': "%_'"}),
            message(5),
            message(6, kind="step", terms={"run_id": "run_1"}),
        )
        await create(documents, message(7, terms={"run_id": "run_1"}), partition=OTHER)
        assert await ids(documents, where={"run_id": "run_1"}) == ["msg_1", "msg_3"]
        assert await ids(documents, where={"run_id": "run_1"}, descending=True, limit=1) == ["msg_3"]
        assert await ids(documents, where={"metadata.a": "x"}, after=f"{1:012}") == ["msg_2", "msg_4"]
        assert await ids(documents, where={"metadata.a": "x", "run_id": "run_1"}) == ["msg_1"]
        assert await ids(documents, where={"run_id": "run_1", "metadata.a": "z"}) == []
        assert await ids(documents, where={"run": "run_1"}) == []
        assert await ids(documents, where={'metadata.it\'s "q".[0]\\ü': "%_'"}) == ["msg_4"]
        assert len(await ids(documents, where={})) == 5

    async def test_more_than_one_page_of_the_store_itself(self, documents: Documents):
        for start in range(0, 240, 80):
            await create(documents, *(message(n, body={"text": "x" * 3000}) for n in range(start, start + 80)))
        assert await ids(documents, limit=1000) == [f"msg_{n}" for n in range(240)]
        assert len(await ids(documents, limit=230, descending=True)) == 230


class TestUnfinished:
    async def test_oldest_first_of_all_partitions(self, documents: Documents):
        await create(documents, message(1, unfinished_since=30.0), message(2), message(3, unfinished_since=10.5))
        await create(documents, message(4, unfinished_since=20.0), partition=OTHER)
        found = await documents.unfinished(30.0)
        assert [(run.partition, run.document.id) for run in found] == [(PARTITION, "msg_3"), (OTHER, "msg_4")]
        assert found[1].document == await documents.get(OTHER, "msg_4")
        assert [run.document.id for run in await documents.unfinished(31.0, limit=2)] == ["msg_3", "msg_4"]

    async def test_a_finished_or_deleted_run_is_not_among_them(self, documents: Documents):
        [first, second] = await create(documents, message(1, unfinished_since=1.0), message(2, unfinished_since=2.0))
        done = replace(first, unfinished_since=None)
        await documents.commit(PARTITION, Replace(done, first.version), Delete(second.id))
        assert await documents.unfinished(1e12) == []


class TestWaitFor:
    async def test_what_exists_is_returned_at_once(self, documents: Documents):
        [stored] = await create(documents, message(1))
        assert await documents.wait_for(PARTITION, "msg_1", timeout=0) == stored
        assert await documents.wait_for(PARTITION, "msg_1", timeout=5) == stored

    async def test_what_appears_is_returned_soon(self, documents: Documents):
        waiting = [asyncio.create_task(documents.wait_for(PARTITION, "msg_1", timeout=10)) for _ in range(3)]
        other = asyncio.create_task(documents.wait_for(PARTITION, "msg_2", timeout=10))
        await asyncio.sleep(0.05)
        [stored] = await create(documents, message(1))
        committed = time.perf_counter()
        assert await asyncio.gather(*waiting) == [stored] * 3
        assert time.perf_counter() - committed < 1
        assert not other.done()
        other.cancel()

    async def test_what_another_client_commits_is_returned_soon(self, documents: Documents, other_client: Documents):
        waiting = asyncio.create_task(documents.wait_for(PARTITION, "msg_1", timeout=10))
        await asyncio.sleep(0.05)
        [stored] = await create(other_client, message(1))
        committed = time.perf_counter()
        assert await waiting == stored
        assert time.perf_counter() - committed < 1

    async def test_nothing_in_time_is_none(self, documents: Documents):
        began = time.perf_counter()
        assert await documents.wait_for(PARTITION, "msg_1", timeout=0.2) is None
        assert 0.15 < time.perf_counter() - began < 1.5
        assert await documents.wait_for(PARTITION, "msg_1", timeout=0) is None

    async def test_the_same_id_in_another_partition_is_not_it(self, documents: Documents):
        waiting = asyncio.create_task(documents.wait_for(PARTITION, "msg_1", timeout=0.3))
        await create(documents, message(1), partition=OTHER)
        assert await waiting is None

    async def test_a_reader_follows_a_log_without_a_gap(self, documents: Documents):
        async def follow() -> list[int]:
            batches = [await documents.wait_for(PARTITION, f"msg_{n}", timeout=20) for n in range(40)]
            return [batch.body["number"] for batch in batches if batch]

        readers = [asyncio.create_task(follow()) for _ in range(3)]
        for number in range(40):
            await create(documents, message(number))
        assert await asyncio.gather(*readers) == [list(range(40))] * 3
