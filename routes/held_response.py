"""Answers end before the host would cut them, and with them everything else that its worker does."""

import asyncio
import logging

from azurefunctions.extensions.http.fastapi import Response
from starlette.types import Receive, Scope, Send

logger = logging.getLogger("durable_assistants.http")


class HeldResponse(Response):
    """A response that is cut, if it is still being sent then, at `ends_at` of the event loop's clock.

    That is one whose client reads it too slowly or not at all: streams end by themselves before that.
    """

    def __init__(self, response: Response, ends_at: float) -> None:
        self.__dict__.update(response.__dict__)
        self._response = response
        self._ends_at = ends_at

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        limit = asyncio.timeout_at(self._ends_at)
        try:
            async with limit:
                await self._response(scope, receive, send)
        except TimeoutError:
            if not limit.expired():
                raise
            # Left unfinished, which makes the server close the connection.
            logger.warning("an answer was cut: its client has not read it in time")
