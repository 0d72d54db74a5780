"""The API key: `api-key: KEY` as on Azure, or `Authorization: Bearer KEY` as with OpenAI (A.3)."""

import hmac
from collections.abc import Mapping

from access.principals import Principal
from errors import Unauthorized

_REFUSAL = (
    "Access denied due to invalid subscription key or wrong API endpoint. Make sure to provide a valid key for an "
    "active subscription and use a correct regional API endpoint for your resource."
)
_BEARER = "bearer "


def principal_of(headers: Mapping[str, str], key: str) -> Principal:
    """Return the caller. Unauthorized unless one of the two headers holds `key`; nobody passes an empty one."""
    authorization = headers.get("authorization", "")
    token = authorization[len(_BEARER) :].strip() if authorization[: len(_BEARER)].lower() == _BEARER else ""
    # Both are compared, and each in constant time: how long a refusal takes tells nothing about the key.
    valid = [_same(headers.get("api-key", ""), key), _same(token, key)]
    if not key or not any(valid):
        raise Unauthorized(_REFUSAL, code="401")
    return Principal()


def _same(given: str, key: str) -> bool:
    return hmac.compare_digest(given.encode("utf-8", "surrogateescape"), key.encode())
