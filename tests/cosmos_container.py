"""Makes the database and its container on an emulator, from the definition that the deployment shares.

The adapter never does: in Azure the app's identity may not, and the deployment has.
"""

import json
from pathlib import Path

from azure.cosmos import PartitionKey
from azure.cosmos.aio import CosmosClient

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
