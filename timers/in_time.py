"""A sweep ends before the host would end it, and with it everything else that its worker does (functionTimeout)."""

import asyncio
import logging
from collections.abc import Awaitable

import wiring

logger = logging.getLogger("durable_assistants.sweeper")


async def in_time(sweep: Awaitable[None]) -> None:
    """What is left is for the next sweep. Raises what `sweep` raises."""
    limit = asyncio.timeout(wiring.host().time_limit)
    try:
        async with limit:
            await sweep
    except TimeoutError:
        if not limit.expired():
            raise
        logger.warning("a sweep took longer than %g s and was ended; the next one goes on", wiring.host().time_limit)
