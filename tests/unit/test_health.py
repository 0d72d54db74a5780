"""Health: how parts are looked at, and what is said of them meanwhile."""

import asyncio
import time

import pytest

from errors import StoreUnavailable
from routes import health
from routes.health import GIVEN_UP, Part


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "TURN", 0.01)
    monkeypatch.setattr(health, "REMEMBERED", 0.05)


class Checked:
    """A part whose checks a test lets go on."""

    def __init__(self) -> None:
        self.checks = 0
        self.go_on = asyncio.Event()
        self.go_on.set()
        self.raises: Exception | None = None

    async def check(self) -> None:
        self.checks += 1
        await self.go_on.wait()
        if self.raises:
            raise self.raises


async def test_a_hundred_who_ask_cost_one_check():
    checked = Checked()
    part = Part("store", checked.check)
    assert await asyncio.gather(*(part.trouble() for _ in range(100))) == [None] * 100
    assert await part.trouble() is None
    assert checked.checks == 1
    await asyncio.sleep(0.06)
    assert await part.trouble() is None
    assert checked.checks == 2


async def test_a_reason_is_told_and_forgotten_when_it_has_passed():
    checked = Checked()
    part = Part("store", checked.check)
    checked.raises = StoreUnavailable("The store's disk is full.")
    assert await part.trouble() == "The store's disk is full."
    checked.raises = None
    await asyncio.sleep(0.06)
    assert await part.trouble() is None


async def test_what_nobody_foresaw_is_told_without_its_details():
    checked = Checked()
    checked.raises = ValueError("https://secret@store")
    assert await Part("store", checked.check).trouble() == "The store could not be checked."


async def test_a_part_that_is_only_slow_is_what_it_was():
    checked = Checked()
    part = Part("store", checked.check)
    assert await part.trouble() is None
    await asyncio.sleep(0.06)
    checked.go_on.clear()
    assert await part.trouble() is None
    checked.go_on.set()


async def test_a_part_that_never_answers_is_away():
    checked = Checked()
    checked.go_on.clear()
    assert await Part("store", checked.check).trouble() == "The store does not answer."


async def test_a_process_that_is_busy_for_long_finds_nobody_away():
    """The time that its own work takes is not the part's."""
    busy = 0.03

    async def check() -> None:
        await asyncio.sleep(0.001)

    async def works() -> None:
        for _ in range(30):
            time.sleep(busy)  # noqa: ASYNC251 - it blocks the loop
            await asyncio.sleep(0)

    working = asyncio.create_task(works())
    assert 30 * busy > GIVEN_UP * health.TURN
    assert await Part("store", check).trouble() is None
    await working
