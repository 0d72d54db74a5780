"""A process that commits to a shared store until it has done its part or is killed.

`python sqlite_process.py FILE NAME COUNT`: each commit raises the shared counter by one and creates
two documents that carry its number. Prints a line per answered commit.
"""

import asyncio
import sys
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from adapters.sqlite import SqliteDocuments
from errors import Conflict
from ports.documents import Create, Document, Replace

PARTITION = "default/thread_1"
COUNTER = Document("counter", "thread", {"count": 0})


async def work(file: str, name: str, count: int) -> None:
    documents = SqliteDocuments(Path(file))
    done = 0
    while done < count:
        try:
            counter = await documents.get(PARTITION, COUNTER.id)
            if counter is None:
                await documents.commit(PARTITION, Create(COUNTER))
                continue
            number = counter.body["count"]
            entries = [
                Document(f"{half}.{number}", "entry", {"by": name}, f"{number:012}.{half}", {"half": half})
                for half in ("a", "b")
            ]
            await documents.commit(
                PARTITION, Replace(replace(counter, body={"count": number + 1}), counter.version), *map(Create, entries)
            )
        except Conflict:
            continue
        done += 1
        print(number, flush=True)  # noqa: T201
    await documents.close()


if __name__ == "__main__":
    asyncio.run(work(sys.argv[1], sys.argv[2], int(sys.argv[3])))
