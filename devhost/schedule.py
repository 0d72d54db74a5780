"""NCRONTAB, the schedules of timer-triggered functions: `{second} {minute} {hour} {day} {month} {weekday}`, in UTC.

https://learn.microsoft.com/azure/azure-functions/functions-bindings-timer#ncrontab-expressions
"""

import re
from datetime import UTC, date, datetime, time, timedelta

_MONTHS = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]
_WEEKDAYS = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"]
_FIELDS = [
    ("second", 0, 59, []),
    ("minute", 0, 59, []),
    ("hour", 0, 23, []),
    ("day", 1, 31, []),
    ("month", 1, 12, ["", *_MONTHS]),
    ("weekday", 0, 6, _WEEKDAYS),
]
_PART = re.compile(r"(?P<first>\*|\w+)(-(?P<last>\w+))?(/(?P<step>\d+))?")
_FARTHEST = timedelta(days=366 * 8)  # 29 February comes at least every eight years


class ScheduleError(ValueError):
    """The message names the schedule."""


class Schedule:
    def __init__(self, text: str) -> None:
        """Raises ScheduleError. Five fields stand for second 0, as in Azure."""
        fields = text.split()
        if len(fields) == 5:
            fields.insert(0, "0")
        if len(fields) != 6:
            raise ScheduleError(f"'{text}' is not a schedule of six fields, such as '*/5 * * * * *'.")
        sets = [_values(text, field, *limits) for field, limits in zip(fields, _FIELDS, strict=True)]
        self._seconds, self._minutes, self._hours, self._days, self._months, self._weekdays = sets

    def next_after(self, instant: datetime) -> datetime:
        """Return the first tick after `instant`. Raises ScheduleError if there never is one."""
        start = (instant.astimezone(UTC) + timedelta(seconds=1)).replace(microsecond=0)
        day = start.date()
        while day - start.date() < _FARTHEST:
            if self._is_on(day):
                earliest = start.time() if day == start.date() else time.min
                if tick := self._first_at_or_after(earliest):
                    return datetime.combine(day, tick, UTC)
            day += timedelta(days=1)
        raise ScheduleError("The schedule never comes due.")

    def _is_on(self, day: date) -> bool:
        return day.month in self._months and day.day in self._days and day.isoweekday() % 7 in self._weekdays

    def _first_at_or_after(self, earliest: time) -> time | None:
        for hour in (h for h in self._hours if h >= earliest.hour):
            for minute in (m for m in self._minutes if (hour, m) >= (earliest.hour, earliest.minute)):
                for second in self._seconds:
                    if time(hour, minute, second) >= earliest:
                        return time(hour, minute, second)
        return None


def _values(text: str, field: str, name: str, lowest: int, highest: int, names: list[str]) -> list[int]:
    def number(word: str) -> int:
        word = word.lower()[:3] if names and not word.isdigit() else word
        value = names.index(word) if word in names else int(word) if word.isdigit() else -1
        if not lowest <= value <= highest:
            raise ScheduleError(f"'{text}': '{word}' is not a {name} from {lowest} to {highest}.")
        return value

    values: set[int] = set()
    for part in field.split(","):
        match = _PART.fullmatch(part)
        if match is None or match["step"] == "0":
            raise ScheduleError(f"'{text}': '{part}' is not understood as {name}.")
        step = int(match["step"] or 1)
        if match["first"] == "*":
            first, last = lowest, highest
        else:
            first = number(match["first"])
            last = number(match["last"]) if match["last"] else highest if match["step"] else first
        values.update(range(first, last + 1, step))
    if not values:
        raise ScheduleError(f"'{text}': '{field}' is not understood as {name}.")
    return sorted(values)
