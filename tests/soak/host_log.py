"""Which worker holds what: read off the local host's debug log, which says so for each delivery."""

import os
import re
import signal
import time
from dataclasses import dataclass, field
from pathlib import Path

_GIVEN = re.compile(r"delivery (\d+): (\w+) (\w+) of \[(.*)\] to worker (\d+)$")
_LOST = re.compile(r"delivery (\d+) is lost with its worker$")
_ANSWERED = re.compile(r"delivery (\d+) is answered$")


@dataclass(frozen=True, slots=True)
class Delivery:
    """`place` is what the report calls it: an activity's name, "orchestrator", or a timer's name."""

    place: str
    instance_id: str
    pid: int


@dataclass(slots=True)
class HostLog:
    """`held` is under way; `lost` was given back by workers that are gone, since `begin`."""

    path: Path
    offset: int = 0
    held: dict[int, Delivery] = field(default_factory=dict)
    lost: list[Delivery] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)

    def begin(self) -> None:
        """Forget what was lost and said before."""
        self.read()
        self.lost.clear()
        self.lines.clear()

    def restarted(self) -> list[Delivery]:
        """The host was killed: return what was under way. A new one counts its deliveries from 1."""
        self.read()
        held = list(self.held.values())
        self.held.clear()
        return held

    def says(self, text: str) -> bool:
        self.read()
        return any(text in line for line in self.lines)

    def read(self) -> list[Delivery]:
        """Take in what is new; return what was given out."""
        with self.path.open("rb") as file:
            file.seek(self.offset)
            data = file.read()
        whole = data[: data.rfind(b"\n") + 1]
        self.offset += len(whole)
        new = whole.decode(errors="replace").splitlines()
        self.lines += new
        return [delivery for line in new if (delivery := self._take(line))]

    def _take(self, line: str) -> Delivery | None:
        if found := _GIVEN.search(line):
            number, kind, name, instance_id, pid = found.groups()
            delivery = Delivery("orchestrator" if kind == "orchestration" else name, instance_id, int(pid))
            self.held[int(number)] = delivery
            return delivery
        if found := _ANSWERED.search(line):
            self.held.pop(int(found[1]), None)
        elif found := _LOST.search(line):
            self.lost.append(self.held.pop(int(found[1])))
        return None

    def hit(self, place: str, number: signal.Signals, *, delay: float, timeout: float) -> int | None:
        """Send the signal to the worker that next gets something to do there, `delay` seconds later.

        Return its process id, or None if nobody got anything in time. Blocks: what is aimed at takes a
        millisecond or two.
        """
        self.read()
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            for delivery in self.read():
                if delivery.place == place:
                    time.sleep(delay)
                    os.kill(delivery.pid, number)
                    return delivery.pid
            time.sleep(0.0003)
        return None
