"""The HTTP edge without a host: real requests into the real handlers, on a SQLite file."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.requests import Request
from starlette.types import Receive, Scope, Send

import routes  # noqa: F401  (fills the table of operations)
import wiring
from adapters.openai_models import OpenAIModels
from routes.addressing import fall_back
from settings import Settings
from tests.scripted_model import Script, ScriptedModel

KEY = "key-for-tests"
# Nobody listens there: what is committed stays, and the hub is silent.
HUB = '{"taskHubName": "default", "rpcBaseUrl": "http://127.0.0.1:9/"}'

_CACHED = (wiring.settings, wiring.host, wiring.documents, wiring.blobs, wiring.task_hub)


async def _app(scope: Scope, receive: Receive, send: Send) -> None:
    """Hand every request to the function that answers any path. Tests leave the base out."""
    scope["path_params"] = {"path": f"openai{scope['path']}"}
    scope["path"] = f"/openai{scope['path']}"
    response = await fall_back(Request(scope, receive, send), HUB)
    await response(scope, receive, send)


@pytest.fixture
async def wired(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[None]:
    monkeypatch.setenv("ASSISTANTS_API_KEY", KEY)
    monkeypatch.setenv("DATA_DIR", str(tmp_path))
    for cached in _CACHED:
        cached.cache_clear()
    yield
    await wiring.documents().close()
    for cached in _CACHED:
        cached.cache_clear()


@pytest.fixture
async def client(wired: None) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(app=_app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://test", headers={"api-key": KEY}) as http:
        yield http


@pytest.fixture
async def thread(client: httpx.AsyncClient) -> dict[str, Any]:
    return (await client.post("/threads")).json()


@pytest.fixture
async def assistant(client: httpx.AsyncClient) -> dict[str, Any]:
    return (await client.post("/assistants", json={"model": "gpt-4o"})).json()


@pytest.fixture
async def file_id(client: httpx.AsyncClient) -> str:
    files = {"file": ("notes.txt", b"Hello")}
    return (await client.post("/files", files=files, data={"purpose": "assistants"})).json()["id"]


@pytest.fixture(scope="module")
def server() -> Iterator[ScriptedModel]:
    with ScriptedModel() as server:
        yield server


@pytest.fixture
def script(server: ScriptedModel) -> Script:
    return server.for_test()


@pytest.fixture
async def models(server: ScriptedModel) -> AsyncIterator[OpenAIModels]:
    models = OpenAIModels(Settings(model_base_url=server.base_url, model_api_key="the-key"), silence_timeout=0.5)
    yield models
    await models.close()
