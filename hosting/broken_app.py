"""What stands in Azure for an app that doesn't load: it says so.

There an app whose indexing fails runs without functions: every path is 404 with an empty body, and the reason is in
the log alone. This one has no orchestrator, activity or timer either, so the hub's work waits untouched.
"""

import json
import logging
import re
from collections.abc import Callable
from dataclasses import fields
from typing import Any

import azure.functions as func

from hosting import configuration
from settings import Settings, SettingsError, is_azure

logger = logging.getLogger("durable_assistants.hosting")

ALL_METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"]
MESSAGE = "This service is not set up correctly and can't answer. Its health says what is wrong."
_SETTINGS = {name.upper() for name in (*(field.name for field in fields(Settings)), *configuration.NAMES)}

MakeResponse = Callable[[dict[str, Any]], Any]


def or_broken(make_app: Callable[[], func.FunctionRegister]) -> func.FunctionRegister:
    """Return the app; in Azure, if it can't be made, one that says so.

    Elsewhere whatever is raised passes on: the host says it.
    """
    try:
        return make_app()
    except Exception as error:
        if not is_azure():
            raise
        logger.critical("The app does not load. %s: %s", type(error).__name__, " ".join(str(error).split()))
        return broken_app(reason_of(error))


def reason_of(error: Exception) -> str:
    """Name the setting that is wrong, never its value; of anything else only that it was found at import."""
    if not isinstance(error, SettingsError):
        return "import"
    named = [word for word in re.findall(r"\w+", str(error)) if word.upper() in _SETTINGS and not word.islower()]
    return ", ".join(dict.fromkeys(named)) or "settings"


def broken_app(reason: str) -> func.FunctionRegister:
    app = func.FunctionApp(http_auth_level=func.AuthLevel.ANONYMOUS)
    request_type, response_type, unavailable = _http()

    async def get_health(req: Any) -> Any:
        return unavailable({"status": "broken", "reason": reason})

    async def zz_broken(req: Any) -> Any:
        error = {"message": MESSAGE, "type": "server_error", "param": None, "code": None}
        return unavailable({"error": error})

    for function, route, methods in ((get_health, "openai/health", ["GET"]), (zz_broken, "{*path}", ALL_METHODS)):
        # The worker looks at the types to tell which of its two ways of HTTP a function is for.
        function.__annotations__ = {"req": request_type, "return": response_type}
        app.function_name(function.__name__)(app.route(route=route, methods=methods)(function))
    return app


def _http() -> tuple[type, type, MakeResponse]:
    """The types of request and response, and what makes a 503: of the FastAPI extension, or plain ones without it."""
    try:
        from azurefunctions.extensions.http.fastapi import JSONResponse, Request, Response
    except Exception:  # noqa: BLE001  # whatever keeps it from loading may be the very reason why we are here
        return func.HttpRequest, func.HttpResponse, _plain
    return Request, Response, lambda content: JSONResponse(content, 503)


def _plain(content: dict[str, Any]) -> func.HttpResponse:
    return func.HttpResponse(json.dumps(content), status_code=503, mimetype="application/json")
