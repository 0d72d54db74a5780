"""The language model behind any chat-completions endpoint, through the `openai` SDK.

Named by our own settings only. The SDK's environment variables (OPENAI_BASE_URL, OPENAI_API_KEY, …)
are what clients of this service set; reading them would make the service call itself.
"""

import asyncio
import json
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Collection, Mapping
from contextlib import aclosing
from typing import Any

import httpx2
from openai import (
    APIConnectionError,
    APIStatusError,
    APITimeoutError,
    AsyncOpenAI,
    AsyncStream,
    DefaultAioHttpClient,
    Timeout,
)

from adapters.openai_answers import Answer
from adapters.openai_dialects import Dialect
from adapters.openai_errors import Complaint, complaint, error_of
from adapters.openai_events import EventReader, NotACompletion
from ports.language_model import ChatRequest, ModelRefused, ModelUnavailable, Piece
from settings import Settings

logger = logging.getLogger("durable_assistants.model")

CONNECT_TIMEOUT = 5.0  # seconds
SILENCE_TIMEOUT = 60.0  # seconds without a byte
# Seconds that an idle connection is kept, so that the next run need not open one: shorter than what gateways
# in between usually keep theirs (60 s and more).
IDLE_TIMEOUT = 50.0
DRAIN_TIMEOUT = 0.1  # seconds for the end of a body after "[DONE]": a connection that was read to its end is used again
UNREACHABLE = "The model endpoint could not be reached."
WEB_PAGE = "The model endpoint answered with a web page. Check MODEL_BASE_URL."
_AZURE_SCOPE = "https://cognitiveservices.azure.com/.default"


class _Complained(Exception):
    """The endpoint said what is wrong, with a status of failure or in the middle of an answer."""

    def __init__(self, said: Complaint, headers: Mapping[str, str]) -> None:
        super().__init__(said.words)
        self.said = said
        self.headers = headers


class OpenAIModels:
    """Implements `ports.language_model.LanguageModel`. One per process; it keeps connections open."""

    def __init__(self, settings: Settings, *, silence_timeout: float = SILENCE_TIMEOUT) -> None:
        self._key = settings.model_api_key
        self._client = _client(settings, silence_timeout) if settings.has_model else None
        self._silence_timeout = silence_timeout
        # By model: what its endpoint does not take is asked for once per process.
        self._dialects: dict[str, Dialect] = {}

    async def stream(self, request: ChatRequest, *, early: Collection[str] = ()) -> AsyncIterator[Piece]:
        """See the port. The connection is closed when this iterator is.

        A request that the endpoint complains about is sent again in the way that the complaint asks for.
        """
        known = dialect = self._dialects.get(request.model, Dialect())
        begun = False
        while True:
            try:
                async with aclosing(self._answer(request, dialect, early)) as pieces:
                    async for piece in pieces:
                        begun = begun or self._remember(request.model, known, dialect)
                        yield piece
                return
            except _Complained as complained:
                learnt = None if begun else dialect.learnt(complained.said, request)
                if learnt is None:
                    self._dialects[request.model] = known.unlearnt(complained.said)
                    raise error_of(complained.said, complained.headers, model=request.model) from complained
                dialect = learnt

    def _remember(self, model: str, known: Dialect, dialect: Dialect) -> bool:
        """What has led to an answer is asked for at once from now on."""
        if dialect != known:
            new = ", ".join(sorted(dialect.refused - known.refused))
            logger.info("The endpoint of the model %r does not take: %s; going on without.", model[:100], new)
            self._dialects[model] = dialect
        return True

    async def _answer(self, request: ChatRequest, dialect: Dialect, early: Collection[str]) -> AsyncGenerator[Piece]:
        response = await self._post(dialect.body(request))
        answer = Answer(request, early)
        try:
            async with aclosing(self._objects(response)) as objects:
                async for chunk in objects:
                    for piece in answer.add(chunk):
                        yield piece
        except (httpx2.HTTPError, NotACompletion) as error:
            # Some endpoints close the connection without a last chunk; what was said is whole.
            if not answer.has_ended:
                raise self._unavailable(error) from error
        finally:
            await response.aclose()
        for piece in answer.end():
            yield piece

    async def _objects(self, response: httpx2.Response) -> AsyncGenerator[dict[str, Any]]:
        """The chunks of the answer. Raises _Complained for an error among them."""
        if response.headers.get("content-type", "").lower().startswith("text/html"):
            raise ModelRefused("server_error", WEB_PAGE)
        reader = EventReader()
        async with aclosing(response.aiter_bytes()) as body:  # type: ignore[type-var]
            async for data in body:
                for chunk in reader.feed(data):
                    yield self._unless_error(chunk, response)
                if reader.done:
                    await _drain(body)
                    return
        for chunk in reader.end():
            yield self._unless_error(chunk, response)
        if reader.stray:
            raise _Complained(complaint(reader.stray, key=self._key), response.headers)

    def _unless_error(self, chunk: dict[str, Any], response: httpx2.Response) -> dict[str, Any]:
        says_only = "choices" not in chunk and (chunk.get("object") == "error" or chunk.keys() & {"message", "detail"})
        if chunk.get("error") or says_only:
            raise _Complained(complaint(chunk, key=self._key), response.headers)
        return chunk

    async def close(self) -> None:
        if self._client:
            await self._client.close()

    async def _post(self, body: dict[str, Any]) -> httpx2.Response:
        """Send the request; return the answer with its body still to come. Raises _Complained."""
        if self._client is None:
            raise ModelRefused("server_error", "No model is set. Set MODEL_BASE_URL or MODEL_AZURE_ENDPOINT.")
        try:
            # Not chat.completions.create: its chunks would be what the SDK takes for right, not what was sent.
            stream = await self._client.post(
                "/chat/completions",
                body=body,
                cast_to=object,
                options={"security": {"bearer_auth": True}},
                stream=True,
                stream_cls=AsyncStream[object],
            )
        except APIStatusError as error:
            said = complaint(_json_or_text(error.response.text), key=self._key, status=error.status_code)
            raise _Complained(said, error.response.headers) from error
        except APITimeoutError as error:
            raise self._unreachable_or_silent(error) from error
        except (APIConnectionError, httpx2.HTTPError) as error:
            raise ModelUnavailable(UNREACHABLE) from error
        return stream.response

    def _unreachable_or_silent(self, error: APITimeoutError) -> ModelUnavailable:
        # Also what a connection that the endpoint closed at once is called here.
        if isinstance(error.__cause__, httpx2.ConnectTimeout):
            return ModelUnavailable(UNREACHABLE)
        return self._silent()

    def _unavailable(self, error: Exception) -> ModelUnavailable:
        match error:
            case NotACompletion():
                return ModelUnavailable(str(error))
            case httpx2.TimeoutException():
                return self._silent()
        return ModelUnavailable("The connection to the model broke in the middle of its answer.")

    def _silent(self) -> ModelUnavailable:
        return ModelUnavailable(f"The model did not answer: not a byte for {self._silence_timeout:g} s.")


def _json_or_text(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


async def _drain(body: AsyncIterator[bytes]) -> None:
    try:
        async with asyncio.timeout(DRAIN_TIMEOUT):
            async for _ in body:
                pass
    except (TimeoutError, httpx2.HTTPError):
        return


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
