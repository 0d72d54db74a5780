"""Schedules of timer functions."""

from datetime import UTC, datetime

import pytest

from devhost.schedule import Schedule, ScheduleError


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("schedule", "after", "next_tick"),
    [
        ("*/5 * * * * *", "2026-01-01T00:00:00", "2026-01-01T00:00:05"),
        ("*/5 * * * * *", "2026-01-01T00:00:57", "2026-01-01T00:01:00"),
        ("*/5 * * * * *", "2026-01-01T00:00:04.999", "2026-01-01T00:00:05"),
        ("0 */1 * * * *", "2026-12-31T23:59:30", "2027-01-01T00:00:00"),
        ("*/1 * * * *", "2026-01-01T00:00:30", "2026-01-01T00:01:00"),
        ("0 30 9 * * Mon-Fri", "2026-01-02T10:00:00", "2026-01-05T09:30:00"),
        ("0 30 9 * Jan Monday", "2026-01-26T10:00:00", "2027-01-04T09:30:00"),
        ("0 0 0 29 2 *", "2026-01-01T00:00:00", "2028-02-29T00:00:00"),
        ("15,45 10-12 3/10 * * *", "2026-01-01T03:12:46", "2026-01-01T13:10:15"),
    ],
)
def test_the_next_tick_is_the_first_that_fits_every_field(schedule: str, after: str, next_tick: str):
    assert Schedule(schedule).next_after(at(after)) == at(next_tick)


@pytest.mark.parametrize(
    "text", ["", "* * * *", "60 * * * * *", "*/0 * * * * *", "* * * * * Caturday", "5-1 * * * * *", "x * * * * *"]
)
def test_what_is_no_schedule_is_refused_by_name(text: str):
    with pytest.raises(ScheduleError, match="'"):
        Schedule(text)


def test_a_schedule_that_never_comes_due_is_refused():
    with pytest.raises(ScheduleError):
        Schedule("0 0 0 31 2 *").next_after(at("2026-01-01T00:00:00"))
