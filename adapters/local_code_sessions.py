"""Code sessions of the local host's sandbox, which it keeps for all its workers (HTTP on a Unix socket)."""

import asyncio
import base64
from collections.abc import AsyncIterable, AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import aiohttp

from ports.code_sessions import CodeMissing, CodeUnavailable, Execution, FileRefused, SessionFile, SessionGone

ANSWERS_WITHIN = 90.0  # seconds, beyond the time that a call may take; a first session may have to be started
PIECE = 1 << 20


class LocalCodeSessions:
    def __init__(self, socket: Path) -> None:
        self._socket = socket
        self._made: aiohttp.ClientSession | None = None

    async def begin(self, session: str) -> str:
        # What code may import may be on its way still: as long as whoever asks has time.
        async with self._ask("POST", f"/sessions/{session}", within=None) as answer:
            return (await answer.json())["incarnation"]

    async def execute(self, session: str, call: str, code: str, timeout: float) -> Execution:
        path = f"/sessions/{session}/calls/{call}"
        asked = {"code": code, "timeout": timeout}
        try:
            async with self._ask("POST", path, within=timeout + ANSWERS_WITHIN, json=asked) as answer:
                return _execution(await answer.json())
        except asyncio.CancelledError:
            with suppress(CodeUnavailable, SessionGone):
                async with self._ask("DELETE", path):
                    pass
            raise

    async def put(self, session: str, name: str, content: AsyncIterable[bytes]) -> None:
        async with self._ask("PUT", f"/sessions/{session}/files", params={"name": name}, data=content):
            pass

    async def get(self, session: str, name: str) -> AsyncIterator[bytes]:
        asking = self._ask("GET", f"/sessions/{session}/files/content", params={"name": name})
        return _content(asking, await asking.__aenter__())

    async def files(self, session: str) -> list[SessionFile]:
        async with self._ask("GET", f"/sessions/{session}/files") as answer:
            found = (await answer.json())["files"]
        return [SessionFile(file["name"], file["size"], str(file["modified"])) for file in found]

    async def close(self) -> None:
        if self._made:
            await self._made.close()

    @asynccontextmanager
    async def _ask(
        self, method: str, path: str, *, within: float | None = ANSWERS_WITHIN, **what: Any
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        if self._made is None:
            connector = aiohttp.UnixConnector(str(self._socket), limit=0)
            self._made = aiohttp.ClientSession("http://sandbox", connector=connector)
        limit = aiohttp.ClientTimeout(total=None, sock_read=within, sock_connect=10)
        try:
            async with self._made.request(method, path, timeout=limit, **what) as answer:
                await _check(answer)
                yield answer
        except (aiohttp.ClientError, TimeoutError) as error:
            raise CodeUnavailable(f"The sandbox does not answer: {type(error).__name__}.") from error


async def _check(answer: aiohttp.ClientResponse) -> None:
    match answer.status:
        case 404:
            raise SessionGone
        case 409:
            raise FileRefused((await answer.json())["refused"])
        case 501:
            raise CodeMissing((await answer.json())["off"])
        case 503:
            raise CodeUnavailable(f"No session can be started: {(await answer.json())['no_room']}.")
        case status if status >= 400:
            raise CodeUnavailable(f"The sandbox answers {status}.")


async def _content(asking: Any, answer: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
    try:
        async for piece in answer.content.iter_chunked(PIECE):
            yield piece
    except aiohttp.ClientError as error:
        raise SessionGone from error
    finally:
        await asking.__aexit__(None, None, None)


def _execution(told: dict[str, Any]) -> Execution:
    return Execution(
        status=told["status"],
        stdout=told["stdout"],
        stderr=told["stderr"],
        result=told["result"],
        error=told["error"]["traceback"] if told["error"] else None,
        dropped=told["dropped"],
        restarted=told["restarted"],
        images=[base64.b64decode(image) for image in told["images"]],
    )
