"""The API key: `api-key: KEY` as on Azure, or `Authorization: Bearer KEY` as with OpenAI (A.3)."""

import hmac
from collections.abc import Mapping

from access.principals import Principal
from errors import Unauthorized

_AZURE_REFUSAL = (
    "Access denied due to invalid subscription key or wrong API endpoint. Make sure to provide a valid key for an "
    "active subscription and use a correct regional API endpoint for your resource."
)
_OPENAI_NO_KEY = (
    "You didn't provide an API key. You need to provide your API key in an Authorization header using Bearer auth "
    "(i.e. Authorization: Bearer YOUR_KEY)."
)
_BEARER = "bearer "
_RECOGNIZABLE = 4  # last characters of a wrong key that are shown, if it is long enough to be none the weaker


def principal_of(headers: Mapping[str, str], key: str, *, openai_base: bool = False) -> Principal:
    """Return the caller. Unauthorized unless one of the two headers holds `key`; nobody passes an empty one.

    `openai_base`: the refusal is in OpenAI's words, not in Azure's (J.1).
    """
    authorization = headers.get("authorization", "")
    token = authorization[len(_BEARER) :].strip() if authorization[: len(_BEARER)].lower() == _BEARER else ""
    api_key = headers.get("api-key", "")
    # Both are compared, and each in constant time: how long a refusal takes tells nothing about the key.
    valid = [_same(api_key, key), _same(token, key)]
    if not key or not any(valid):
        raise _openai_refusal(token or api_key) if openai_base else Unauthorized(_AZURE_REFUSAL, code="401")
    return Principal()


def _same(given: str, key: str) -> bool:
    return hmac.compare_digest(given.encode("utf-8", "surrogateescape"), key.encode())


def _openai_refusal(given: str) -> Unauthorized:
    message = f"Incorrect API key provided: {_masked(given)}." if given else _OPENAI_NO_KEY
    return Unauthorized(message, code="invalid_api_key")


def _masked(key: str) -> str:
    """What is nearly the right key is nearly as secret; its end tells its owner which one it was."""
    return f"****{key[-_RECOGNIZABLE:]}" if len(key) >= 8 * _RECOGNIZABLE else "****"
