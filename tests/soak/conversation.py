"""A client that holds one conversation to its end, whatever happens to the service meanwhile.

A request that was cut is not simply repeated: the client looks first whether it was done.
"""

import asyncio
from dataclasses import dataclass, field
from typing import Any

from tests.soak.caller import PAUSE, UNANSWERED, Body, Caller, accepted
from tests.soak.plans import Plan
from tests.soak.reading import ENDS_RUN, Reading
from tests.soak.violation import Violation

POLL = 0.1  # seconds

Resource = dict[str, Any]


@dataclass(slots=True)
class Told:
    """One run, as its client knows it. `reading` is None where it was polled; `cancelled`: it was asked to stop."""

    number: int
    run_id: str = ""
    status: str = ""
    reading: Reading | None = None
    cancelled: bool = False


@dataclass(slots=True)
class Conversation:
    caller: Caller
    assistant_id: str
    plan: Plan
    thread_id: str = ""
    told: list[Told] = field(default_factory=list)
    shown: list[Resource] = field(default_factory=list)

    async def hold(self) -> None:
        """Raises Violation."""
        # A thread whose creation was cut stays behind empty; nobody knows its id.
        self.thread_id = (await self.caller.insist("POST", "/threads", {}))["id"]
        for number in range(self.plan.answers):
            await self._say(self.plan.question(number))
            told = Told(number, reading=Reading() if self.plan.streamed else None)
            self.told.append(told)
            await self._take_answer(told)
        await self._say("Goodbye.")  # a thread that stayed locked would refuse
        self.shown = (await self.caller.insist("GET", f"{self._thread}/messages?order=asc&limit=100"))["data"]

    @property
    def _thread(self) -> str:
        return f"/threads/{self.thread_id}"

    def _run(self, told: Told) -> str:
        return f"{self._thread}/runs/{told.run_id}"

    async def _say(self, text: str) -> None:
        while True:
            try:
                accepted(await self.caller.ask("POST", f"{self._thread}/messages", {"role": "user", "content": text}))
                return
            except UNANSWERED:
                await asyncio.sleep(PAUSE)
            messages = await self.caller.insist("GET", f"{self._thread}/messages?limit=1")
            if messages["data"] and messages["data"][0]["content"][0]["text"]["value"] == text:
                return

    async def _take_answer(self, told: Told) -> None:
        canceller = asyncio.create_task(self._cancel_in_time(told))
        try:
            await self._see_through(told)
            if told.cancelled:
                await canceller
        finally:
            canceller.cancel()

    async def _see_through(self, told: Told) -> None:
        await self._begin(told)
        while told.status not in ENDED:
            if told.status == "requires_action":
                await self._submit(told)
            elif told.reading:
                await self._resume(told, told.reading)
            else:
                await asyncio.sleep(POLL)
                told.status = (await self._look(told))["status"]

    async def _begin(self, told: Told) -> None:
        known = {other.run_id for other in self.told}
        body = {"assistant_id": self.assistant_id, "stream": told.reading is not None}
        was_cut = False
        while not told.run_id:
            refused: Violation | None = None
            try:
                await self._post(f"{self._thread}/runs", body, told)
                continue
            except UNANSWERED:
                was_cut = True
                await asyncio.sleep(PAUSE)
            except Violation as violation:
                # A worker that had frozen with the request may still do it when it wakes up, after the look
                # below (docs/reliability.md): then the thread's lock refuses the second one.
                if not was_cut or violation.kind != "locked":
                    raise
                refused = violation
            runs = await self.caller.insist("GET", f"{self._thread}/runs?limit=20")
            begun = [run["id"] for run in runs["data"] if run["id"] not in known]
            if refused and not begun:
                raise refused
            told.run_id = begun[0] if begun else ""

    async def _submit(self, told: Told) -> None:
        run = await self._look(told)
        if run["status"] != "requires_action":
            told.status = run["status"] if not told.reading or told.reading.is_over else "queued"
            return
        turn = await self._turn(told)
        calls = run["required_action"]["submit_tool_outputs"]["tool_calls"]
        output = self.plan.output(told.number, turn)
        outputs = [{"tool_call_id": call["id"], "output": output} for call in calls]
        body = {"tool_outputs": outputs, "stream": told.reading is not None}
        try:
            await self._post(f"{self._run(told)}/submit_tool_outputs", body, told)
        except UNANSWERED:
            await asyncio.sleep(PAUSE)  # whether it was done, the run says

    async def _turn(self, told: Told) -> int:
        steps = await self.caller.insist("GET", f"{self._run(told)}/steps?limit=100")
        return sum(step["type"] == "tool_calls" and step["status"] == "completed" for step in steps["data"])

    async def _post(self, path: str, body: Body, told: Told) -> None:
        """Ask for something that goes on with the run, and take what is answered."""
        if told.reading is None:
            response = await self.caller.ask("POST", path, body)
            if response.status_code == 400 and told.cancelled:  # the cancel was faster than the outputs
                told.status = (await self._look(told))["status"]
                return
            run = accepted(response)
            told.run_id, told.status = run["id"], run["status"]
            return
        seen = len(told.reading.events)
        try:
            async with self.caller.open("POST", path, body) as response:
                if response.status_code == 400 and told.cancelled:
                    told.status = "queued"  # read on
                    return
                if response.status_code != 200:
                    accepted(response)
                await self._read(told, told.reading, response)
        finally:
            if len(told.reading.events) > seen:
                self._note(told, told.reading)

    async def _resume(self, told: Told, reading: Reading) -> None:
        try:
            after = reading.last.id if reading.last else None
            async with self.caller.open("GET", f"{self._run(told)}/events", after=after) as response:
                if response.status_code == 204:
                    if not reading.is_over:
                        raise Violation("lost", f"204 after {after}, but the run's end was not sent")
                    reading.done = True
                elif response.status_code != 200:
                    accepted(response)
                else:
                    await self._read(told, reading, response)
        except UNANSWERED:
            await asyncio.sleep(PAUSE)
        self._note(told, reading)

    async def _read(self, told: Told, reading: Reading, response: Any) -> None:
        leaves = self.plan.leaves and len(reading.events) < 12
        await reading.take(response, at_most=6 if leaves else None)

    def _note(self, told: Told, reading: Reading) -> None:
        """Take the run's id and state from what was read. It is over only when the stream has said so, too."""
        if reading.last is None:
            return
        told.run_id = told.run_id or next(
            event.data["id"] for event in reading.events if event.name.startswith("thread.run.")
        )
        status = reading.last.name.removeprefix("thread.run.")
        if status == "requires_action" or (status in ENDED and reading.done):
            told.status = status
        else:
            told.status = "queued"

    async def _look(self, told: Told) -> Resource:
        return await self.caller.insist("GET", self._run(told))

    async def _cancel_in_time(self, told: Told) -> None:
        if self.plan.cancels is None:
            return
        while not told.run_id:
            # A stream's run is known with its first event.
            if told.reading and told.reading.last:
                told.run_id = told.reading.events[0].data["id"]
            await asyncio.sleep(0.02)
        await asyncio.sleep(self.plan.cancels)
        told.cancelled = True
        while True:
            try:
                response = await self.caller.ask("POST", f"{self._run(told)}/cancel")
            except UNANSWERED:
                await asyncio.sleep(PAUSE)
                continue
            if response.status_code != 400:  # 400: too late, the run is over
                accepted(response)
            return


ENDED = {name.removeprefix("thread.run.") for name in ENDS_RUN}
