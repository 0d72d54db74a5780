"""The Cosmos DB client: who it is, how long it waits, how often it tries again."""

import logging
from urllib.parse import urlsplit

from azure.core.credentials_async import AsyncTokenCredential
from azure.cosmos.aio import CosmosClient
from azure.identity.aio import DefaultAzureCredential

from adapters.cosmos import CosmosDocuments, OnCharge
from settings import LOCAL_HOSTS, Settings

logger = logging.getLogger("durable_assistants.cosmos")


def log_charge(operation: str, units: float) -> None:
    """For telemetry: at DEBUG, and for machines as attributes of the record."""
    logger.debug("%s: %.2f RU", operation, units, extra={"operation": operation, "request_units": units})


def cosmos_documents(settings: Settings, *, on_charge: OnCharge = log_charge) -> CosmosDocuments:
    """Return the document port on the account that the settings name: by identity, or by key on an emulator."""
    identity = None if settings.cosmos_key else DefaultAzureCredential()
    client = cosmos_client(settings.cosmos_endpoint, identity or settings.cosmos_key, settings.cosmos_regions)
    return CosmosDocuments(client, settings.cosmos_database, credential=identity, on_charge=on_charge)


def cosmos_client(endpoint: str, credential: str | AsyncTokenCredential, regions: tuple[str, ...] = ()) -> CosmosClient:
    """Return a client; there should be one per process. Raises ValueError for a key that would leave the machine.

    Its connections are HTTPS to the gateway, the only mode the Python SDK has, kept alive and pooled.
    """
    local = urlsplit(endpoint).hostname in LOCAL_HOSTS
    if isinstance(credential, str) and not local:
        raise ValueError(
            "A Cosmos DB key is for emulators on this machine; in Azure the app's identity opens the store."
        )
    return CosmosClient(
        endpoint,
        credential,
        # Several instances serve one client, and session tokens don't travel between them. Emulators are
        # one machine, and not all know the word.
        consistency_level=None if local else "Strong",
        preferred_locations=list(regions),
        # A point read takes 5 ms: waiting longer for a connection or an answer than this only keeps an HTTP
        # client waiting for what a retry gets sooner. The SDK would wait 65 s.
        connection_timeout=5,
        read_timeout=10,
        # Throttled: up to 3 times as the service asks, 5 s at most in all. Then it is for durable timers and
        # for clients to wait.
        retry_throttle_total=3,
        retry_throttle_backoff_max=5,
        # Broken connections: reads twice more. Commits are repeated by CosmosDocuments alone.
        retry_total=2,
        retry_connect=2,
        retry_read=2,
        retry_backoff_factor=0.1,
        retry_write=0,
        # Else a message in Cyrillic is three times its size on the wire and the port's limit would not fit.
        enable_compact_utf8_item_writes=True,
    )
