"""The two halves of an HTTP request in the Functions Python worker, joined and never left waiting.

With HTTP streaming every request is two things: an invocation, which the host sends by gRPC, and a request to the
worker's own port. The worker library's HttpCoordinator joins them by their id. As it is (azure-functions-runtime
1.3.0, azure_functions_runtime/http_v2.py), it keeps an entry of some 2 kB for each of them for ever, and a half whose
other half never comes waits for ever: the invocation until `functionTimeout`, which restarts the worker and cuts
everyone it serves.
"""

import asyncio
from typing import Any

PATIENCE = 30.0  # seconds that one half waits for the other; a pair that has met is not bounded


class HalfMissing(Exception):
    """The other half of a request did not come in time."""


class Pair:
    """One request: as it came from the client, and what its function answered. Either may be set first."""

    __slots__ = ("answered", "arrived", "request", "response", "taken")

    def __init__(self) -> None:
        self.request: Any = None
        self.response: Any = None
        self.arrived = asyncio.Event()  # the request is there
        self.taken = asyncio.Event()  # the invocation has the request, or has failed before it asked for it
        self.answered = asyncio.Event()


class Pairs:
    """Takes the place of HttpCoordinator's methods; `open` are the pairs under way, by the id of their invocation."""

    def __init__(self, patience: float = PATIENCE) -> None:
        self.open: dict[str, Pair] = {}
        self.patience = patience

    def set_http_request(self, invocation_id: str, request: Any) -> None:
        pair = self._pair(invocation_id)
        pair.request = request
        pair.arrived.set()

    async def get_http_request_async(self, invocation_id: str) -> Any:
        """Return the request of an invocation. Raises HalfMissing."""
        pair = self._pair(invocation_id)
        if not await self._in_time(pair.arrived):
            self._forget(invocation_id, pair)
            raise HalfMissing(f"The request of the invocation {invocation_id} did not come.")
        pair.taken.set()
        request, pair.request = pair.request, None
        return request

    def set_http_response(self, invocation_id: str, response: Any) -> None:
        """Keep what the function has answered, or the exception that it raised.

        Also for a request that has not come yet, of an invocation that failed before it asked for it.
        """
        if invocation_id not in self.open:
            loop = asyncio.get_running_loop()
            loop.call_later(self.patience, self._forget, invocation_id, self._pair(invocation_id))
        pair = self.open[invocation_id]
        pair.response = response
        pair.taken.set()
        pair.answered.set()

    async def await_http_response_async(self, invocation_id: str) -> Any:
        """Return what `set_http_response` was given. Raises HalfMissing if no invocation takes the request."""
        pair = self.open[invocation_id]
        try:
            if not await self._in_time(pair.taken):
                raise HalfMissing(f"No invocation {invocation_id} has asked for its request.")
            await pair.answered.wait()
            return pair.response
        finally:
            self._forget(invocation_id, pair)

    def _pair(self, invocation_id: str) -> Pair:
        return self.open.setdefault(invocation_id, Pair())

    def _forget(self, invocation_id: str, pair: Pair) -> None:
        if self.open.get(invocation_id) is pair:
            del self.open[invocation_id]

    async def _in_time(self, event: asyncio.Event) -> bool:
        if event.is_set():
            return True
        try:
            async with asyncio.timeout(self.patience):
                await event.wait()
        except TimeoutError:
            return False
        return True
