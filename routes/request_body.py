"""From the bytes of a request to a checked shape. Whatever comes in, it ends in a shape or an InvalidRequest."""

import math
import re
from typing import Any

from pydantic import ValidationError
from pydantic_core import from_json
from starlette.requests import ClientDisconnect, Request

from errors import InvalidRequest, TooLarge
from routes.request_errors import invalid_request, type_name
from schemas.shape import Shape

MAX_BODY = 4_000_000  # bytes; nothing that could be stored comes near
_MAX_DEPTH = 100  # stores and models have limits of their own, not far above
_MAX_INTEGER = 2**63 - 1

# What a JSON text must hold for its values to need a closer look: NUL, a number that may be beyond 64
# bit or infinite, or a great many brackets.
_SUSPICIOUS = re.compile(rb"\\u0000|\d{19}|[eE]\+?\d{3}")


async def read_body[S: Shape](request: Request, schema: type[S]) -> S:
    """Return the request's JSON body in its shape; an empty body is {}, and so is `null`, which some clients send
    where they have nothing to say.

    Raises InvalidRequest with J.3's texts, TooLarge.
    """
    return parse_body(await _read(request), schema)


def parse_body[S: Shape](raw: bytes, schema: type[S]) -> S:
    try:
        return schema.model_validate(_parse(raw))
    except ValidationError as error:
        raise invalid_request(error) from None


async def _read(request: Request) -> bytes:
    raw = bytearray()
    try:
        async for chunk in request.stream():
            raw += chunk
            if len(raw) > MAX_BODY:
                raise TooLarge(f"The request's body is too large. The limit is {MAX_BODY} bytes.")
    except ClientDisconnect:
        raise InvalidRequest("The request's body ended too early.") from None
    return bytes(raw)


def _parse(raw: bytes) -> dict[str, Any]:
    if not raw.strip():
        return {}
    try:
        data = from_json(raw, allow_inf_nan=False)
    except ValueError as error:
        raise InvalidRequest(f"We could not parse the JSON body of your request: {error}.") from None
    if data is None:
        return {}
    if not isinstance(data, dict):
        raise InvalidRequest(
            f"Invalid type for the request's body: expected an object, but got {type_name(data)} instead.",
            code="invalid_type",
        )
    if _SUSPICIOUS.search(raw) or raw.count(b"[") + raw.count(b"{") > _MAX_DEPTH:
        _check_values(data)
    return data


def _check_values(data: dict[str, Any]) -> None:
    """Refuse values that JSON can say but a store cannot keep."""
    level: list[Any] = [data]
    for _ in range(_MAX_DEPTH):
        if not level:
            return
        level = [member for value in level for member in _members(value)]
    raise InvalidRequest(f"The JSON body of your request is nested more than {_MAX_DEPTH} levels deep.")


def _members(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return [*value.keys(), *value.values()]
    if isinstance(value, list):
        return value
    if isinstance(value, str) and "\0" in value:
        raise InvalidRequest("The JSON body of your request holds a NUL character, which cannot be stored.")
    if isinstance(value, float) and not math.isfinite(value):
        raise InvalidRequest("The JSON body of your request holds a number that is not finite.")
    if isinstance(value, int) and not -_MAX_INTEGER <= value <= _MAX_INTEGER:
        raise InvalidRequest("The JSON body of your request holds an integer beyond 64 bit.")
    return []
