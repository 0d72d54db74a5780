"""Libraries write nothing of what goes well, with everything logged from INFO as in Azure."""

import logging
from collections.abc import Iterator

import pytest
from azure.core.exceptions import AzureError
from azure.storage.blob.aio import ContainerClient

from adapters.openai_models import OpenAIModels
from hosting import library_logs
from tests.scripted_model import Script
from tests.unit.endpoint import asking, pieces_of


@pytest.fixture(autouse=True)
def levels() -> Iterator[None]:
    loggers = [logging.getLogger(name) for name in library_logs._LIBRARIES]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.NOTSET)
    yield
    for logger, level in zip(loggers, before, strict=True):
        logger.setLevel(level)


async def use(models: OpenAIModels, script: Script) -> None:
    """Call the model, and ask a store for what isn't there."""
    script.will_say("Hello.")
    assert await pieces_of(models, asking(script))
    url = "http://127.0.0.1:9/account"
    async with ContainerClient(url, "files", credential="a2V5", retry_total=0) as container:
        with pytest.raises(AzureError):
            await container.get_container_properties()


async def test_they_are_silent(models: OpenAIModels, script: Script, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        await use(models, script)
        assert {record.name.partition(".")[0] for record in caplog.records} == {"azure", "httpx2"}
        caplog.clear()
        library_logs.quieten_libraries()
        await use(models, script)
        assert caplog.records == []
        logging.getLogger("azure.anything").warning("of interest")
        assert len(caplog.records) == 1
