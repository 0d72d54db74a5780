"""An HTTP client that lives with a service whose processes die, and remembers where it was cut."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

import httpx

from tests.soak.violation import Violation

PAUSE = 0.1  # seconds before what was cut or refused is tried again

Body = dict[str, Any]


class Refused(Exception):
    """The service, or its host, said 429 or 503: try again."""


# The outcome of what was asked is unknown, or known to be nothing.
UNANSWERED = (httpx.TransportError, Refused)


@dataclass(slots=True)
class Caller:
    """`cuts` are (Unix seconds, what was cut)."""

    http: httpx.AsyncClient
    cuts: list[tuple[float, Literal["request", "stream"]]] = field(default_factory=list)
    refusals: int = 0

    async def ask(self, method: str, path: str, body: Body | None = None) -> httpx.Response:
        """Return an answer below 500. Raises one of UNANSWERED."""
        try:
            response = await self.http.request(method, path, json=body)
        except httpx.TransportError:
            self.cuts.append((time.time(), "request"))
            raise
        self._check(response)
        return response

    async def insist(self, method: str, path: str, body: Body | None = None) -> Any:
        """Return the JSON of a 200, however often it takes: for what may be asked twice."""
        while True:
            try:
                response = await self.ask(method, path, body)
            except UNANSWERED:
                await asyncio.sleep(PAUSE)
                continue
            return accepted(response)

    @asynccontextmanager
    async def open(
        self, method: str, path: str, body: Body | None = None, *, after: str | None = None
    ) -> AsyncIterator[httpx.Response]:
        """Give the response while its body streams. Raises one of UNANSWERED, also from the body's reading."""
        headers = {"Last-Event-ID": after} if after else {}
        try:
            async with self.http.stream(method, path, json=body, headers=headers) as response:
                if response.status_code != 200:
                    await response.aread()
                    self._check(response)
                yield response
        except httpx.TransportError:
            self.cuts.append((time.time(), "stream"))
            raise

    def _check(self, response: httpx.Response) -> None:
        if response.status_code in (429, 503):
            self.refusals += 1
            raise Refused
        if response.status_code >= 500:
            request = response.request
            raise Violation("wrong", f"{response.status_code} to {request.method} {request.url.path}: {response.text}")


def accepted(response: httpx.Response) -> Any:
    if response.status_code != 200:
        request = response.request
        kind = "locked" if "active" in response.text else "wrong"
        raise Violation(kind, f"{response.status_code} to {request.method} {request.url.path}: {response.text}")
    return response.json()
