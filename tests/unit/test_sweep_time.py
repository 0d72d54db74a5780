"""Sweeps end before the host's functionTimeout would end them."""

import asyncio
import logging

import pytest

import wiring
from timers.in_time import in_time


@pytest.fixture(autouse=True)
def short_timeout(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("AzureFunctionsJobHost__functionTimeout", "00:00:01")
    wiring.host.cache_clear()
    yield
    wiring.host.cache_clear()


async def test_a_sweep_that_takes_too_long_is_ended_with_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        await in_time(asyncio.sleep(60))
    assert "a sweep took longer than 0.8 s" in caplog.text


async def test_what_a_sweep_raises_is_raised() -> None:
    async def fail() -> None:
        raise TimeoutError("the store's")

    with pytest.raises(TimeoutError, match="the store's"):
        await in_time(fail())
