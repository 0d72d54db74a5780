"""File descriptors: as many as may be had, and some kept back from connections, for what runs need."""

import os
import sys
from contextlib import ExitStack, suppress
from dataclasses import dataclass

ENOUGH = 65_536  # some systems allow a billion, and whatever goes through all of them takes a while
FALLBACK = 10_240  # of macOS, which says "unlimited" and refuses more than this
KEPT_BACK, PER_WORKER = 128, 8  # for the task hub, workers' pipes, those that replace them, and refusals
PER_CONNECTION = 2  # one to the client, one to the worker


@dataclass(frozen=True, slots=True)
class Allowance:
    """How many connections may be served, and how many more be refused, at a time."""

    connections: int
    refusals: int


def raise_limit() -> int | None:
    """Raise this process's limit, which workers inherit, as far as it may be; return it, None if there is none."""
    if sys.platform == "win32":
        return None
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    for wanted in (ENOUGH, FALLBACK):
        limit = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        if soft == resource.RLIM_INFINITY or soft >= limit:
            break
        with suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
            soft = limit
    return None if soft == resource.RLIM_INFINITY else soft


def allowance(limit: int | None, workers: int) -> Allowance:
    """Return what leaves enough of the limit; None is a limit beyond all need."""
    limit = limit or ENOUGH
    kept = min(KEPT_BACK + PER_WORKER * workers, limit // 2)
    return Allowance(connections=max(1, (limit - kept) // PER_CONNECTION), refusals=kept // 3)


def check_spare(count: int) -> None:
    """Raises OSError if `count` more descriptors can't be had right now."""
    with ExitStack() as closing:
        for _ in range(count):
            closing.callback(os.close, os.open(os.devnull, os.O_RDONLY))
