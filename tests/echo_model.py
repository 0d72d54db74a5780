"""The stateless model: what it answers follows from the request alone.

So a model call that is repeated after a crash gets the same answer. The last user message may
carry directives, anywhere in its text, each a word of its own:

    call:NAME          call this function (several: in parallel)
    args:JSON          the arguments of all calls; JSON without spaces (default {})
    rounds:N           ask for the calls again until N rounds were answered (default 1)
    words:N            answer with N words
    first-delay:S      seconds before the first chunk
    delay:S            seconds between chunks

Without directives it answers "You said: <text>"; after function calls "The tools said: <outputs>".
"""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Reply:
    text: str
    calls: list[tuple[str, str]]
    first_delay: float | None
    delay: float | None

    @property
    def tokens(self) -> int:
        return len(self.text.split()) + sum(len(name) + len(arguments) for name, arguments in self.calls) + 1


def reply_to(messages: list[dict[str, Any]]) -> Reply:
    asked = max((at for at, message in enumerate(messages) if message["role"] == "user"), default=-1)
    text = text_of(messages[asked]) if asked >= 0 else ""
    since = messages[asked + 1 :]
    directives = [(name, value) for name, _, value in (word.partition(":") for word in text.split()) if value]
    options = dict(directives)
    functions = [value for name, value in directives if name == "call"]
    rounds = sum(1 for message in since if message.get("tool_calls"))
    again = functions and rounds < int(options.get("rounds", 1))
    return Reply(
        text="" if again else _spoken(text, since, options),
        calls=[(name, options.get("args", "{}")) for name in functions] if again else [],
        first_delay=_seconds(options, "first-delay"),
        delay=_seconds(options, "delay"),
    )


def text_of(message: dict[str, Any]) -> str:
    content = message.get("content") or ""
    if isinstance(content, str):
        return content
    return " ".join(part["text"] for part in content if part.get("type") == "text")


def prompt_tokens(messages: list[dict[str, Any]]) -> int:
    return sum(len(text_of(message).split()) + 4 for message in messages)


def _spoken(text: str, since: list[dict[str, Any]], options: dict[str, str]) -> str:
    if "words" in options:
        return " ".join(f"word{number}" for number in range(int(options["words"])))
    outputs = [text_of(message) for message in since if message["role"] == "tool"]
    return f"The tools said: {', '.join(outputs)}" if outputs else f"You said: {text}"


def _seconds(options: dict[str, str], name: str) -> float | None:
    return float(options[name]) if name in options else None
