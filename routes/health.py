"""Health: is what a run needs there? Says so to anybody, and nothing else.

Anybody may ask, so a result is remembered for a second and there is one check of each part at a time,
however many ask. To be slow is not to be away: a process with hundreds of streams under way may take
seconds for what takes a millisecond. So a check's patience is counted in turns of the event loop, which
last the longer the busier the process is, and whoever asks meanwhile is told what was last known.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from functools import lru_cache

import azure.durable_functions as df
from azurefunctions.extensions.http.fastapi import Response

import wiring
from errors import StoreUnavailable
from ports.blobs import Blobs
from ports.documents import Documents
from ports.task_hub import TaskHub
from routes.edge import json_response
from routes.operation import Call, operation

logger = logging.getLogger("durable_assistants.health")

bp = df.Blueprint()

REMEMBERED = 1.0  # seconds
TURN = 0.25  # seconds, where the event loop is not busy
WAITED_FOR = 8  # turns until somebody who asks is told what was last known
GIVEN_UP = 40  # turns without an answer, after which a part counts as away


@operation(bp, "GET", "health", needs_key=False)
async def get_health(call: Call) -> Response:
    """Answer 200 if runs can be served, else 503, with what is missing and why."""
    parts = _parts(call.documents, wiring.blobs(), call.hub)
    troubles = dict(zip(parts, await asyncio.gather(*(part.trouble() for part in parts.values())), strict=True))
    states = {name: "unavailable" if trouble else "ready" for name, trouble in troubles.items()} | {
        "model": "configured" if call.settings.has_model else "not configured",
        "api_key": "configured" if call.settings.assistants_api_key else "not configured",
    }
    ready = all(state in ("ready", "configured") for state in states.values())
    reasons = {name: trouble for name, trouble in troubles.items() if trouble}
    body = {"status": "ok" if ready else "degraded", **states} | ({"reasons": reasons} if reasons else {})
    return json_response(body, 200 if ready else 503)


class Part:
    """One thing that runs need. `check` raises StoreUnavailable, with a reason for anybody, if it can't serve."""

    def __init__(self, name: str, check: Callable[[], Awaitable[None]]) -> None:
        self._name = name
        self._check = check
        self._checking: asyncio.Task[None] | None = None
        self._checked_at: float | None = None
        self._trouble: str | None = None

    async def trouble(self) -> str | None:
        """Return why it can't serve, None if it can."""
        if self._checking is None and not self._remembers():
            self._checking = asyncio.create_task(self._look())
        turns = 0
        while self._checking and (turns < WAITED_FOR or self._checked_at is None):
            await asyncio.wait([self._checking], timeout=TURN)
            turns += 1
        return self._trouble

    def _remembers(self) -> bool:
        now = asyncio.get_running_loop().time()
        return self._checked_at is not None and now - self._checked_at < REMEMBERED

    async def _look(self) -> None:
        try:
            self._trouble = await self._answer()
        finally:
            self._checking = None
            self._checked_at = asyncio.get_running_loop().time()

    async def _answer(self) -> str | None:
        checking = asyncio.ensure_future(self._check())
        for _ in range(GIVEN_UP):
            await asyncio.wait([checking], timeout=TURN)
            if checking.done():
                return self._reason(checking)
        checking.cancel()
        return f"The {self._name} does not answer."

    def _reason(self, checked: asyncio.Future[None]) -> str | None:
        match checked.exception():
            case None:
                return None
            case StoreUnavailable() as error:
                return error.message
            case error:
                logger.error("the %s could not be checked", self._name, exc_info=error)
                return f"The {self._name} could not be checked."


# Of the process's one set of ports: only tests have others after them.
@lru_cache(maxsize=1)
def _parts(documents: Documents, blobs: Blobs, hub: TaskHub) -> dict[str, Part]:
    async def hub_answers() -> None:
        if not await hub.ready():
            raise StoreUnavailable("The task hub cannot be reached.")

    return {
        "store": Part("store", documents.check),
        "files": Part("file store", blobs.check),
        "task_hub": Part("task hub", hub_answers),
    }
