"""What a chat-completions endpoint answers when it doesn't answer, in our words (E.12)."""

import contextlib
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from ports.language_model import ModelRefused, ModelThrottled, ModelUnavailable

ModelError = ModelThrottled | ModelUnavailable | ModelRefused

MAX_MESSAGE = 500  # characters of the endpoint's own text that we pass on
_TRANSIENT = {408, 409, 425}  # besides 5xx
_BAD_INPUT = {400, 413, 422}
_REQUEST_IDS = ("x-request-id", "apim-request-id")
_CONTENT_FILTER = {"content_filter", "ResponsibleAIPolicyViolation"}


def error_of(status: int, body: object, headers: Mapping[str, str], *, model: str) -> ModelError:
    """The error that an HTTP status, the `error` member of the body and the headers stand for."""
    return _traceable(_of_status(status, body, headers, model=model), headers)


def _of_status(status: int, body: object, headers: Mapping[str, str], *, model: str) -> ModelError:
    detail = body if isinstance(body, dict) else {}
    said = _said(detail)
    if status == 429:
        return _throttled(detail, said, headers)
    if status >= 500 or status in _TRANSIENT:
        return ModelUnavailable(f"The model endpoint answered {status}. {said}".strip())
    if _codes(detail) & _CONTENT_FILTER:
        return ModelRefused("invalid_prompt", _filtered(said))
    if status in (401, 403):
        return ModelRefused("server_error", f"The model endpoint refused our key or identity ({status}).")
    if status == 404:
        return ModelRefused("server_error", _not_found(model[:100], said))
    if status in _BAD_INPUT:
        return ModelRefused("invalid_prompt", said or f"The model endpoint refused the request ({status}).")
    return ModelRefused("server_error", f"The model endpoint answered {status}. {said}".strip())


def error_in_stream(body: object, headers: Mapping[str, str], *, model: str) -> ModelError:
    """The error that came as an event, after a status 200. Some endpoints put a status in its code."""
    detail = body if isinstance(body, dict) else {"message": str(body)}
    with contextlib.suppress(TypeError, ValueError):  # most codes are words
        status = int(detail.get("code") or detail.get("status") or 0)
        if 400 <= status <= 599:
            return error_of(status, detail, headers, model=model)
    if _codes(detail) & _CONTENT_FILTER:
        return _traceable(ModelRefused("invalid_prompt", _filtered(_said(detail))), headers)
    return _traceable(ModelUnavailable(f"The model endpoint broke off. {_said(detail)}".strip()), headers)


def refuses(status: int, body: object, parameter: str) -> bool:
    """Whether the endpoint's complaint is that it does not know this parameter."""
    if status not in (400, 422):
        return False
    detail = body if isinstance(body, dict) else {"message": str(body)}
    param = detail.get("param")
    if isinstance(param, str) and param:
        return param.partition(".")[0] == parameter
    return parameter in str(body)


def _traceable(error: ModelError, headers: Mapping[str, str]) -> ModelError:
    """Add the endpoint's request id, by which its operators find what happened (E.12.1)."""
    request_id = next((headers[name] for name in _REQUEST_IDS if headers.get(name)), None)
    if request_id:
        error.message = f"{error.message} (Request ID of the model endpoint: {request_id[:100]})"
    return error


def _not_found(model: str, said: str) -> str:
    if said:
        return f"The model endpoint does not know the model '{model}'. {said}"
    return f"The model endpoint answered 404: no model '{model}', or no chat completions at its address."


def _throttled(detail: dict[str, Any], said: str, headers: Mapping[str, str]) -> ModelThrottled:
    quota = "insufficient_quota" in _codes(detail)
    return ModelThrottled(said or "The model endpoint is busy.", retry_after=_retry_after(headers), quota=quota)


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


def _codes(detail: dict[str, Any]) -> set[str]:
    inner = detail.get("innererror")
    codes = [detail.get("code"), detail.get("type"), inner.get("code") if isinstance(inner, dict) else None]
    return {code for code in codes if isinstance(code, str)}


def _said(detail: dict[str, Any]) -> str:
    message = detail.get("message") or detail.get("detail") or ""
    return " ".join(str(message).split())[:MAX_MESSAGE]


def _filtered(said: str) -> str:
    if "content management policy" in said:
        return said
    return f"The prompt was refused by the model's content management policy. {said}".strip()
