"""The edge: principal in, error body out. Status codes and error bodies are made here and nowhere else."""

import asyncio
import logging
import math
import re
import secrets
import time
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

from azurefunctions.extensions.http.fastapi import Request, Response
from pydantic_core import to_json

import wiring
from access.keys import principal_of
from access.principals import Principal
from errors import (
    InvalidRequest,
    MethodNotAllowed,
    NotFound,
    RangeNotSatisfiable,
    ServiceError,
    StoreBroken,
    StoreUnavailable,
    TooLarge,
    TooSlow,
    Unauthorized,
)
from routes.cors import preflight, share
from routes.held_response import HeldResponse

logger = logging.getLogger("durable_assistants.http")

Act = Callable[[Principal], Awaitable[Response]]


class Failure(NamedTuple):
    status: int
    type: str


# A test checks that every error in errors.py has a row.
FAILURES: dict[type[ServiceError], Failure] = {
    InvalidRequest: Failure(400, "invalid_request_error"),
    Unauthorized: Failure(401, "invalid_request_error"),
    NotFound: Failure(404, "invalid_request_error"),
    MethodNotAllowed: Failure(405, "invalid_request_error"),
    TooSlow: Failure(408, "invalid_request_error"),
    TooLarge: Failure(413, "invalid_request_error"),
    RangeNotSatisfiable: Failure(416, "invalid_request_error"),
    StoreUnavailable: Failure(503, "server_error"),
    StoreBroken: Failure(503, "server_error"),
}

_API_VERSION = re.compile(r"\d{4}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])(-preview)?|v1|preview")


async def edge(request: Request, act: Act, *, name: str, needs_key: bool = True) -> Response:
    """Identify the caller, let `act` answer, and turn whatever it raises into the API's error body (E.11, J).

    A browser's preflight is answered here. `name` is what the log calls it.
    """
    began, arrived = time.perf_counter(), asyncio.get_running_loop().time()
    request_id = secrets.token_hex(16)
    settings = wiring.settings()
    try:
        response = preflight(request, settings.cors_origins)
        if response is None:
            is_openai, key = _is_openai_base(request.url.path), settings.assistants_api_key
            principal = principal_of(request.headers, key, openai_base=is_openai) if needs_key else Principal()
            check_api_version(request)
            response = await _in_time(act(principal))
    except ServiceError as error:
        response = _failed(error)
    except Exception:
        # The traceback alone: what was in the request or the thread is nobody's who reads logs.
        logger.exception("request %s: %s failed", request_id, name)
        response = _internal(request_id)
    headers = response.headers
    headers["x-request-id"] = request_id
    headers["openai-version"] = "2020-10-01"
    headers["openai-processing-ms"] = str(round((time.perf_counter() - began) * 1000))
    share(response, request, settings.cors_origins)
    limit = wiring.host().send_limit
    return response if limit is None else HeldResponse(response, arrived + limit)


async def _in_time(acting: Awaitable[Response]) -> Response:
    """Return the answer. Raises TooSlow before the host would end it, and everything else that its worker does."""
    limit = asyncio.timeout(wiring.host().time_limit)
    try:
        async with limit:
            return await acting
    except TimeoutError:
        if limit.expired():
            raise TooSlow("The request took too long. A large file can be sent in parts: POST /uploads.") from None
        raise


def _is_openai_base(path: str) -> bool:
    """Say whether the path is what clients of OpenAI make of a base URL that ends with v1 (A.1)."""
    return [segment.lower() for segment in path.split("/") if segment][1:2] == ["v1"]


def check_api_version(request: Request) -> None:
    """Any well-formed version will do, and none at all (A.2.2)."""
    version = request.query_params.get("api-version")
    if version is not None and not _API_VERSION.fullmatch(version):
        raise resource_not_found()


def resource_not_found() -> NotFound:
    """What the Azure gateway answered to a path or a version that it did not know."""
    return NotFound("Resource not found", code="404")


def _failed(error: ServiceError) -> Response:
    # Adapters raise kinds of their own of some.
    failure = next(FAILURES[kind] for kind in type(error).__mro__ if kind in FAILURES)
    response = _failure(failure, error.message, param=error.param, code=error.code)
    if isinstance(error, MethodNotAllowed):
        response.headers["allow"] = ", ".join(error.allowed)
    if isinstance(error, RangeNotSatisfiable):
        response.headers["content-range"] = f"bytes */{error.size}"
    if isinstance(error, StoreUnavailable):
        response.headers["retry-after"] = str(math.ceil(error.retry_after))
        response.headers["retry-after-ms"] = str(math.ceil(error.retry_after * 1000))
    return response


def _internal(request_id: str) -> Response:
    return _failure(
        Failure(500, "server_error"),
        "The server had an error while processing your request. Sorry about that! "
        f"(Please include the request ID {request_id} when you report it.)",
    )


def _failure(failure: Failure, message: str, *, param: str | None = None, code: str | None = None) -> Response:
    error = {"message": _writable(message), "type": failure.type, "param": param and _writable(param), "code": code}
    return json_response({"error": error}, failure.status)


def _writable(text: str) -> str:
    """A message may quote a path or a query that is not Unicode."""
    return text.encode("utf-8", "backslashreplace").decode()


def json_response(content: dict[str, Any], status: int = 200) -> Response:
    # Nothing that is not finite is stored any more, but older records may hold it: never send NaN.
    return Response(to_json(content, inf_nan_mode="null"), status, media_type="application/json")
