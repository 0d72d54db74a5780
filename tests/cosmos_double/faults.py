"""What goes wrong on demand."""

from dataclasses import dataclass, field
from typing import Literal

Kind = Literal["throttle", "busy", "cut_before", "cut_after"]
Operation = Literal["batch", "read", "query"]


@dataclass
class Fault:
    """The next `times` requests (of the one operation, if named) meet it.

    - throttle: 429, with `retry_after_ms`, nothing is done
    - busy: 503, nothing is done
    - cut_before: the connection breaks, nothing is done
    - cut_after: it is done, then the connection breaks
    """

    kind: Kind
    times: int = 1
    operation: Operation | None = None
    retry_after_ms: int = 10


@dataclass
class Faults:
    """`down`: every connection is broken at once, as if the store were away."""

    down: bool = False
    planned: list[Fault] = field(default_factory=list)

    def plan(self, kind: Kind, times: int = 1, operation: Operation | None = None, retry_after_ms: int = 10) -> None:
        self.planned.append(Fault(kind, times, operation, retry_after_ms))

    def next(self, operation: Operation) -> Fault | None:
        for fault in self.planned:
            if fault.times > 0 and fault.operation in (None, operation):
                fault.times -= 1
                return fault
        return None
