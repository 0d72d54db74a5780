"""The double as a process of its own, for tests whose app is other processes too."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True, slots=True)
class DoubleProcess:
    endpoint: str

    def take_away(self) -> None:
        self._post("faults", down=True)

    def bring_back(self) -> None:
        self._post("faults", down=False)

    def plan(self, kind: str, **fault: Any) -> None:
        """Plan a fault; the members of `fault` are those of faults.Fault."""
        self._post("faults", kind=kind, **fault)

    def forget_faults(self) -> None:
        """Also brings it back."""
        self._post("faults/none")

    def refusals(self) -> list[str]:
        """What it was asked and does not do."""
        return httpx.get(f"{self.endpoint}/double/refusals", trust_env=False).json()

    def written_at(self, prefix: str) -> list[float]:
        """When each item whose id begins so was written, Unix seconds, in the order of the ids."""
        answer = httpx.get(f"{self.endpoint}/double/written", params={"prefix": prefix}, trust_env=False)
        return answer.json()

    def _post(self, path: str, **body: Any) -> None:
        httpx.post(f"{self.endpoint}/double/{path}", json=body, trust_env=False).raise_for_status()


@contextmanager
def running_double() -> Iterator[DoubleProcess]:
    """Run one on a free port. AssertionError at the end if it had to refuse anything."""
    with subprocess.Popen(
        [sys.executable, "-m", "tests.cosmos_double"], cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout
        try:
            double = DoubleProcess(process.stdout.readline().decode().strip())
            yield double
            assert not (refusals := double.refusals()), refusals
        finally:
            process.kill()
