"""A session pool's data plane as it is documented (2025-10-02-preview), with the local sandbox behind it.

Nothing here is more forgiving than the documentation: versions, tokens, identifiers, names of files and limits are
checked. What the documentation leaves open (how a time-out looks) is as plain as it can be.
"""

import asyncio
import base64
import re
from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from sandbox.keeper import Keeper, NoRoom, NoSession
from sandbox.session import NoSuchFile

VERSIONS = ("2025-02-02-preview", "2025-10-02-preview")
TOKEN = "a-token-for-dynamicsessions.io"
LARGEST_FILE = 128 << 20
LONGEST_CALL = 220
PAGE = 3  # files
_IDENTIFIER = re.compile(r"[A-Za-z0-9-]{4,128}")
_FILE_NAME = re.compile(r"[\w \-.@$&=;,#%^()]{1,255}")


@dataclass
class SessionPool:
    """`faults` are answers to be given instead of the next ones: status, headers."""

    keeper: Keeper
    faults: deque[tuple[int, dict[str, str]]] = field(default_factory=deque)
    port: int = 0
    calls: int = 0

    async def serve(self) -> AsyncIterator[str]:
        """Yield the pool's endpoint while it serves."""
        config = uvicorn.Config(self.app(), port=0, lifespan="off", ws="none", log_config=None, access_log=False)
        server = uvicorn.Server(config)
        serving = asyncio.create_task(server.serve())
        while not server.started:
            await asyncio.sleep(0.01)
        port = server.servers[0].sockets[0].getsockname()[1]
        yield f"http://127.0.0.1:{port}/subscriptions/s/resourceGroups/g/sessionPools/p"
        server.should_exit = True
        await serving

    def app(self) -> Starlette:
        base = "/subscriptions/s/resourceGroups/g/sessionPools/p"
        return Starlette(
            routes=[
                Route(f"{base}/executions", self._checked(self._execute), methods=["POST"]),
                Route(f"{base}/files", self._checked(self._list), methods=["GET"]),
                Route(f"{base}/files", self._checked(self._upload), methods=["POST"]),
                Route(f"{base}/files/{{name}}/content", self._checked(self._download), methods=["GET"]),
            ]
        )

    def _checked(self, answer: Any) -> Any:
        async def checked(request: Request) -> Response:
            self.calls += 1
            if self.faults:
                status, headers = self.faults.popleft()
                return _error(status, "Fault", "A fault of the test.", headers)
            if request.headers.get("authorization") != f"Bearer {TOKEN}":
                return _error(401, "Unauthorized", "The token is not for this audience.")
            if request.query_params.get("api-version") not in VERSIONS:
                return _error(400, "UnsupportedApiVersion", "The API version is not supported.")
            identifier = request.query_params.get("identifier", "")
            if not _IDENTIFIER.fullmatch(identifier):
                return _error(400, "InvalidIdentifier", "The identifier is not valid.")
            try:
                await self.keeper.begin(identifier)
                return await answer(request, identifier)
            except (NoRoom, NoSession):
                return _error(404, "SessionNotAvailable", "No session is available.")

        return checked

    async def _execute(self, request: Request, identifier: str) -> Response:
        asked = await request.json()
        seconds = asked.get("timeoutInSeconds", 60)
        known = asked.get("codeInputType") == "Inline" and asked.get("executionType") == "Synchronous"
        if not known or not isinstance(seconds, int) or not 1 <= seconds <= LONGEST_CALL:
            return _error(400, "InvalidRequest", "The execution is not valid.")
        done = await self.keeper.execute(identifier, f"call-{self.calls}", asked["code"], seconds)
        longest = asked.get("outputStreamsMaxLength", 4096)
        shown: Any = done.result
        if done.images:
            shown = {"type": "image", "format": "png", "base64_data": base64.b64encode(done.images[-1]).decode()}
        succeeded = done.status == "ok"
        result = {
            "stdout": done.stdout[:longest],
            "stderr": (done.error.traceback if done.error and done.status == "error" else done.stderr)[:longest],
            "executionResult": shown,
            "executionTimeInMilliseconds": round(done.seconds * 1000),
        }
        status = "Succeeded" if succeeded else "Canceled" if done.status == "timeout" else "Failed"
        told = {"id": str(self.calls), "identifier": identifier, "executionType": "Synchronous", "status": status}
        return JSONResponse(told | {"result": result})

    async def _list(self, request: Request, identifier: str) -> Response:
        skipped = int(request.query_params.get("skip", "0"))
        found = sorted(await self.keeper.files(identifier), key=lambda file: file.name)
        value = [
            {
                "name": file.name,
                "type": "file",
                "contentType": "application/octet-stream",
                "sizeInBytes": file.size,
                "lastModifiedAt": datetime.fromtimestamp(file.modified / 1e9, UTC).isoformat(),
            }
            for file in found[skipped : skipped + PAGE]
        ]
        following = f"https://elsewhere.example/files?skip={skipped + PAGE}"
        return JSONResponse({"value": value} | ({"nextLink": following} if found[skipped + PAGE :] else {}))

    async def _upload(self, request: Request, identifier: str) -> Response:
        async with request.form() as form:
            file: Any = form["file"]
            content = await file.read()
            if len(content) > LARGEST_FILE:
                return _error(413, "FileTooLarge", "The file is too large.")
            if not _FILE_NAME.fullmatch(file.filename):
                return _error(400, "InvalidFileName", "The name of the file is not valid.")
            try:
                await self.keeper.put(identifier, file.filename, _one(content))
            except NoSuchFile as refused:
                return _error(400, "UploadFailed", str(refused))
        return JSONResponse({"name": file.filename, "type": "file", "sizeInBytes": len(content)})

    async def _download(self, request: Request, identifier: str) -> Response:
        try:
            pieces = [piece async for piece in self.keeper.get(identifier, request.path_params["name"])]
        except NoSuchFile:
            return _error(404, "FileNotFound", "There is no such file.")
        return Response(b"".join(pieces), media_type="application/octet-stream")


def _error(status: int, code: str, message: str, headers: dict[str, str] | None = None) -> Response:
    return JSONResponse({"error": {"code": code, "message": message}}, status, headers)


async def _one(content: bytes) -> AsyncIterator[bytes]:
    yield content
