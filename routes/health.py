"""Health: is what a run needs there? Says so to anybody, and nothing else."""

import asyncio
from collections.abc import Awaitable

import azure.durable_functions as df
from azurefunctions.extensions.http.fastapi import Response

from errors import StoreUnavailable
from routes.edge import json_response
from routes.operation import Call, operation

bp = df.Blueprint()

_PATIENCE = 2.0  # seconds


@operation(bp, "GET", "health", needs_key=False)
async def get_health(call: Call) -> Response:
    """Answer 200 if runs can be served, else 503, with what is missing."""
    store, task_hub = await asyncio.gather(_in_time(_store_answers(call)), _in_time(call.hub.ready()))
    parts = {
        "store": "ready" if store else "unavailable",
        "task_hub": "ready" if task_hub else "unavailable",
        "model": "configured" if call.settings.has_model else "not configured",
        "api_key": "configured" if call.settings.assistants_api_key else "not configured",
    }
    ready = all(state in ("ready", "configured") for state in parts.values())
    return json_response({"status": "ok" if ready else "degraded", **parts}, 200 if ready else 503)


async def _store_answers(call: Call) -> bool:
    try:
        await call.documents.get("health", "health")
    except StoreUnavailable:
        return False
    return True


async def _in_time(check: Awaitable[bool]) -> bool:
    try:
        async with asyncio.timeout(_PATIENCE):
            return await check
    except TimeoutError:
        return False
