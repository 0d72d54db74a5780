"""What is made of an execution of code: what the model is told of it, and what a run step shows (G.1.5)."""

from typing import Any

from pydantic_core import to_json

from ports.code_sessions import Execution

Resource = dict[str, Any]

MOST_TOLD = 20_000  # characters that the model is told; some 5,000 tokens, for as long as the run lasts
_CUT = "\n[… {} characters are left out …]\n"
_SAID: dict[str, str] = {
    "interrupted": "[The code was interrupted.]",
    "timeout": "[The code took longer than {timeout:g} seconds and was interrupted.]",
    "memory_limit": "[The code used more memory than there is and was ended.]",
    "output_limit": "[The code gave more output than can be taken and was ended.]",
    "kernel_died": "[The Python process ended while it ran the code.]",
}
RESTARTED = "[The Python process was restarted: variables and imports are gone, files are not.]"


def logs(done: Execution, timeout: float) -> str:
    """Return what was printed, the last expression's value, the traceback, and what else became of the code."""
    dropped = f"[{done.dropped} more bytes were printed.]" if done.dropped else ""
    status = _SAID.get(done.status, "").format(timeout=timeout)
    restarted = RESTARTED if done.restarted else ""
    parts = (done.stdout, dropped, done.stderr, done.result or "", done.error or "", status, restarted)
    return "\n".join(part.rstrip("\n") for part in parts if part)


def told(done: Execution, timeout: float) -> str:
    """Return what the model is told: at most MOST_TOLD characters, never nothing."""
    text = logs(done, timeout)
    return shortened(text, MOST_TOLD) if text else "[The code has run and printed nothing.]"


def outputs(done: Execution, timeout: float, *, room: int) -> list[Resource]:
    """Return the outputs of the call in its step, of at most `room` bytes as JSON; none if nothing was printed."""
    text = logs(done, timeout)
    while len(to_json(text)) > room:
        text = shortened(text, len(text) // 2)
    return [{"type": "logs", "logs": text}] if text else []


def shortened(text: str, most: int) -> str:
    """Return a text of at most `most` characters and a note: its beginning and its end, which tell most."""
    left_out = len(text) - most
    if left_out <= 0:
        return text
    head = most // 2
    return text[:head] + _CUT.format(left_out) + text[len(text) - (most - head) :]
