"""Whether a run's time is over, also where the clock was set back.

A run ends when the clock says so, or when a process has known it for as long as it had left to live then: durations
are those of a clock that is never set. A run that, by the clock, is yet to be created has its whole lifetime left.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any
from weakref import WeakKeyDictionary

from domain import runs

MOST = 10_000  # runs remembered, those looked at last
AHEAD = 5.0  # seconds that the clocks of two machines may differ


class Lifetimes:
    """What one process remembers of unfinished runs: when, by the event loop's clock, their time is over."""

    def __init__(self) -> None:
        self._ends_at: OrderedDict[str, float] = OrderedDict()

    def is_over(self, run: Mapping[str, Any], now: float, elapsed: float, grace: float = 0.0) -> bool:
        """`now` is the clock's, `elapsed` the event loop's, in seconds; `grace` is added to the run's time."""
        if runs.is_past_expiry(run, now - grace):
            return True
        if run["expires_at"] is None:
            return False
        ends_at = self._ends_at.setdefault(run["id"], elapsed + _left(run, now))
        self._ends_at.move_to_end(run["id"])
        if len(self._ends_at) > MOST:
            self._ends_at.popitem(last=False)
        return elapsed >= ends_at + grace


def _left(run: Mapping[str, Any], now: float) -> float:
    begins = run["created_at"] if is_ahead(run["created_at"], now) else now
    return run["expires_at"] - begins


def is_ahead(moment: float, now: float) -> bool:
    """Whether a stored moment lies in the future: the clock was set back since."""
    return moment > now + AHEAD


# The worker's loop is its process's; tests have many, each with a time of its own.
_OF_LOOP: WeakKeyDictionary[asyncio.AbstractEventLoop, Lifetimes] = WeakKeyDictionary()


def is_over(run: Mapping[str, Any], now: float, *, grace: float = 0.0) -> bool:
    """Return whether the run's time is over, as this process sees it. `now` is the clock's."""
    loop = asyncio.get_running_loop()
    return _OF_LOOP.setdefault(loop, Lifetimes()).is_over(run, now, loop.time(), grace)
