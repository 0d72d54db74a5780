"""A small app for the local host to run. What it does is written to the data folder, one JSON line each."""

import asyncio
import json
import os
import time
from collections.abc import AsyncIterator
from functools import cache
from pathlib import Path
from typing import Any

import azure.durable_functions as df
import azure.functions as func
from azurefunctions.extensions.http.fastapi import JSONResponse, Request, Response, StreamingResponse
from durabletask import task


class SettingsError(Exception):
    pass


if reason := os.environ.get("APP_BREAKS"):
    raise SettingsError(reason) if reason.startswith("SETTING") else ValueError(reason)
if os.environ.get("APP_DIES"):
    os._exit(3)

app = df.DFApp(http_auth_level=func.AuthLevel.ANONYMOUS)
bp = df.Blueprint()
DATA = Path(os.environ["DATA_DIR"])


def note(what: str, **more: Any) -> None:
    with (DATA / "notes").open("a") as file:
        file.write(json.dumps({"what": what, "pid": os.getpid(), **more}) + "\n")


@cache
def client(configuration: str) -> df.DurableFunctionsClient:
    return df.DurableFunctionsClient(configuration)


@bp.route(route="start/{orchestrator}/{id}", methods=["POST"])
@bp.generic_input_binding(arg_name="hub", type="durableClient", durableRequiresGrpc=True)
async def start(req: Request, hub: str) -> Response:
    name, id = req.path_params["orchestrator"], req.path_params["id"]
    await client(hub).schedule_new_orchestration(name, input=id, instance_id=id)
    return JSONResponse({"id": id})


@bp.route(route="where", methods=["GET"])
async def where(req: Request) -> Response:
    settings = {name: os.environ.get(name) for name in ("ASSISTANTS_API_KEY", "FROM_THE_FILE", "SWEEPER_SCHEDULE")}
    return JSONResponse({"pid": os.getpid(), "query": req.url.query, **settings})


@bp.route(route="stream", methods=["GET"])
async def stream(req: Request) -> StreamingResponse:
    async def pieces() -> AsyncIterator[str]:
        try:
            for number in range(1000):
                yield f"{os.getpid()} {number}\n"
                await asyncio.sleep(0.05)
        finally:
            note("stream ended")

    return StreamingResponse(pieces())


@bp.route(route="size", methods=["POST"])
async def size(req: Request) -> Response:
    return JSONResponse({"size": len(await req.body())})


@bp.route(route="breaks", methods=["GET"])
async def breaks(req: Request) -> Response:
    raise RuntimeError("a secret of the app")


@bp.route(route="naps", methods=["GET"])
async def naps(req: Request) -> Response:
    await asyncio.sleep(60)
    return JSONResponse({})


@bp.route(route="seen/{*path}")
async def seen(req: Request) -> Response:
    return JSONResponse({"method": req.method, "params": dict(req.path_params), "headers": req.headers.items()})


@bp.route(route="answers/{kind}", methods=["GET", "HEAD"])
async def answers(req: Request) -> Response:
    kind = req.path_params["kind"]
    headers = {
        "line-break": {"x-a": "b\r\nc: d"},
        "line-feed": {"x-a": "b\nc"},
        "not-ascii": {"x-a": "\xe9"},
        "short": {"content-length": "10"},
    }
    status = int(kind) if kind.isdigit() else 200
    return Response("hello", status, headers.get(kind))


if os.environ.get("ROUTES_IN_ERROR"):
    # The Functions host serves none of these.
    @bp.route(route="Administer", methods=["GET"])
    async def is_reserved(req: Request) -> Response:
        return JSONResponse({})

    @bp.route(route="runtime/thing", methods=["GET"])
    async def is_reserved_too(req: Request) -> Response:
        return JSONResponse({})

    @bp.route(route="things/Special", methods=["DELETE", "PUT"])
    async def special_again(req: Request) -> Response:
        return JSONResponse({})

    # The local host doesn't know what it means.
    @bp.route(route="numbers/{number:int}", methods=["GET"])
    async def numbers(req: Request) -> Response:
        return JSONResponse({})


# Two routes for one path, a catch-all beside them, and one for everything: names decide.
@bp.route(route="things/{thing}", methods=["GET"])
async def a_thing(req: Request) -> Response:
    return JSONResponse({"function": "a_thing", **req.path_params})


@bp.route(route="things/special", methods=["GET", "DELETE"])
async def b_special(req: Request) -> Response:
    return JSONResponse({"function": "b_special"})


@bp.route(route="v1/{*path}")
async def v1(req: Request) -> Response:
    return JSONResponse({"function": "v1", **req.path_params})


@bp.route(route="{*path}")
async def zz_everything_else(req: Request) -> Response:
    return JSONResponse({"function": "zz_everything_else", **req.path_params}, status_code=404)


@bp.orchestration_trigger(context_name="context")
def plain(context: task.OrchestrationContext, id: str) -> Any:
    yield context.call_activity("slow", input=id)
    yield context.call_activity("ends", input=id)


@bp.orchestration_trigger(context_name="context")
def meets_poison(context: task.OrchestrationContext, id: str) -> Any:
    try:
        yield context.call_activity("poison", input=id)
    except task.TaskFailedError as error:
        yield context.call_activity("ends", input=f"{id}: {error.details.message}")


@bp.orchestration_trigger(context_name="context")
def oversleeps(context: task.OrchestrationContext, id: str) -> Any:
    try:
        yield context.call_activity("sleeps", input=id)
    except task.TaskFailedError as error:
        yield context.call_activity("ends", input=f"{id}: {error.details.message}")


@bp.orchestration_trigger(context_name="context")
def is_quick(context: task.OrchestrationContext, id: str) -> Any:
    note("end", id=id)
    return id
    yield


@bp.orchestration_trigger(context_name="context")
def is_poison(context: task.OrchestrationContext, id: str) -> Any:
    os._exit(1)
    yield


@bp.activity_trigger(input_name="id")
async def slow(id: str) -> None:
    note("slow began", id=id)
    await asyncio.sleep(2)
    note("slow ended", id=id)


@bp.activity_trigger(input_name="id")
async def sleeps(id: str) -> None:
    note("sleeps", id=id)
    await asyncio.sleep(60)


@bp.activity_trigger(input_name="id")
async def poison(id: str) -> None:
    note("poison", id=id)
    os._exit(1)


@bp.activity_trigger(input_name="id")
async def ends(id: str) -> None:
    note("end", id=id)


@bp.warm_up_trigger(arg_name="instance")
async def warmup(instance: str) -> None:
    note("warm-up")
    if reason := os.environ.get("WARM_UP_BREAKS"):
        raise SettingsError(reason)


@bp.timer_trigger(arg_name="timer", schedule="%SWEEPER_SCHEDULE%", run_on_startup=True)
@bp.generic_input_binding(arg_name="hub", type="durableClient", durableRequiresGrpc=True)
async def sweep(timer: func.TimerRequest, hub: str) -> None:
    note("sweep", at=time.time(), rpc="rpcBaseUrl" in json.loads(hub))


app.register_functions(bp)
