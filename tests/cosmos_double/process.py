"""The double as a process of its own, for tests whose app is other processes too."""

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from adapters.cosmos_client import cosmos_client
from tests.cosmos_container import ensure_container
from tests.cosmos_double.server import KEY

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True, slots=True)
class DoubleProcess:
    endpoint: str

    def settings(self, database: str) -> dict[str, str]:
        """Make a database; return the settings that lead an app to it."""
        with ThreadPoolExecutor(1) as elsewhere:  # this thread may have an event loop that runs
            elsewhere.submit(asyncio.run, _make(self.endpoint, database)).result()
        return {"COSMOS_ENDPOINT": self.endpoint, "COSMOS_KEY": KEY, "COSMOS_DATABASE": database}

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


async def _make(endpoint: str, database: str) -> None:
    async with cosmos_client(endpoint, KEY) as client:
        await ensure_container(client, database)
