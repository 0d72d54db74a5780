"""What fits into one commit (architecture, section 3): larger things are refused before they are tried.

A run ends in one commit, which holds the run and its last message twice: as it is stored and in the log.
So that every run can end, a run and an answer have limits, whose sum is below that of a commit.
"""

from collections.abc import Iterable
from typing import Any

from pydantic_core import to_json

from errors import InvalidRequest

MAX_ASSISTANT = 800_000  # bytes as JSON: 256,000 characters of any script, and tools
MAX_RUN = 900_000  # bytes as JSON: what is taken of the assistant, and what the request adds
MAX_ANSWER = 350_000  # bytes as JSON of all text of one turn of the model
MAX_SHOWN_OUTPUTS = (
    300_000  # bytes as JSON of all outputs of built-in tools in a turn; twice beside a run and its calls
)
MAX_MESSAGES = 1_000_000  # bytes as JSON, all messages of one request together


def check_assistant_size(assistant: dict[str, Any]) -> None:
    size = len(to_json(assistant))
    if size > MAX_ASSISTANT:
        raise InvalidRequest(
            f"The assistant is too large: it takes {size} bytes, of at most {MAX_ASSISTANT}. "
            "Shorten its instructions or the parameters of its functions."
        )


def check_run_size(run: dict[str, Any]) -> None:
    size = len(to_json(run))
    if size > MAX_RUN:
        raise InvalidRequest(
            f"The run is too large: with the assistant's settings it takes {size} bytes, of at most {MAX_RUN}. "
            "Shorten its instructions or the parameters of its functions."
        )


def check_message_size(messages: Iterable[dict[str, Any]], param: str) -> None:
    """`param` is the request's member that holds the messages."""
    size = sum(len(to_json(message)) for message in messages)
    if size > MAX_MESSAGES:
        raise InvalidRequest(
            f"Invalid '{param}': too large. It takes {size} bytes, of at most {MAX_MESSAGES} in one request.",
            param=param,
        )
