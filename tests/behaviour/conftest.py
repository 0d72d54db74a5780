"""Tests through HTTP: one service and one scripted model for all tests of a process.

Tests run at the same time against the same service, so each has a model name of its own (`model`)
whose script nobody else plays, and touches only threads and assistants that it made. What kills,
freezes or configures a service starts its own with `start_service`.

All of it runs twice: with the stores of the local host, and with those of Azure (`stores`). pytest sorts
tests by it, so a process has one set of stores and its services at a time. What is about one of them is
marked with `only_on`.
"""

import asyncio
import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Literal, Protocol

import httpx
import pytest
from openai import AsyncAzureOpenAI, AsyncOpenAI, AzureOpenAI, OpenAI

from tests import sandboxes
from tests.azurite import skip_where_missing
from tests.scripted_model import Script, ScriptedModel
from tests.service import Service
from tests.stores import LocalStores, Stores, azure_stores


@pytest.fixture(scope="session")
def scripted_model() -> Iterator[ScriptedModel]:
    with ScriptedModel() as model:
        yield model


@pytest.fixture(scope="session", params=["local", "azure"])
def stores(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stores]:
    """Where the services keep what they store."""
    if request.param == "local":
        yield LocalStores()
        return
    skip_where_missing()
    with azure_stores(tmp_path_factory.mktemp("azure")) as azure:
        yield azure


def only_on(stores: Literal["local", "azure"]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("stores", [stores], indirect=True)


@pytest.fixture(scope="session")
def shared_service(
    scripted_model: ScriptedModel, stores: Stores, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("service")
    with Service(folder, model=scripted_model, workers=2, settings=stores.new_place()) as service:
        yield service


@pytest.fixture(scope="session")
def hasty_service(
    scripted_model: ScriptedModel, stores: Stores, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Service]:
    """Shared too; its runs live for 4 s, and a silent stream says every 50 ms that it is alive."""
    settings = {"RUN_LIFETIME_SECONDS": "4", "STREAM_KEEP_ALIVE_SECONDS": "0.05", **stores.new_place()}
    with Service(tmp_path_factory.mktemp("hasty"), model=scripted_model, settings=settings) as service:
        yield service


@pytest.fixture(scope="session")
def code_service(
    scripted_model: ScriptedModel, stores: Stores, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Service]:
    """Shared; with the code interpreter. A call of code may take 5 s."""
    asyncio.run(sandboxes.skip_where_missing())
    settings = {"CODE_TIMEOUT_SECONDS": "5", **stores.new_place()}
    folder = tmp_path_factory.mktemp("code")
    with Service(folder, model=scripted_model, workers=2, settings=settings, code_interpreter=True) as service:
        yield service


@pytest.fixture
def service(shared_service: Service) -> Iterator[Service]:
    """The shared service; its log of a failed test is shown with the test."""
    began_at = shared_service.log_path.stat().st_size
    yield shared_service
    sys.stderr.write(shared_service.log(after=began_at))


class StartService(Protocol):
    def __call__(
        self,
        *,
        workers: int = 1,
        settings: Mapping[str, str] | None = None,
        model: ScriptedModel | None = None,
        code_interpreter: bool = False,
    ) -> Service: ...


@pytest.fixture
def start_service(scripted_model: ScriptedModel, stores: Stores, tmp_path: Path) -> Iterator[StartService]:
    """Start services of the test's own; they end with it. `settings` are environment variables."""
    with ExitStack() as running:
        started: list[Service] = []

        def start(
            *,
            workers: int = 1,
            settings: Mapping[str, str] | None = None,
            model: ScriptedModel | None = None,
            code_interpreter: bool = False,
        ) -> Service:
            folder = tmp_path / f"service-{len(started)}"
            folder.mkdir()
            place = stores.new_place() | dict(settings or {})
            service = Service(
                folder,
                model=model or scripted_model,
                workers=workers,
                settings=place,
                code_interpreter=code_interpreter,
            )
            started.append(service)
            return running.enter_context(service)

        yield start
        for service in started:
            sys.stderr.write(service.log())


@pytest.fixture
def model(scripted_model: ScriptedModel) -> Script:
    """This test's model: an assistant that names `model.name` gets what the test scripted."""
    return scripted_model.for_test()


@pytest.fixture
def openai_client(service: Service) -> Iterator[OpenAI]:
    with service.openai() as client:
        yield client


@pytest.fixture
def azure_client(service: Service) -> Iterator[AzureOpenAI]:
    with service.azure() as client:
        yield client


@pytest.fixture(params=["openai", "azure"])
def client(request: pytest.FixtureRequest, service: Service) -> Iterator[OpenAI]:
    """Both official clients, one after the other."""
    with service.openai() if request.param == "openai" else service.azure() as client:
        yield client


@pytest.fixture
async def async_openai_client(service: Service) -> AsyncIterator[AsyncOpenAI]:
    async with service.async_openai() as client:
        yield client


@pytest.fixture
async def async_azure_client(service: Service) -> AsyncIterator[AsyncAzureOpenAI]:
    async with service.async_azure() as client:
        yield client


@pytest.fixture(params=["openai", "azure"])
async def async_client(request: pytest.FixtureRequest, service: Service) -> AsyncIterator[AsyncOpenAI]:
    """Both official asynchronous clients, one after the other."""
    async with service.async_openai() if request.param == "openai" else service.async_azure() as client:
        yield client


@pytest.fixture
def http(service: Service) -> Iterator[httpx.Client]:
    """A bare HTTP client with the key; paths begin after `/openai/v1`."""
    with service.http() as client:
        yield client
