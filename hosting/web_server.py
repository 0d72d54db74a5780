"""The web server of the Functions Python worker, with nothing of its own between the host and our functions.

The FastAPI extension's has routes (`/docs`, `/redoc`, `/openapi.json`), redirects for slashes, 405s, and a catch-all
that matches no line break. Whatever it answers by itself leaves the request's invocation waiting (hosting/pairs.py).
"""

import json
import logging
from collections.abc import Awaitable, Callable
from typing import Any

import uvicorn
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

logger = logging.getLogger("durable_assistants.http")

Answer = Callable[[Request], Awaitable[Response]]

MESSAGE = "The server had an error while processing your request. Sorry about that!"
_FAILED = json.dumps({"error": {"message": MESSAGE, "type": "server_error", "param": None, "code": None}})


def web_app_class(request_type: type[Request]) -> type:
    """Return what stands in for the extension's WebApp: one route, for every path and method."""

    class WebApp:
        def __init__(self) -> None:
            self._answer: Answer | None = None

        def route(self, answer: Answer) -> Answer:
            """Called once, as a decorator, with the worker library's function that joins the halves."""
            self._answer = answer
            return answer

        def get_app(self) -> "WebApp":
            return self

        async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
            assert self._answer is not None
            scope["path_params"] = {}  # where the library puts those of the function's route
            sent = _Sent(send)
            try:
                response = await self._answer(request_type(scope, receive, send))
                await response(scope, receive, sent)
            except ClientDisconnect:  # while its body was read, or its stream sent: no failure of ours
                return
            except Exception as error:  # noqa: BLE001  # as the edge, for what is outside of it
                # The traceback is where the function was; a missing half has none worth reading.
                logger.error("A request failed in the worker: %s", type(error).__name__)
                if not sent.begun:
                    await Response(_FAILED, 500, media_type="application/json")(scope, receive, send)

    return WebApp


class _Sent:
    """Notes whether an answer has begun."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.begun = False

    async def __call__(self, message: Any) -> None:
        self.begun = True
        await self._send(message)


class WebServer:
    """Stands in for the extension's WebServer."""

    def __init__(self, hostname: str, port: int, web_app: Any) -> None:
        self.hostname = hostname
        self.port = port
        self.web_app = web_app.get_app()

    async def serve(self) -> None:
        await uvicorn.Server(self.config()).serve()

    def config(self) -> uvicorn.Config:
        """No websockets, whatever is installed: an offer of one would leave its invocation waiting.

        Parsed by h11, whatever is installed: with httptools a request that offers an upgrade loses its body. Nothing is
        logged of single requests, and nothing believed of what a client says of proxies.
        """
        return uvicorn.Config(
            self.web_app,
            host=self.hostname,
            port=self.port,
            http="h11",
            ws="none",
            lifespan="off",
            access_log=False,
            log_config=None,
            server_header=False,
            proxy_headers=False,
        )
