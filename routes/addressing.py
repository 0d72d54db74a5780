"""Other ways to the same operations: the base URLs of clients that were made for other hosts (A.1).

The Functions host takes the first matching route in the alphabetical order of the functions' names,
so the fallback is named to come last. It gets every path that no other function takes, but the host's own
(`/admin/…`, `/runtime/webhooks/…`) and those that begin with a doubled slash, which the host answers with an
empty 404. A function cannot call another one: these look up the plain handlers in the table of operations.
"""

import azure.durable_functions as df
from azurefunctions.extensions.http.fastapi import Request, Response

from access.principals import Principal
from errors import MethodNotAllowed, NotFound
from routes.edge import edge, resource_not_found
from routes.operation import BASE, OPERATIONS, Handler, Operation, call_of, http_function

bp = df.Blueprint()

ALL_METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"]
ALIASES = {
    "v1_alias": f"{BASE}/v1/{{*path}}",
    "deployments_alias": f"{BASE}/deployments/{{deployment}}/{{*path}}",
}

# Parts of the hosted API that this service is going to offer.
NOT_YET = ("chat/completions", "embeddings", "models", "vector_stores")


def resolve(method: str, path: str) -> tuple[Handler, dict[str, str]]:
    """Return the operation and its path parameters.

    Forgives doubled and trailing slashes and the case of the path's words (A.1.5). Raises NotFound,
    MethodNotAllowed.
    """
    segments = _without_base([segment for segment in path.split("/") if segment])
    there = [operation for operation in OPERATIONS if _matches(operation, segments)]
    if not there:
        raise _unknown(segments)
    allowed = [operation for operation in there if operation.method == method]
    if not allowed:
        methods = [operation.method for operation in there]
        raise MethodNotAllowed(f"Not allowed to {method} on /{'/'.join(segments)}.", allowed=methods)
    # threads/runs is the word's operation, not that of a thread called runs.
    best = min(allowed, key=lambda operation: sum(map(_is_parameter, operation.segments)))
    return best.handler, _parameters(best, segments)


def _without_base(segments: list[str]) -> list[str]:
    match [segment.lower() for segment in segments[:2]]:
        case ["v1", *_]:
            return segments[1:]
        case ["deployments", _]:
            return segments[2:]
        case _:
            return segments


def _unknown(segments: list[str]) -> NotFound:
    path = "/".join(segments).lower()
    for later in NOT_YET:
        if path == later or path.startswith(f"{later}/"):
            return NotFound(f"'{later}' is not available on this service yet. It comes in a later version.")
    return resource_not_found()


def _matches(operation: Operation, segments: list[str]) -> bool:
    return len(operation.segments) == len(segments) and all(
        _is_parameter(word) or word == segment.lower()
        for word, segment in zip(operation.segments, segments, strict=True)
    )


def _parameters(operation: Operation, segments: list[str]) -> dict[str, str]:
    pairs = zip(operation.segments, segments, strict=True)
    return {word.strip("{}"): segment for word, segment in pairs if _is_parameter(word)}


def _is_parameter(word: str) -> bool:
    return word.startswith("{")


async def answer(req: Request, hub: str) -> Response:
    """Answer under another base URL."""
    return await _answer(req, req.path_params.get("path") or "", hub)


async def fall_back(req: Request, hub: str) -> Response:
    """Answer what no other function takes: under the base in a spelling of the client's own, or outside of it."""
    path = req.path_params.get("path") or ""
    base, _, rest = path.partition("/")
    if base.lower() == BASE:
        return await _answer(req, rest, hub)
    return await edge(req, _nothing, name=_name(req, path), needs_key=False)


async def _answer(req: Request, path: str, hub: str) -> Response:
    async def act(principal: Principal) -> Response:
        handler, params = resolve(req.method, path)
        return await handler(call_of(req, params, principal, hub))

    return await edge(req, act, name=_name(req, path))


async def _nothing(principal: Principal) -> Response:
    raise resource_not_found()


def _name(req: Request, path: str) -> str:
    # Quoted: a path may hold line breaks, which would look like lines of the log.
    return f"{req.method} {path[:200]!r}"


for name, route in ALIASES.items():
    http_function(bp, route, ALL_METHODS, name, answer)
http_function(bp, "{*path}", ALL_METHODS, "zz_fallback", fall_back)
