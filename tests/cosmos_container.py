"""Makes databases with their container, from the definition that the deployment shares, and removes them.

The adapter never does: in Azure the app's identity may not, and the deployment has.
"""

import json
import os
from pathlib import Path
from urllib.parse import urlsplit

from azure.cosmos import PartitionKey
from azure.cosmos.aio import CosmosClient

from settings import LOCAL_HOSTS
from tests.cosmos_double.server import KEY

DEFINITION = Path(__file__).parents[1] / "adapters" / "cosmos_container.json"


async def ensure_container(client: CosmosClient, database: str) -> None:
    definition = json.loads(DEFINITION.read_text())
    made = await client.create_database_if_not_exists(database)
    await made.create_container_if_not_exists(
        definition["id"],
        PartitionKey(path=definition["partitionKey"]["paths"][0]),
        indexing_policy=definition["indexingPolicy"],
        default_ttl=definition["defaultTtl"],
    )


async def make_database(endpoint: str, database: str, key: str = KEY) -> dict[str, str]:
    """Make a database; return the settings that lead an app to it.

    An account in Azure takes its key for this alone: the app comes with an identity (`az login`) that may
    read and write its data.
    """
    async with CosmosClient(endpoint, key) as client:
        await ensure_container(client, database)
    settings = {"COSMOS_ENDPOINT": endpoint, "COSMOS_DATABASE": database}
    return settings | ({"COSMOS_KEY": key} if urlsplit(endpoint).hostname in LOCAL_HOSTS else {})


async def drop_database(endpoint: str, database: str, key: str = KEY) -> None:
    async with CosmosClient(endpoint, key) as client:
        await client.delete_database(database)


def endpoint_under_test() -> tuple[str, str] | None:
    """Return address and key of what the tests are told to use instead of the double: the official emulator, or an
    account."""
    endpoint = os.environ.get("COSMOS_TEST_ENDPOINT")
    return (endpoint, os.environ.get("COSMOS_TEST_KEY") or KEY) if endpoint else None
