"""Every schedule of a scenario with up to so many deviations, and how to tell a broken one."""

from collections.abc import Iterator

from tests.model.scenario import Scenario
from tests.model.story import Story

MOST_SHOWN = 120  # steps

Schedule = dict[int, int]  # step → option


class Broken(AssertionError):
    """A schedule under which a rule was broken, with the steps that led there."""

    def __init__(self, story: Story, schedule: Schedule, reason: AssertionError) -> None:
        trace = story.scheduler.trace
        steps = "\n".join(trace if len(trace) <= MOST_SHOWN else [*trace[:MOST_SHOWN], f"… {len(trace)} in all"])
        events = "\n".join(f"  {name}" for name, _ in story.watch.events)
        super().__init__(f"{story.scenario.name} {schedule}: {reason}\n{steps}\n{events}")


def play(scenario: Scenario, schedule: Schedule) -> Story:
    """Raises Broken."""
    story = Story(scenario)
    try:
        story.play(schedule)
    except AssertionError as error:
        raise Broken(story, schedule, error) from error
    return story


def explore(scenario: Scenario, depth: int) -> Iterator[Schedule]:
    """Play every schedule with up to `depth` deviations, each once; yield those played.

    A schedule's children deviate once more, later: how many options each step has is known from
    playing the parent. Raises Broken.
    """
    waiting: list[Schedule] = [{}]
    while waiting:
        schedule = waiting.pop()
        widths = play(scenario, schedule).scheduler.widths
        yield schedule
        if len(schedule) < depth:
            begin = max(schedule, default=-1) + 1
            waiting += [
                schedule | {step: option} for step in range(begin, len(widths)) for option in range(1, widths[step])
            ]
