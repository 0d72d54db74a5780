"""What fits into one commit (architecture, section 3): larger things are refused before they are tried."""

from collections.abc import Iterable
from typing import Any

from pydantic_core import to_json

from errors import InvalidRequest

MAX_ASSISTANT = 800_000  # bytes as JSON: 256,000 characters of any script, and tools
MAX_MESSAGES = 1_000_000  # bytes as JSON, all messages of one request together


def check_assistant_size(assistant: dict[str, Any]) -> None:
    size = len(to_json(assistant))
    if size > MAX_ASSISTANT:
        raise InvalidRequest(
            f"The assistant is too large: it takes {size} bytes, of at most {MAX_ASSISTANT}. "
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
