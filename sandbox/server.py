"""The keeper's sessions over HTTP, for the workers of one host.

    POST   /sessions/{session}                        begin: {"incarnation"}
    POST   /sessions/{session}/calls/{call}           {"code", "timeout"}: what came of it
    DELETE /sessions/{session}/calls/{call}           interrupt
    GET    /sessions/{session}/files                  {"files": [{"name", "size", "modified"}]}
    PUT    /sessions/{session}/files?name=…           the body is the file
    GET    /sessions/{session}/files/content?name=…   the file

404 {"gone"}: there is no such session (any more). 409 {"refused"}: no such file, or it can't be written.
501 {"off"}: there will be none. 503 {"no_room"}: there can be none now.
"""

import base64
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import uvicorn
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from sandbox.keeper import Keeper, NoRoom, NoSession, Off
from sandbox.session import NoSuchFile


def application(keeper: Keeper) -> Starlette:
    async def begin(request: Request) -> Response:
        return JSONResponse({"incarnation": await keeper.begin(request.path_params["session"])})

    async def call(request: Request) -> Response:
        asked = await request.json()
        session, call = request.path_params["session"], request.path_params["call"]
        done = asdict(await keeper.execute(session, call, asked["code"], asked["timeout"]))
        return JSONResponse(done | {"images": [base64.b64encode(image).decode() for image in done["images"]]})

    async def interrupt(request: Request) -> Response:
        keeper.interrupt(request.path_params["session"], request.path_params["call"])
        return Response(status_code=204)

    async def files(request: Request) -> Response:
        found = await keeper.files(request.path_params["session"])
        return JSONResponse({"files": [asdict(file) for file in found]})

    async def put(request: Request) -> Response:
        await keeper.put(request.path_params["session"], request.query_params["name"], request.stream())
        return Response(status_code=204)

    async def get(request: Request) -> Response:
        pieces = keeper.get(request.path_params["session"], request.query_params["name"])
        first = await anext(pieces, b"")  # whatever is wrong is known by then
        return StreamingResponse(_all(first, pieces), media_type="application/octet-stream")

    return Starlette(
        routes=[
            Route("/sessions/{session}", begin, methods=["POST"]),
            Route("/sessions/{session}/calls/{call}", call, methods=["POST"]),
            Route("/sessions/{session}/calls/{call}", interrupt, methods=["DELETE"]),
            Route("/sessions/{session}/files", files, methods=["GET"]),
            Route("/sessions/{session}/files", put, methods=["PUT"]),
            Route("/sessions/{session}/files/content", get, methods=["GET"]),
        ],
        exception_handlers={
            NoSession: _gone,
            NoSuchFile: _refused,
            NoRoom: _no_room,
            Off: _off,
            ClientDisconnect: _left,
        },
    )


class Server(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """They are the host's."""
        yield


def server(keeper: Keeper, socket: Path) -> Server:
    """Return what serves it. The socket itself is open to everybody: its folder must be the host's user's alone."""
    config = uvicorn.Config(
        application(keeper), uds=str(socket), lifespan="off", ws="none", log_config=None, access_log=False
    )
    return Server(config)


async def _all(first: bytes, rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield first
    async for piece in rest:
        yield piece


async def _gone(request: Request, error: Exception) -> Response:
    return JSONResponse({"gone": True}, 404)


async def _refused(request: Request, error: Exception) -> Response:
    return JSONResponse({"refused": str(error)}, 409)


async def _no_room(request: Request, error: Exception) -> Response:
    return JSONResponse({"no_room": str(error)}, 503)


async def _off(request: Request, error: Exception) -> Response:
    return JSONResponse({"off": str(error)}, 501)


async def _left(request: Request, error: Exception) -> Response:
    return Response(status_code=400)  # nobody reads it
