"""Programs in browsers: which pages may call the service, as the Fetch standard lets it say (CORS).

Callers identify themselves by a key in a header, never by cookies: credentials in the sense of that standard
are not allowed, so that any origin may be named, and all of them.
"""

import re
from collections.abc import Sequence

from azurefunctions.extensions.http.fastapi import Request, Response

ANY = "*"
_METHODS = "GET, POST, PUT, PATCH, DELETE, HEAD, OPTIONS"
# What else of an answer a page may read than its body: whatever a client library looks at.
_EXPOSED = (
    "x-request-id, openai-poll-after-ms, openai-processing-ms, openai-version, retry-after, retry-after-ms, "
    "content-disposition, content-range"
)
_HEADER_NAMES = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~, -]+")
_PORT = re.compile(r":\d+$")
_REMEMBERED = 7200  # seconds; browsers remember a preflight for no longer


def preflight(request: Request, origins: Sequence[str]) -> Response | None:
    """Return the answer to a browser that asks whether it may send a request; None for any other request.

    It comes without a key, since a browser asks without one, and to every path. An origin that is not among
    `origins` gets it without the headers that would allow anything.
    """
    headers = request.headers
    asks = request.method == "OPTIONS" and "origin" in headers and "access-control-request-method" in headers
    if not (origins and asks):
        return None
    response = Response(status_code=204)
    if allowed_origin(headers["origin"], origins):
        response.headers["access-control-allow-methods"] = _METHODS
        response.headers["access-control-max-age"] = str(_REMEMBERED)
        # Named, not "*": that would leave out Authorization.
        wanted = headers.get("access-control-request-headers", "")
        if _HEADER_NAMES.fullmatch(wanted):
            response.headers["access-control-allow-headers"] = wanted
    return response


def share(response: Response, request: Request, origins: Sequence[str]) -> None:
    """Let the page that asked read the response, if its origin is among `origins`."""
    if not origins:
        return
    # For caches: another origin gets another answer.
    response.headers.add_vary_header("Origin")
    if allowed := allowed_origin(request.headers.get("origin", ""), origins):
        response.headers["access-control-allow-origin"] = allowed
        response.headers["access-control-expose-headers"] = _EXPOSED


def allowed_origin(origin: str, origins: Sequence[str]) -> str:
    """Return what Access-Control-Allow-Origin has to say to that origin, "" if it may not be served.

    `http://localhost:*` among the origins means any port, `*` anything.
    """
    if ANY in origins:
        return ANY
    lower = origin.lower()
    return origin if lower in origins or f"{_PORT.sub('', lower)}:*" in origins else ""
