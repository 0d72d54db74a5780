"""What a chat-completions endpoint answers when it doesn't answer, in our words (E.12).

Endpoints say what is wrong in many shapes: an `error` that is an object, a text or a list, plain text, the
members of an error at the top, with an HTTP status of failure or of success. All become a `Complaint` first.
"""

import contextlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from itertools import islice
from typing import Any

from ports.language_model import ModelRefused, ModelThrottled, ModelUnavailable
from texts import whole

ModelError = ModelThrottled | ModelUnavailable | ModelRefused

MAX_MESSAGE = 500  # characters of the endpoint's own text that we pass on
_DEPTH = 6  # levels of nesting that are looked at
_MEMBERS = 200  # members that are looked at
_LONG_KEY = 16  # characters; a shorter key may be a word that also means itself

_TRANSIENT = {408, 409, 425}  # besides 5xx
_BAD_INPUT = {400, 413, 422}
_REQUEST_IDS = ("x-request-id", "apim-request-id")
_CONTENT_FILTER = {"content_filter", "responsibleaipolicyviolation"}

# Where endpoints say what is wrong, the likeliest first.
_SAYING = (
    *("message", "msg", "detail", "error", "errors", "error_description", "error_message"),
    *("description", "reason", "title", "innererror"),
)
_NAMING = ("code", "type", "status", "error_code", "error_type", "reason")
_STATUS = ("code", "status", "status_code", "statuscode", "http_status", "http_code", "error_code")
# What names tell where no number does.
_STATUS_OF_NAME = {
    **dict.fromkeys(("invalid_request_error", "badrequesterror", "bad_request_error", "bad_request"), 400),
    **dict.fromkeys(("invalid_argument", "failed_precondition", "context_length_exceeded", "invalid_prompt"), 400),
    **dict.fromkeys(("validation_error", "unprocessable_entity", "unprocessableentityerror"), 422),
    **dict.fromkeys(("authentication_error", "authenticationerror", "unauthenticated", "invalid_api_key"), 401),
    **dict.fromkeys(("permission_error", "permission_denied", "permissiondeniederror"), 403),
    **dict.fromkeys(("not_found_error", "notfounderror", "model_not_found", "not_found"), 404),
    **dict.fromkeys(("request_too_large",), 413),
    **dict.fromkeys(("rate_limit_error", "rate_limit_exceeded", "ratelimiterror", "resource_exhausted"), 429),
    **dict.fromkeys(("too_many_requests", "insufficient_quota"), 429),
}


@dataclass(frozen=True, slots=True)
class Complaint:
    """What an endpoint says is wrong.

    `status` is the HTTP status that it amounts to, None if nothing tells. `words` are for people: one line of
    at most MAX_MESSAGE characters, without our key. `names` are its codes and types in lower case, `param` is the
    parameter that it names as such; `text` is all that it says, to be searched, never shown.
    """

    status: int | None
    words: str
    names: frozenset[str]
    param: str
    text: str


def complaint(body: object, *, key: str, status: int | None = None) -> Complaint:
    """Read what came with `status`, the HTTP status of the answer if that was one of failure."""
    members = list(islice(_members(body), _MEMBERS))
    names = frozenset(value.lower() for name, value in members if name in _NAMING and isinstance(value, str))
    param = next((value for name, value in members if name == "param" and isinstance(value, str)), "")
    words = _without(_said(body) or _as_it_is(body), key)[:MAX_MESSAGE]
    return Complaint(_status(status, members, names), words, names, param, _text(body, members))


def error_of(said: Complaint, headers: Mapping[str, str], *, model: str) -> ModelError:
    """The error that a complaint stands for, with the request id by which the endpoint's operators find it (E.12.1)."""
    error = _error_of(said, headers, model)
    request_id = next((headers[name] for name in _REQUEST_IDS if headers.get(name)), None)
    if request_id:
        error.message = f"{error.message} (Request ID of the model endpoint: {request_id[:100]})"
    return error


def _error_of(said: Complaint, headers: Mapping[str, str], model: str) -> ModelError:
    status, words = said.status, said.words
    if status == 429:
        quota = "insufficient_quota" in said.names
        return ModelThrottled(words or "The model endpoint is busy.", retry_after=_retry_after(headers), quota=quota)
    if said.names & _CONTENT_FILTER and not (status and status >= 500):
        return ModelRefused("invalid_prompt", _filtered(words))
    if status is None:
        return ModelUnavailable(f"The model endpoint broke off. {words}".strip())
    if status >= 500 or status in _TRANSIENT:
        return ModelUnavailable(f"The model endpoint answered {status}. {words}".strip())
    if status in (401, 403):
        return ModelRefused("server_error", f"The model endpoint refused our key or identity ({status}).")
    if status == 404:
        return ModelRefused("server_error", _not_found(model[:100], words))
    if status in _BAD_INPUT:
        return ModelRefused("invalid_prompt", words or f"The model endpoint refused the request ({status}).")
    return ModelRefused("server_error", f"The model endpoint answered {status}. {words}".strip())


def _members(value: object, depth: int = 0) -> Iterator[tuple[str, object]]:
    """Every member of the objects in it, those of the outer ones first."""
    if depth > _DEPTH:
        return
    if isinstance(value, dict):
        yield from ((str(name).lower(), member) for name, member in value.items())
    for member in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from _members(member, depth + 1)


def _status(outer: int | None, members: list[tuple[str, Any]], names: frozenset[str]) -> int | None:
    """A 4xx is final wherever it stands: also in the body of a 200, or of the 500 of a proxy."""
    inner = next((status for name, value in members if name in _STATUS and (status := _number(value))), None)
    if outer is None:
        return inner or next((_STATUS_OF_NAME[name] for name in sorted(names) if name in _STATUS_OF_NAME), None)
    return inner if outer >= 500 and inner and inner < 500 else outer


def _number(value: object) -> int | None:
    if isinstance(value, str) and re.fullmatch(r"\d{3}", value, re.ASCII):
        value = int(value)
    return value if isinstance(value, int) and 400 <= value <= 599 else None


def _said(value: object, depth: int = 0) -> str:
    """The first words in it that say something."""
    if isinstance(value, str):
        return _line(value, depth)
    if depth > _DEPTH:
        return ""
    if isinstance(value, dict):
        found = [value[name] for name in _SAYING if name in value]
        said = next((said for member in found if (said := _said(member, depth + 1))), "")
        place = value.get("loc")  # pydantic's
        return f"{'.'.join(map(str, place))}: {said}" if said and isinstance(place, list) else said
    members = value if isinstance(value, list) else []
    return next((said for member in members if (said := _said(member, depth + 1))), "")


def _line(text: str, depth: int) -> str:
    if text.lstrip()[:1] in ("{", "[") and depth < _DEPTH:
        with contextlib.suppress(ValueError, RecursionError):  # JSON in a text, as proxies pass it on
            if said := _said(json.loads(text), depth + 1):
                return said
    if text.lstrip()[:1] == "<":  # a web page, for nobody to read here
        return ""
    return " ".join("".join(c if c.isprintable() else " " for c in whole(text)).split())


def _as_it_is(body: object) -> str:
    """What says nothing in words that we know is shown to whoever knows it."""
    with contextlib.suppress(TypeError, ValueError, RecursionError):
        return _line(json.dumps(body), _DEPTH) if body and not isinstance(body, str) else ""
    return ""


def _text(body: object, members: list[tuple[str, Any]]) -> str:
    texts = [body] if isinstance(body, str) else []
    for _, value in members:
        texts += [each for each in (value if isinstance(value, list) else [value]) if isinstance(each, str)]
    return " ".join(texts)


def _without(words: str, key: str) -> str:
    """Take our key out, where it stands as a value: a short one may also be part of other words."""
    if not key:
        return words
    if len(key) >= _LONG_KEY:
        return words.replace(key, "***")
    return re.sub(rf"(?<![\w-]){re.escape(key)}(?![\w-])", "***", words)


def _not_found(model: str, words: str) -> str:
    if words:
        return f"The model endpoint does not know the model '{model}'. {words}"
    return f"The model endpoint answered 404: no model '{model}', or no chat completions at its address."


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds, from `retry-after-ms` or `retry-after` (a number or an HTTP date)."""
    with contextlib.suppress(KeyError, ValueError):
        return max(0.0, float(headers["retry-after-ms"]) / 1000)
    value = headers.get("retry-after", "")
    with contextlib.suppress(ValueError):
        return max(0.0, float(value))
    with contextlib.suppress(ValueError):
        return max(0.0, (parsedate_to_datetime(value) - datetime.now(UTC)).total_seconds())
    return None


def _filtered(words: str) -> str:
    if "content management policy" in words:
        return words
    return f"The prompt was refused by the model's content management policy. {words}".strip()
