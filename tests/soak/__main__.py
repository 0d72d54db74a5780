"""The soak: `python -m tests.soak --kills 200 --requests 20000`.

Exits with 1 if anything was lost, doubled or left locked; then data and log stay where it says.
"""

import argparse
import asyncio
import random
import secrets
import shutil
import sys
import tempfile
import time
from contextlib import ExitStack
from itertools import batched
from pathlib import Path

from tests.azurite import missing
from tests.scripted_model import ScriptedModel
from tests.service import Service
from tests.soak import strikes
from tests.soak.report import Report
from tests.soak.requests import soak_requests
from tests.soak.rounds import Outcome, Soak
from tests.soak.stores import STORES, open_store

PER_ROUND = 5
ENOUGH = 10  # violations after which nothing more is to be learned
SLOW = 10.0  # seconds that a run stood still, worth a line
LONGEST = 60.0  # seconds per kill, on average, before the soak gives up


def main() -> int:
    options = _options()
    if sys.platform == "win32":
        print("The soak kills and freezes with signals, which Windows does not have.")
        return 2
    if options.stores == "azure" and (reason := missing()):
        print(reason)
        return 2
    seed = secrets.randbelow(1_000_000) if options.seed is None else options.seed
    folder = Path(tempfile.mkdtemp(prefix="soak-"))
    if options.requests and not soak_requests(folder, options.requests):
        print(f"The log is in {folder}.")
        return 1
    if not options.kills:
        return 0
    print(f"{options.kills} kills, stores: {options.stores}, seed {seed}, in {folder}", flush=True)
    with ScriptedModel() as model, open_store(options.stores, folder) as store, ExitStack() as running:
        settings = {"LOG_LEVEL": "DEBUG", **store.settings}
        service = running.enter_context(Service(folder, model=model, workers=options.workers, settings=settings))
        chance = random.Random(seed)
        soak = Soak(service, store, chance, workers=options.workers, clients=options.clients)
        report = asyncio.run(_run(soak, options.kills))
    print(f"\n{report.table()}\n")
    passed = not report.violations and report.kills == options.kills
    if passed and not options.keep:
        shutil.rmtree(folder)
    if passed:
        return 0
    command = f"python -m tests.soak --kills {options.kills} --stores {options.stores} --seed {seed}"
    print(f"Data and log are in {folder}. The same plan again (not the same moments): {command}")
    return 1


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="dev.py soak", description="Kill, freeze and lock; count what was lost.")
    parser.add_argument("--kills", type=int, default=200, help="freezes and locks come on top (default 200)")
    parser.add_argument("--requests", type=int, default=20_000, help="through the worker's library (default 20000)")
    parser.add_argument("--stores", choices=STORES, default="sqlite")
    parser.add_argument("--seed", type=int, help="of what is said and struck; random without")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--clients", type=int, default=6)
    parser.add_argument("--keep", action="store_true", help="keep data and log also if all is well")
    return parser.parse_args()


async def _run(soak: Soak, kills: int) -> Report:
    report = Report()
    began = time.monotonic()
    for blows in batched(strikes.draw(soak.chance, kills), PER_ROUND, strict=False):
        outcome = await soak.round(blows)
        report.add(outcome)
        spent = time.monotonic() - began
        print(
            f"{spent:5.0f} s: {report.kills} of {kills} kills, {report.runs} runs done, "
            f"{len(report.violations)} violations",
            flush=True,
        )
        _tell(outcome)
        if len(report.violations) >= ENOUGH or spent > LONGEST * kills:
            break
    return report


def _tell(outcome: Outcome) -> None:
    """Say what was wrong or slow, and when the blows before it fell."""
    slow = [one for blow in outcome.strikes for one in blow.recoveries.items() if one[1] > SLOW]
    for violation in outcome.violations:
        print(f"  {violation}", flush=True)
    for run_id, seconds in slow:
        print(f"  slow: {run_id} stood still for {seconds:.1f} s", flush=True)
    for blow in outcome.strikes if outcome.violations or slow else ():
        print(f"    {time.strftime('%H:%M:%S', time.localtime(blow.at))} {blow}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
