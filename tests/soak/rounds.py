"""A round: clients hold conversations, blows fall, and once the last conversation is over all are judged."""

import asyncio
import random
import time
from collections.abc import Iterable
from dataclasses import dataclass, field

import httpx

from tests.service import Service
from tests.soak import plans, verdict
from tests.soak.caller import Caller
from tests.soak.conversation import Conversation
from tests.soak.stores import Store
from tests.soak.strikes import Strike, Striker
from tests.soak.violation import Violation

PATIENCE = 120.0  # seconds for one conversation


@dataclass(slots=True)
class Outcome:
    """`violations` say what, and what it takes to see it again."""

    strikes: list[Strike]
    conversations: list[Conversation] = field(default_factory=list)
    violations: list[Violation] = field(default_factory=list)
    refusals: int = 0

    @property
    def runs(self) -> int:
        return sum(len(conversation.told) for conversation in self.conversations)


@dataclass(slots=True)
class Soak:
    service: Service
    store: Store
    chance: random.Random
    workers: int = 2
    clients: int = 6

    async def round(self, strikes: Iterable[Strike]) -> Outcome:
        outcome = Outcome(list(strikes))
        limits = httpx.Limits(max_keepalive_connections=0)  # connections spread over the workers
        headers = {"api-key": self.service.key}
        async with httpx.AsyncClient(
            base_url=self.service.base_url, headers=headers, timeout=40.0, limits=limits, trust_env=False
        ) as http:
            caller = Caller(http)
            assistant = await caller.insist("POST", "/assistants", {"model": "echo", "tools": [_LOOK_UP]})
            over = asyncio.Event()
            clients = [self._client(caller, assistant["id"], outcome, over) for _ in range(self.clients)]
            talking = asyncio.gather(*clients)
            try:
                await self._strike(outcome)
            finally:
                over.set()
                await talking
            self._note_cuts(outcome, caller)
        await self._judge(outcome)
        return outcome

    async def _client(self, caller: Caller, assistant_id: str, outcome: Outcome, over: asyncio.Event) -> None:
        while True:  # at least one each
            plan = plans.draw(self.chance)
            conversation = Conversation(caller, assistant_id, plan)
            try:
                async with asyncio.timeout(PATIENCE):
                    await conversation.hold()
            except TimeoutError:
                what = f"no end after {PATIENCE:g} s: {conversation.told[-1:]}"
                outcome.violations.append(_about(conversation, Violation("lost", what)))
            except Violation as violation:
                outcome.violations.append(_about(conversation, violation))
            else:
                outcome.conversations.append(conversation)
            if over.is_set():
                return

    async def _strike(self, outcome: Outcome) -> None:
        striker = Striker(self.service, self.workers, self.store, self.chance)
        try:
            for blow in outcome.strikes:
                # Often at once, which also meets workers that are only starting.
                await asyncio.sleep(self.chance.choice((0.0, self.chance.uniform(0.2, 1.0), 1.5)))
                await striker.strike(blow)
        except Violation as violation:
            outcome.violations.append(violation)

    def _note_cuts(self, outcome: Outcome, caller: Caller) -> None:
        outcome.refusals = caller.refusals
        for at, what in caller.cuts:
            before = [blow for blow in outcome.strikes if blow.at and blow.at <= at + 0.05]
            if before:
                before[-1].cut.append(what)

    async def _judge(self, outcome: Outcome) -> None:
        documents = self.store.documents()
        try:
            for conversation in outcome.conversations:
                try:
                    await verdict.check(documents, conversation)
                except Violation as violation:
                    outcome.violations.append(_about(conversation, violation))
        finally:
            await documents.close()
        await self._measure(outcome.strikes)

    async def _measure(self, strikes: list[Strike]) -> None:
        """Note how long each run that was hit stood still: from the last blow before it was written again."""
        fell = [blow for blow in strikes if blow.at]
        for run_id in {delivery.instance_id for blow in fell for delivery in blow.hit if delivery.instance_id}:
            written = await self.store.written_at(run_id)
            hits = [blow.at for blow in fell if any(delivery.instance_id == run_id for delivery in blow.hit)]
            for again in {next((at for at in written if at > hit), 0.0) for hit in hits} - {0.0}:
                last = [blow for blow in fell if blow.at < again][-1]
                last.recoveries[run_id] = again - last.at


def _about(conversation: Conversation, violation: Violation) -> Violation:
    about = f"{violation}\n    in {conversation.thread_id}, at {time.strftime('%H:%M:%S')}: {conversation.plan}"
    told = "".join(f"\n    {told.run_id} {told.status}" for told in conversation.told)
    return Violation(violation.kind, about.removeprefix(f"{violation.kind}: ") + told)


_LOOK_UP = {
    "type": "function",
    "function": {"name": "look_up", "parameters": {"type": "object", "properties": {"n": {"type": "integer"}}}},
}
