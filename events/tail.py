"""The end of a run's log: the number the next batch will have."""

from events.addresses import batch_sort
from ports.documents import Documents


async def next_number(documents: Documents, partition: str, run_id: str) -> int:
    last = await documents.list(
        partition, "batch", descending=True, after=batch_sort(run_id, 99_999_999), before=f"{run_id}.", limit=1
    )
    return last[0].body["number"] + 1 if last else 0
