"""The language model behind any chat-completions endpoint, through the `openai` SDK.

Named by our own settings only. The SDK's environment variables (OPENAI_BASE_URL, OPENAI_API_KEY, …)
are what clients of this service set; reading them would make the service call itself.
"""

import asyncio
import json
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import fields
from typing import Any, cast

import httpx2
from openai import (
    APIConnectionError,
    APIError,
    APIStatusError,
    APITimeoutError,
    AsyncOpenAI,
    AsyncStream,
    DefaultAioHttpClient,
    Timeout,
)

from adapters.openai_answers import Answer
from adapters.openai_errors import error_in_stream, error_of, refuses
from ports.language_model import ChatRequest, ModelRefused, ModelUnavailable, Piece
from settings import Settings

logger = logging.getLogger("durable_assistants.model")

CONNECT_TIMEOUT = 5.0  # seconds
SILENCE_TIMEOUT = 60.0  # seconds without a byte
# Seconds that an idle connection is kept, so that the next run need not open one: shorter than what gateways
# in between usually keep theirs (60 s and more).
IDLE_TIMEOUT = 50.0
UNREACHABLE = "The model endpoint could not be reached."
_MEMBERS = tuple(field.name for field in fields(ChatRequest))
_AZURE_SCOPE = "https://cognitiveservices.azure.com/.default"

# What older endpoints don't know, and what they know instead (None: nothing).
_INSTEAD: dict[str, str | None] = {"stream_options": None, "max_completion_tokens": "max_tokens"}


class OpenAIModels:
    """Implements `ports.language_model.LanguageModel`. One per process; it keeps connections open."""

    def __init__(self, settings: Settings, *, silence_timeout: float = SILENCE_TIMEOUT) -> None:
        self._key = settings.model_api_key
        self._client = _client(settings, silence_timeout) if settings.has_model else None
        self._silence_timeout = silence_timeout
        # Per model, the parameters that its endpoint has refused: asked once per process.
        self._unknown: dict[str, frozenset[str]] = {}

    async def stream(self, request: ChatRequest) -> AsyncIterator[Piece]:
        """See the port. The connection is closed when this iterator is."""
        response = await self._open(request)
        headers, answer = response.response.headers, Answer(request)
        try:
            async with aclosing(_chunks(response)) as chunks:
                async for chunk in chunks:
                    if error := chunk.get("error"):
                        raise error_in_stream(self._without_key(error), headers, model=request.model)
                    for piece in answer.add(chunk):
                        yield piece
            yield answer.ending()
        except APITimeoutError as error:
            raise self._silent() from error
        except (APIConnectionError, httpx2.HTTPError) as error:
            # Some endpoints close the connection without a last chunk; what was said is whole.
            if not answer.has_ended:
                raise ModelUnavailable("The connection to the model broke in the middle of its answer.") from error
            yield answer.ending()
        except APIError as error:
            raise error_in_stream(self._without_key(error.body), headers, model=request.model) from error
        except (ValueError, AttributeError, TypeError) as error:
            # Not JSON, or not the shape of a chunk.
            raise ModelUnavailable("The model endpoint sent something that is not a chat completion.") from error
        finally:
            await response.close()

    async def close(self) -> None:
        if self._client:
            await self._client.close()

    async def _open(self, request: ChatRequest) -> AsyncStream[object]:
        """Send the request, again without a parameter that the endpoint says it does not know."""
        while True:
            body = self._body(request)
            try:
                return await self._post(body)
            except APIStatusError as error:
                refused = _unknown_parameter(error, body)
                if refused is None:
                    said = self._without_key(error.body)
                    raise error_of(error.status_code, said, error.response.headers, model=request.model) from error
                logger.info("The model %r does not know %s; going on without.", request.model[:100], refused)
                self._unknown[request.model] = self._unknown.get(request.model, frozenset()) | {refused}
            except APITimeoutError as error:
                raise self._unreachable_or_silent(error) from error
            except (APIConnectionError, httpx2.HTTPError) as error:
                raise ModelUnavailable(UNREACHABLE) from error

    def _body(self, request: ChatRequest) -> dict[str, Any]:
        given = {name: value for name in _MEMBERS if (value := getattr(request, name)) is not None}
        body = given | {"stream": True, "stream_options": {"include_usage": True}}
        for name in self._unknown.get(request.model, ()):
            value = body.pop(name, None)
            if value is not None and (instead := _INSTEAD[name]):
                body[instead] = value
        return body

    async def _post(self, body: dict[str, Any]) -> AsyncStream[object]:
        if self._client is None:
            raise ModelRefused("server_error", "No model is set. Set MODEL_BASE_URL or MODEL_AZURE_ENDPOINT.")
        # Not chat.completions.create: building its typed chunks costs more than all the rest of a chunk's way.
        return await self._client.post(
            "/chat/completions",
            body=body,
            cast_to=object,
            options={"security": {"bearer_auth": True}},
            stream=True,
            stream_cls=AsyncStream[object],
        )

    def _unreachable_or_silent(self, error: APITimeoutError) -> ModelUnavailable:
        # Also what a connection that the endpoint closed at once is called here.
        if isinstance(error.__cause__, httpx2.ConnectTimeout):
            return ModelUnavailable(UNREACHABLE)
        return self._silent()

    def _silent(self) -> ModelUnavailable:
        return ModelUnavailable(f"The model did not answer: not a byte for {self._silence_timeout:g} s.")

    def _without_key(self, body: object) -> object:
        return json.loads(json.dumps(body).replace(self._key, "***")) if self._key else body


async def _chunks(response: AsyncStream[object]) -> AsyncGenerator[dict[str, Any]]:
    content_type = response.response.headers.get("content-type", "")
    if content_type.startswith("text/html"):
        raise ModelRefused("server_error", "The model endpoint answered with a web page. Check MODEL_BASE_URL.")
    if content_type.startswith("application/json"):
        # The endpoint ignored `stream` and answered in one go.
        yield json.loads(await response.response.aread())
        return
    async for chunk in response:
        yield cast("dict[str, Any]", chunk)


def _unknown_parameter(error: APIStatusError, body: dict[str, Any]) -> str | None:
    """The optional parameter that the endpoint refused, if that is what it complains about."""
    return next((name for name in _INSTEAD if name in body and refuses(error.status_code, error.body, name)), None)


def _client(settings: Settings, silence_timeout: float) -> AsyncOpenAI:
    client = AsyncOpenAI(
        # Azure's v1 API: no api-version that will be retired one day, and every model of the resource.
        base_url=settings.model_base_url or f"{settings.model_azure_endpoint}/openai/v1",
        api_key=_credential(settings),
        max_retries=0,
        timeout=Timeout(silence_timeout, connect=CONNECT_TIMEOUT),
        # The SDK's other HTTP client is written in Python alone and takes half as long again for an answer.
        http_client=DefaultAioHttpClient(limits=httpx2.Limits(keepalive_expiry=IDLE_TIMEOUT)),
    )
    # Everything else that the SDK took from the environment of whoever started us.
    client.organization = client.project = client.admin_api_key = client.webhook_secret = None
    client._custom_headers = {}
    return client


def _credential(settings: Settings) -> str | Callable[[], Awaitable[str]]:
    if settings.model_api_key:
        return settings.model_api_key
    # An empty key would send the SDK to its environment variables; endpoints without keys ignore this one.
    return _identity_token() if settings.model_azure_endpoint else "no-key"


def _identity_token() -> Callable[[], Awaitable[str]]:
    """Tokens of the app's managed identity, or on a laptop of whoever signed in to Azure."""
    # Here, because only deployments that use it should pay for the import.
    from azure.core.exceptions import AzureError, ClientAuthenticationError
    from azure.identity import DefaultAzureCredential, get_bearer_token_provider

    # The synchronous credential, in a thread: the asynchronous one needs an HTTP client of its own.
    token = get_bearer_token_provider(DefaultAzureCredential(), _AZURE_SCOPE)

    async def provide() -> str:
        try:
            return await asyncio.to_thread(token)
        except ClientAuthenticationError as error:
            reason = "No MODEL_API_KEY is set, and Azure gave this app no identity for the model."
            raise ModelRefused("server_error", reason) from error
        except AzureError as error:
            raise ModelUnavailable("Azure did not answer with a token for the model.") from error

    return provide
