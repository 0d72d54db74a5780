"""Parts of the local host that end."""

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest

from devhost.background import Background
from devhost.setup_error import SetupError


class Refused(Exception):
    pass


async def raises(error: BaseException) -> None:
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(_raises(error))


async def _raises(error: BaseException) -> None:
    raise error


async def end_of(work: Coroutine[Any, Any, None]) -> str:
    background = Background(Refused)
    background.begin(work)
    async with asyncio.timeout(5):
        with pytest.raises(SetupError) as failed:
            await background.failed
    return str(failed.value)


async def test_an_expected_end_says_what_it_says():
    assert await end_of(raises(Refused("No, thanks."))) == "No, thanks."


@pytest.mark.parametrize("error", [ValueError("what\nnow"), OSError(24, "Too many open files"), KeyError("x")])
async def test_any_other_end_is_one_line_with_its_place(error: Exception):
    line = await end_of(raises(error))
    assert line.startswith(f"The host has ended: {type(error).__name__}: ")
    assert "(test_local_host_background.py, line " in line
    assert "\n" not in line


async def test_a_part_that_was_cancelled_is_no_quiet_end():
    assert await end_of(_raises(asyncio.CancelledError())) == "The host has ended: a part of it was cancelled."


async def test_a_host_that_stops_has_not_failed():
    background = Background()
    background.begin(asyncio.sleep(60))
    await asyncio.sleep(0)
    background.stop()
    await asyncio.sleep(0.01)
    assert not background.failed.done()
