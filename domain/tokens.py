"""Counting tokens, with the vocabulary of OpenAI's current models (o200k_base).

Other models' vocabularies differ by some ten per cent; whoever counts here keeps a reserve.
"""

import importlib.machinery
import importlib.util
from collections.abc import Iterable
from functools import cache, lru_cache
from typing import Any, Protocol, overload

PER_MESSAGE = 4  # what a chat message costs besides its content
# The messages of a thread are counted in each of its runs. At most some 16 MB are remembered, mostly far less.
_REMEMBERED, _REMEMBERED_LENGTH = 8_192, 2_000
# An image costs what its size says, which only the endpoint sees: these are those of 1024 × 1024.
PER_IMAGE = {"low": 85, "high": 765, "auto": 765}


class _Tokenizer(Protocol):
    def count(self, text: str) -> int: ...

    def count_till_limit(self, text: str, token_limit: int) -> int | None: ...


@cache
def _tokenizer() -> _Tokenizer:
    """Takes 60 ms and 65 MB at the first need, which many processes never have (see `at_most`)."""
    # The package's own __init__ reads three vocabularies into dicts, of which we use nothing: 0.7 s
    # and 70 MB more, under the interpreter's lock. So its compiled module is loaded by itself.
    package = importlib.util.find_spec("bpe_openai")
    places = package.submodule_search_locations if package else None
    spec = importlib.machinery.PathFinder.find_spec("bpe_openai._bindings", places)
    if spec is None or spec.loader is None:
        raise ImportError("bpe-openai is not installed.")
    bindings = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(bindings)
    return bindings.tokenizer_for_encoding("o200k_base")


def count(text: str) -> int:
    return _remembered(text) if len(text) <= _REMEMBERED_LENGTH else _tokenizer().count(text)


@lru_cache(_REMEMBERED)
def _remembered(text: str) -> int:
    return _tokenizer().count(text)


def at_most(text: str) -> int:
    """An upper bound that costs nothing to know: every token is at least one byte."""
    return len(text.encode())


def at_most_of_message(message: dict[str, Any]) -> int:
    """An upper bound of what `of_message` says, without loading a vocabulary."""
    return _fixed_cost(message) + sum(map(at_most, _texts(message)))


@overload
def of_message(message: dict[str, Any]) -> int: ...
@overload
def of_message(message: dict[str, Any], *, limit: int) -> int | None: ...
def of_message(message: dict[str, Any], *, limit: int | None = None) -> int | None:
    """The tokens of a chat message; with a limit None if they are more.

    With a limit it costs what counting so many tokens costs, however long the message is.
    """
    total = _fixed_cost(message)
    for text in _texts(message):
        counted = count(text) if limit is None else _count_up_to(text, limit - total)
        if counted is None:
            return None
        total += counted
    return total if limit is None or total <= limit else None


def of_messages(messages: Iterable[dict[str, Any]]) -> int:
    return sum(of_message(message) for message in messages)


def _count_up_to(text: str, limit: int) -> int | None:
    if len(text) <= _REMEMBERED_LENGTH:
        counted = _remembered(text)
        return counted if counted <= limit else None
    return _tokenizer().count_till_limit(text, limit) if limit >= 0 else None


def _fixed_cost(message: dict[str, Any]) -> int:
    content = message.get("content")
    if not isinstance(content, list):
        return PER_MESSAGE
    images = [part["image_url"] for part in content if part["type"] == "image_url"]
    return PER_MESSAGE + sum(PER_IMAGE.get(image.get("detail", "auto"), PER_IMAGE["auto"]) for image in images)


def _texts(message: dict[str, Any]) -> list[str]:
    content = message.get("content")
    if isinstance(content, list):
        texts = [part["text"] for part in content if part["type"] == "text"]
    else:
        texts = [content] if content else []
    for call in message.get("tool_calls") or ():
        texts += call["function"]["name"], call["function"]["arguments"]
    return texts
