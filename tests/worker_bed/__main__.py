"""The process: the worker library with the app in it, and a port on which a test tells it what the host would.

    POST /invoke   {"id", "function", "params"}: an invocation; answers when it has ended
    GET  /state    what is open, what is running, resident memory, what was logged
    POST /tidy     collect garbage

Prints one line of JSON, {"control": port, "worker": port, "functions": [...]}, when it is ready.
"""

import asyncio
import gc
import importlib.abc
import json
import logging
import os
import sys
import types
from pathlib import Path
from typing import Any

import psutil
import uvicorn
from azure_functions_runtime import handle_event, http_v2, start_threadpool_executor
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from devhost.functions import Messages
from hosting.mend import mend_worker

ROOT = Path(__file__).resolve().parents[2]
CLIENT = '{"taskHubName": "bed", "rpcBaseUrl": "http://127.0.0.1:9/"}'


class TypedData:
    """Stands in for the protobuf message: `kind` is which of its members is set."""

    def __init__(self, kind: str | None, **members: Any) -> None:
        self._kind = kind
        self.__dict__.update(members)

    def WhichOneof(self, _: str) -> str | None:  # noqa: N802
        return self._kind


class StatusResult(types.SimpleNamespace):
    Success, Failure = 1, 0


class BedMessages(Messages):
    StatusResult = StatusResult


class Logged(logging.Handler):
    """Keeps name, level and text of what is logged."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.records: list[tuple[str, str, str]] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append((record.name, record.levelname, record.getMessage()))


class Bed:
    def __init__(self) -> None:
        self.logged = Logged()
        self.running: set[str] = set()

    async def begin(self) -> str:
        """Do what the worker does when its host greets it; return the address of its web server."""
        start_threadpool_executor()
        init = types.SimpleNamespace(capabilities={}, function_app_directory=str(ROOT))
        request = types.SimpleNamespace(
            request=types.SimpleNamespace(worker_init_request=init),
            properties={"host": "127.0.0.1", "protos": BedMessages()},
        )
        response: Any = await handle_event.worker_init_request(request)
        if response.result.status != StatusResult.Success:
            raise SystemExit(f"The app was not indexed: {response.result.exception.message}")
        return response.capabilities.get("HttpUri", ":0")  # none without the FastAPI extension

    async def invoke(self, request: Request) -> JSONResponse:
        asked = await request.json()
        self.running.add(asked["id"])
        try:
            response: Any = await handle_event.invocation_request(_invocation(asked))
        except Exception as error:  # noqa: BLE001  # what the worker would not survive is what tests look for
            return JSONResponse({"raised": repr(error)})
        finally:
            self.running.discard(asked["id"])
        failure = getattr(response.result, "exception", None)
        outcome = {"failed": failure.message if failure else None}
        returned = getattr(response, "return_value", None)
        if returned is not None:  # without the FastAPI extension the answer goes back to the host
            http = returned.http
            outcome |= {"status": int(http.status_code), "body": http.body.bytes.decode()}
        return JSONResponse(outcome)

    async def state(self, _: Request) -> JSONResponse:
        coordinator: Any = http_v2.http_coordinator
        pairs = getattr(coordinator, "mended", None)
        entries = coordinator._context_references if pairs is None else pairs.open
        memory = psutil.Process().memory_info().rss
        state = {"open": len(entries), "running": len(self.running), "memory": memory, "logged": self.logged.records}
        return JSONResponse(state)

    async def tidy(self, _: Request) -> JSONResponse:
        gc.collect()
        self.logged.records.clear()
        return JSONResponse({})


def _invocation(asked: dict[str, Any]) -> Any:
    function = next(f for f in _functions() if f["name"] == asked["function"])
    inputs = []
    for binding in function["bindings"]:
        if binding["type"] == "httpTrigger":
            http = {"method": "GET", "url": "/", "headers": {}, "body": TypedData(None), "query": {}}
            data = TypedData("http", http=types.SimpleNamespace(**http, params=asked["params"]))
        elif binding["type"] == "durableClient":
            data = TypedData("unknown" if asked["breaks"] else "string", string=CLIENT)
        else:
            continue
        inputs.append(_Parameter(binding["name"], data))
    empty = types.SimpleNamespace(trace_parent="", trace_state="", attributes={})
    retries = types.SimpleNamespace(retry_count=0, max_retry_count=0, exception=None)
    invocation = types.SimpleNamespace(
        invocation_id=asked["id"],
        function_id=function["id"],
        input_data=inputs,
        trigger_metadata={},
        trace_context=empty,
        retry_context=retries,
    )
    return types.SimpleNamespace(request=types.SimpleNamespace(invocation_request=invocation))


class _Parameter:
    def __init__(self, name: str, data: TypedData) -> None:
        self.name = name
        self.data = data

    def WhichOneof(self, _: str) -> str:  # noqa: N802
        return "data"


def _functions() -> list[dict[str, Any]]:
    return [
        {
            "name": metadata.name,
            "id": metadata.function_id,
            "bindings": [json.loads(raw) for raw in metadata.raw_bindings],
        }
        for metadata in handle_event._metadata_result or []
    ]


class NotInstalled(importlib.abc.MetaPathFinder):
    """Lets the import of a module fail, as where it isn't installed or doesn't fit."""

    def __init__(self, module: str) -> None:
        self._module = module

    def find_spec(self, fullname: str, path: object = None, target: object = None) -> None:
        if fullname == self._module:
            raise ImportError(f"{fullname} is broken, says a secret.")


def alter_library() -> None:
    """Give a part of it another signature, and still the same doing."""
    original: Any = http_v2.HttpCoordinator.set_http_response

    def set_http_response(self: Any, invocation_id: str, response: Any) -> Any:
        return original(self, invocation_id, response)

    setattr(http_v2.HttpCoordinator, "set_http_response", set_http_response)  # noqa: B010


async def main() -> None:
    bed = Bed()
    if os.environ.get("WORKER_BED_ALTERS_LIBRARY"):
        alter_library()
    if module := os.environ.get("WORKER_BED_BREAKS_IMPORT"):
        sys.meta_path.insert(0, NotInstalled(module))
    logging.getLogger().addHandler(bed.logged)
    logging.getLogger().setLevel(logging.INFO)
    address = await bed.begin()
    if patience := os.environ.get("WORKER_BED_PATIENCE"):
        pairs = mend_worker()
        assert pairs
        pairs.patience = float(patience)
    routes = [
        Route("/invoke", bed.invoke, methods=["POST"]),
        Route("/state", bed.state),
        Route("/tidy", bed.tidy, methods=["POST"]),
    ]
    control = Starlette(routes=routes)
    # On a busy machine a client may ask again just when the server closes what was idle.
    config = uvicorn.Config(
        control, host="127.0.0.1", port=0, log_config=None, access_log=False, timeout_keep_alive=600
    )
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    ready = {"control": port, "worker": int(address.rpartition(":")[2]), "functions": _functions()}
    sys.stdout.write(json.dumps(ready) + "\n")
    sys.stdout.flush()
    await serving


if __name__ == "__main__":
    asyncio.run(main())
