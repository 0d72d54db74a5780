"""When a thing was made, so exactly that its place in a list follows from it."""

import time


class Moments:
    def __init__(self) -> None:
        self._latest = 0

    def next(self) -> int:
        """Return now in Unix milliseconds, but later than any before: lists keep the order of creation (D.3)."""
        self._latest = max(time.time_ns() // 1_000_000, self._latest + 1)
        return self._latest


moments = Moments()
