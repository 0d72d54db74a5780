"""Which messages of the thread the model sees: the newest ones that fit, and always the first (E.6.4).

Fed newest first and stopped when full, so a run costs what its window holds, not what its thread holds.
"""

import json
from collections.abc import Mapping, Sequence

from domain import tokens
from domain.chat_messages import (
    NO_TOOLS,
    ChatMessage,
    Resource,
    TurnRecord,
    chat_message,
    chat_tools,
    system_messages,
    turn_messages,
)

# Tokens kept free for an answer whose length nobody limited.
ANSWER_RESERVE = 4_096


class Window:
    """Collects a thread's messages for one turn of a run.

    `add` messages newest first for as long as it says True. Then, if `wants_first`, give it the
    thread's first user message. Messages are resources as the API shows them; `messages` are the
    chat messages. What the run itself put into the thread is passed over: `chat_request` gives the
    model the run's turns in full, and they are charged here.

    The newest message is in even where it alone is too long for the model: the endpoint, which knows
    its window best, decides. It never breaks the run's own budget: where that can't pay for the
    newest message, `is_over_prompt_budget` says that the run ends for `max_prompt_tokens` (E.6.2).
    """

    def __init__(
        self,
        run: Resource,
        turns: Sequence[TurnRecord],
        *,
        context_tokens: int,
        prompt_tokens_spent: int = 0,
        built_in: Mapping[str, Resource] = NO_TOOLS,
    ) -> None:
        room = context_tokens - _answer_reserve(run["max_completion_tokens"], context_tokens)
        limit = run["max_prompt_tokens"]
        left = room if limit is None else min(room, limit - prompt_tokens_spent)
        self._is_capped = left < room
        self._budget = _Budget(left)
        for message in [*system_messages(run), *_tool_definitions(run, built_in), *turn_messages(turns)]:
            self._budget.charge(message)
        self._run_id = run["id"]
        self._last_messages: int | None = run["truncation_strategy"].get("last_messages")
        self._taken: list[ChatMessage] = []  # newest first
        self._first: ChatMessage | None = None
        self._seen: set[str] = set()
        self.wants_first = False
        self.is_over_prompt_budget = self._is_capped and self._budget.is_overdrawn()

    @property
    def messages(self) -> list[ChatMessage]:
        """Oldest first."""
        return [*([self._first] if self._first else ()), *reversed(self._taken)]

    def add(self, message: Resource) -> bool:
        """Take the next older message. False: the window is full, read no further."""
        if self.is_over_prompt_budget:
            return False
        if message["run_id"] == self._run_id:
            return True
        if (said := chat_message(message)) and not self._take(said):
            return False
        self._seen.add(message["id"])
        return self._last_messages is None or len(self._seen) < self._last_messages

    def keep_first(self, message: Resource) -> None:
        """Have the thread's first user message in, at the cost of the oldest of the others.

        Not if only the newest message or less would remain beside it.
        """
        said = chat_message(message)
        if not self.wants_first or message["id"] in self._seen or said is None:
            return
        older = self._taken[1:]
        if not self._budget.affords(said, instead_of=older):
            return
        while not self._budget.take(said):
            self._budget.refund(self._taken.pop())
        self._first = said

    def _take(self, said: ChatMessage) -> bool:
        if not self._budget.take(said):
            if self._taken:
                self.wants_first = self._last_messages is None
                return False
            if self._is_capped:
                self.is_over_prompt_budget = True
                return False
            self._budget.charge(said)
        self._taken.append(said)
        return True


class _Budget:
    """Tokens to spend. Messages are charged a cheap upper bound; only when that no longer fits are they counted."""

    def __init__(self, left: int) -> None:
        self._left = left
        self._uncounted: list[tuple[ChatMessage, int]] = []

    def charge(self, message: ChatMessage) -> None:
        """Spend it whether it fits or not."""
        self._charge(message, tokens.at_most_of_message(message))

    def take(self, message: ChatMessage) -> bool:
        """Spend it if it fits."""
        bound = tokens.at_most_of_message(message)
        if bound <= self._left:
            self._charge(message, bound)
            return True
        self._count()
        cost = tokens.of_message(message, limit=self._left)
        self._left -= cost or 0
        return cost is not None

    def refund(self, message: ChatMessage) -> None:
        self._count()
        self._left += tokens.of_message(message)

    def affords(self, message: ChatMessage, *, instead_of: Sequence[ChatMessage]) -> bool:
        self._count()
        limit = self._left + tokens.of_messages(instead_of)
        return tokens.of_message(message, limit=limit) is not None

    def is_overdrawn(self) -> bool:
        if self._left < 0:
            self._count()
        return self._left < 0

    def _charge(self, message: ChatMessage, bound: int) -> None:
        self._left -= bound
        self._uncounted.append((message, bound))

    def _count(self) -> None:
        self._left += sum(bound - tokens.of_message(message) for message, bound in self._uncounted)
        self._uncounted.clear()


def _answer_reserve(max_completion_tokens: int | None, context_tokens: int) -> int:
    if max_completion_tokens is None:
        return min(ANSWER_RESERVE, context_tokens // 4)
    return min(max_completion_tokens, context_tokens // 2)


def _tool_definitions(run: Resource, built_in: Mapping[str, Resource]) -> list[ChatMessage]:
    """About what the definitions cost: as much as their JSON."""
    tools = chat_tools(run["tools"], built_in)
    return [{"role": "system", "content": json.dumps(tools)}] if tools else []
