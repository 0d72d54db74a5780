"""Operations: plain handlers in one table, each registered as an HTTP-triggered function of its own."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

import azure.durable_functions as df
from azurefunctions.extensions.http.fastapi import Request, Response

import wiring
from access.principals import Principal
from ports.documents import Documents
from ports.task_hub import TaskHub
from routes.edge import edge, json_response
from routes.request_body import read_body
from schemas.shape import Shape
from settings import Settings


@dataclass(frozen=True, slots=True)
class Call:
    """One authenticated request, and what there is to answer it with."""

    request: Request
    params: Mapping[str, str]  # from the path
    principal: Principal
    documents: Documents
    hub: TaskHub
    settings: Settings

    async def body[S: Shape](self, schema: type[S]) -> S:
        """Return the checked body. InvalidRequest with J.3's texts; an empty body or `null` is {}."""
        return await read_body(self.request, schema)


Handler = Callable[[Call], Awaitable[Response]]


@dataclass(frozen=True, slots=True)
class Operation:
    method: str
    segments: tuple[str, ...]  # of the route: words, and {parameters}
    handler: Handler


OPERATIONS: list[Operation] = []

# Part of each route instead of being host.json's prefix: so that the app, not the host, answers whatever a client makes
# of it. One .NET client begins all its paths with `/openai//`.
BASE = "openai"


def operation(bp: df.Blueprint, method: str, route: str, *, needs_key: bool = True) -> Callable[[Handler], Handler]:
    """Enter the handler into the table, and register a function that is named like it."""

    def register(handler: Handler) -> Handler:
        OPERATIONS.append(Operation(method, tuple(route.split("/")), handler))

        async def function(req: Request, hub: str) -> Response:
            async def act(principal: Principal) -> Response:
                return await handler(call_of(req, req.path_params, principal, hub))

            return await edge(req, act, name=handler.__name__, needs_key=needs_key)

        http_function(bp, f"{BASE}/{route}", [method], handler.__name__, function)
        return handler

    return register


def http_function(
    bp: df.Blueprint,
    route: str,
    methods: list[str],
    name: str,
    function: Callable[[Request, str], Awaitable[Response]],
) -> None:
    """Register the function, with the settings of the durable client as its `hub`.

    Methods are always named: a function that names none is given every one by the host, made-up ones too.
    """
    # The client's settings only: one client is made of them per process and kept (wiring).
    bound = bp.generic_input_binding(arg_name="hub", type="durableClient", durableRequiresGrpc=True)(function)
    bp.function_name(name)(bp.route(route=route, methods=methods)(bound))


def call_of(request: Request, params: Mapping[str, str], principal: Principal, hub: str) -> Call:
    return Call(request, params, principal, wiring.documents(), wiring.task_hub(hub), wiring.settings())


def reply(resource: dict[str, Any], headers: Mapping[str, str] | None = None) -> Response:
    response = json_response(resource)
    if headers:
        response.headers.update(headers)
    return response
