"""Puts our parts into the Functions Python worker's library, where that is the one we know."""

import inspect
import logging
from typing import Any

from hosting.pairs import Pairs

logger = logging.getLogger("durable_assistants.hosting")

# The methods of HttpCoordinator that ours take the place of, with their parameters.
_METHODS = {
    "set_http_request": ["self", "invoc_id", "http_request"],
    "get_http_request_async": ["self", "invoc_id"],
    "set_http_response": ["self", "invoc_id", "http_response"],
    "await_http_response_async": ["self", "invoc_id"],
}


def mend_worker() -> Pairs | None:
    """Have the worker library join requests in our way; to be called before it starts its web server.

    Returns what holds the requests under way. Where the library has other parts than expected, or isn't there,
    nothing is changed, one line is logged and None returned: the app works, with the library's own faults.
    """
    try:
        from azure_functions_runtime import http_v2
        from azurefunctions.extensions.base import ModuleTrackerMeta, RequestTrackerMeta
        from azurefunctions.extensions.http.fastapi import web

        coordinator: Any = http_v2.HttpCoordinator
        if mended := vars(coordinator).get("mended"):  # the worker may load the app a second time
            return mended
        _expect(ModuleTrackerMeta.get_module() == web.__name__, "the module of the web server")
        _expect({"WebApp", "WebServer"} <= vars(web).keys(), "the classes of the web server")
        for name, parameters in _METHODS.items():
            found = list(inspect.signature(getattr(coordinator, name)).parameters)
            _expect(found == parameters, f"HttpCoordinator.{name}")
        request_type: Any = RequestTrackerMeta.get_request_type()
        _expect(request_type is not None, "the type of a request")
    except (ImportError, AttributeError, _Unexpected) as error:
        logger.warning("The worker's HTTP side is not mended, its library is another one: %s.", error)
        return None
    from hosting.web_server import WebServer, web_app_class

    coordinator.mended = pairs = Pairs()
    for name in _METHODS:
        setattr(coordinator, name, _delegating(getattr(pairs, name)))
    setattr(web, "WebApp", web_app_class(request_type))  # noqa: B010
    setattr(web, "WebServer", WebServer)  # noqa: B010
    return pairs


class _Unexpected(Exception):
    pass


def _expect(holds: bool, what: str) -> None:
    if not holds:
        raise _Unexpected(what)


def _delegating(method: Any) -> Any:
    """A method of the coordinator that leaves the coordinator's own state alone."""

    def delegate(self: Any, *arguments: Any) -> Any:
        return method(*arguments)

    return delegate
