"""The protocol of taking over, committing and closing, in every order of things up to a stated depth.

The code is the real one: the orchestrator, the activities, what clients' requests do to a run, the
sweeper, the readers. Around it are a store in memory that passes the contract suite, a model that
says what it is told, and a clock that moves when the schedule says so. Every operation on the store
and every nudge of the task hub waits for the schedule, which may let somebody else go first, kill
or freeze whoever is at work, fail the operation, lose its answer, let time pass.

Depth: a schedule is its deviations from the undisturbed one. Played are all schedules with one
deviation of any kind (BROAD), all with two of the kinds that matter in pairs (DEEP), and 200
random ones with up to 300 each, in a long run. `PROTOCOL_DEPTH=1` adds one deviation to each and
plays 3,000 random ones, other ones each time: hours, for a soak.
"""

import os

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.model.scenario import Scenario
from tests.model.scenarios import BROAD, DEEP, LONG
from tests.model.schedules import Schedule, explore, play

DEEPER = int(os.environ.get("PROTOCOL_DEPTH", "0"))

SPARSE = st.dictionaries(st.integers(0, 150), st.integers(1, 24), max_size=8)
DENSE = st.lists(st.integers(0, 24), max_size=300).map(lambda options: dict(enumerate(options)))

pytestmark = pytest.mark.timeout(0 if DEEPER else 300)


def by_name(scenarios: tuple[Scenario, ...]) -> list:
    return [pytest.param(scenario, id=scenario.name.replace(" ", "-")) for scenario in scenarios]


@pytest.mark.parametrize("scenario", by_name(BROAD))
def test_a_run_ends_right_whatever_single_thing_goes_wrong(scenario: Scenario):
    assert sum(1 for _ in explore(scenario, 1 + DEEPER)) > 50


@pytest.mark.parametrize("scenario", by_name(DEEP))
def test_a_run_ends_right_whatever_two_things_go_wrong(scenario: Scenario):
    assert sum(1 for _ in explore(scenario, 2 + DEEPER)) > 100


@settings(
    max_examples=3_000 if DEEPER else 200,
    deadline=None,
    derandomize=not DEEPER,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.large_base_example, HealthCheck.data_too_large],
)
@given(schedule=SPARSE | DENSE)
def test_a_run_ends_right_whatever_goes_wrong_at_random(schedule: Schedule):
    play(LONG, schedule)
