"""The double as a process of its own, for tests whose app is other processes too."""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from adapters.cosmos_client import cosmos_client
from tests.cosmos_container import ensure_container
from tests.cosmos_double.server import KEY

ROOT = Path(__file__).parents[2]


@asynccontextmanager
async def cosmos_double_process() -> AsyncIterator[dict[str, str]]:
    """Start one, make the database, and give the settings that lead an app to it.

    Faults are planned over HTTP: POST {COSMOS_ENDPOINT}/double/faults, see CosmosDouble.
    """
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.cosmos_double", cwd=ROOT, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout
    try:
        endpoint = (await process.stdout.readline()).decode().strip()
        async with cosmos_client(endpoint, KEY) as client:
            await ensure_container(client, "assistants")
        yield {"COSMOS_ENDPOINT": endpoint, "COSMOS_KEY": KEY, "COSMOS_DATABASE": "assistants"}
    finally:
        process.kill()
        await process.wait()
