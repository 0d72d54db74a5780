"""A handful of kills, freezes and locks, judged as the soak judges its hundreds (`dev.py soak`)."""

import random
import sys
from collections import Counter

import pytest

from tests.behaviour.conftest import StartService
from tests.soak.rounds import Outcome, Soak
from tests.soak.stores import AzureStore, SqliteStore
from tests.soak.strikes import Strike
from tests.stores import AzureStores, Stores

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="kills and freezes with signals")


@pytest.fixture
def soak(start_service: StartService, stores: Stores) -> Soak:
    service = start_service(workers=2, settings={"LOG_LEVEL": "DEBUG"})
    if isinstance(stores, AzureStores):
        return Soak(service, AzureStore(stores, service.settings), random.Random(7), clients=4)
    return Soak(service, SqliteStore(service.data), random.Random(7), clients=4)


async def test_what_is_killed_loses_and_doubles_nothing(soak: Soak):
    workers = [Strike("kill a worker", aim) for aim in ("call_model", "append_message", None)]
    assert_unharmed(await soak.round([*workers, Strike("kill host and workers", "call_model")]))


async def test_a_frozen_worker_that_wakes_up_changes_nothing(soak: Soak):
    assert_unharmed(await soak.round([Strike("freeze a worker", "call_model")]))


async def test_a_locked_store_is_waited_for(soak: Soak):
    outcome = await soak.round([Strike("lock the store")])
    assert_unharmed(outcome)
    assert outcome.refusals > 0


def assert_unharmed(outcome: Outcome) -> None:
    blows = Counter(str(blow) for blow in outcome.strikes)
    assert not outcome.violations, f"{'\n'.join(map(str, outcome.violations))}\nafter {blows}"
    assert outcome.runs > 0
