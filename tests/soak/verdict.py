"""What a conversation has left behind, held against what it must be.

The thread, its messages, steps and turns, and each run's log are read where they are stored; what the
client was shown and what its streams said must be the same.
"""

from collections import Counter
from typing import Any

from domain import runs
from events import log
from events.addresses import thread_partition, turn_id
from events.log import Batch, is_run_event
from events.run_record import run_of
from ports.documents import Documents
from tests.model.stream_rules import StreamRules
from tests.soak.conversation import Conversation, Told
from tests.soak.reading import ENDS_RUN, Reading
from tests.soak.violation import Violation, must

Resource = dict[str, Any]

FIRST_SEQ = 1


async def check(documents: Documents, conversation: Conversation) -> None:
    """Raises Violation."""
    partition = thread_partition("default", conversation.thread_id)
    thread = await documents.get(partition, conversation.thread_id)
    assert thread
    must(thread.body["active_run_id"] is None, "locked", f"{conversation.thread_id} is locked")
    found = {kind: await documents.list(partition, kind, limit=1000) for kind in ("message", "step", "run")}
    places = Counter(document.sort for kind in found.values() for document in kind)
    must(max(places.values()) == 1, "doubled", "two things have one place in the thread")
    taken = thread.body["next_seq"] - FIRST_SEQ
    must(taken == len(places), "lost", f"{taken} places were taken, {len(places)} things are there")

    begun = [run.id for run in found["run"]]
    expected = [told.run_id for told in conversation.told]
    must(set(begun) >= set(expected), "lost", f"of the runs {expected} only {begun} are there")
    must(begun == expected, "doubled", f"the client began {expected}, there are {begun}")
    messages = [document.body["resource"] for document in found["message"]]
    must(conversation.shown == messages, "wrong", "the client was shown other messages than are stored")
    _check_questions(conversation, messages)
    steps = [document.body["resource"] for document in found["step"]]
    for told, run in zip(conversation.told, found["run"], strict=True):
        must(run.unfinished_since is None, "locked", f"{run.id} is over, but counts as unfinished")
        of_run = [[each for each in kind if each["run_id"] == run.id] for kind in (messages, steps)]
        await _check_run(documents, partition, conversation, told, run_of(run), *of_run)


def _check_questions(conversation: Conversation, messages: list[Resource]) -> None:
    said = [_text(message) for message in messages if message["role"] == "user"]
    asked = [conversation.plan.question(told.number) for told in conversation.told] + ["Goodbye."]
    must(Counter(said) >= Counter(asked), "lost", "a message of the client is missing")
    must(said == asked, "doubled", f"{len(said)} messages of the client, not {len(asked)}")


async def _check_run(
    documents: Documents,
    partition: str,
    conversation: Conversation,
    told: Told,
    run: Resource,
    messages: list[Resource],
    steps: list[Resource],
) -> None:
    batches = [_whole(batch, steps) async for batch in log.read(documents, partition, run["id"])]
    rules = _check_log(batches, run)
    if told.reading:
        _check_reading(told.reading, batches, run)
    allowed = {"completed", "cancelled"} if told.cancelled else {"completed"}
    must(run["status"] in allowed, "lost", f"{run['id']} is {run['status']}: {run['last_error']}")
    _check_steps(steps, messages, rules)
    if run["status"] == "cancelled":
        _check_cancelled(conversation, told, messages, rules)
        return
    await _check_turns(documents, partition, run["id"], conversation.plan.rounds)
    expected = ["tool_calls"] * conversation.plan.rounds + ["message_creation"]
    made = [step["type"] for step in steps]
    must(len(made) >= len(expected), "lost", f"{run['id']} has the steps {made}, not {expected}")
    must(made == expected, "doubled", f"{run['id']} has the steps {made}, not {expected}")
    must(all(step["status"] == "completed" for step in steps), "wrong", f"{run['id']} has a step that is not completed")
    outputs = [call["function"]["output"] for step in steps[:-1] for call in step["step_details"]["tool_calls"]]
    submitted = [conversation.plan.output(told.number, turn) for turn in range(conversation.plan.rounds)]
    must(outputs == submitted, "wrong", f"{run['id']} has other outputs than were submitted")
    must(len(messages) > 0, "lost", f"{run['id']} has no message")
    must(len(messages) == 1, "doubled", f"{run['id']} has {len(messages)} messages")
    right = messages[0]["status"] == "completed" and _text(messages[0]) == conversation.plan.answer(told.number)
    must(right, "wrong", f"{run['id']} answers {_text(messages[0])!r}")


def _whole(batch: Batch, steps: list[Resource]) -> Batch:
    """Put in the steps that the log only names: those that ended with a client's outputs."""
    stored = {step["id"]: step for step in steps}
    events = [(name, stored[data["id"]] if data.keys() == {"id"} else data) for name, data in batch.events]
    return Batch(batch.number, events, batch.turn)


def _check_log(batches: list[Batch], run: Resource) -> StreamRules:
    numbers = [batch.number for batch in batches]
    must(numbers == list(range(len(numbers))), "lost", f"the log of {run['id']} has the batches {numbers}")
    rules = StreamRules()
    events = [event for batch in batches for event in batch.events]
    try:
        for event in events:
            rules.take(*event)
    except AssertionError as error:
        raise Violation("wrong", f"the log of {run['id']}: {error}: {[name for name, _ in events]}") from error
    must(events[-1][0] in ENDS_RUN, "lost", f"the log of {run['id']} has no end")
    must(events[-1][1] == runs.state(run), "wrong", f"the log of {run['id']} ends in another state than the run")
    return rules


def _check_reading(reading: Reading, batches: list[Batch], run: Resource) -> None:
    """What the client was sent is what was written: all of it, once, in order."""
    written = [
        ((batch.number, index), name, data) for batch in batches for index, (name, data) in enumerate(batch.events)
    ]
    sent = [
        (event.cursor, event.name, runs.state(event.data) if is_run_event(event.name) else event.data)
        for event in reading.events
    ]
    must(reading.done, "lost", f"a stream of {run['id']} did not end")
    missing = [cursor for cursor, *_ in written if cursor not in {event.cursor for event in reading.events}]
    must(not missing, "lost", f"the events {missing} of {run['id']} were not sent")
    must(sent == written, "wrong", f"a stream of {run['id']} is not its log")
    must(reading.events[-1].data == run, "wrong", f"the last run in the stream of {run['id']} is not the stored one")


def _check_steps(steps: list[Resource], messages: list[Resource], rules: StreamRules) -> None:
    stored = all(rules.ended_steps.get(step["id"]) == step for step in steps)
    must(stored, "wrong", "a stored step is not the one that the stream ended with")
    made = [s["step_details"]["message_creation"]["message_id"] for s in steps if s["type"] == "message_creation"]
    must(made == [message["id"] for message in messages], "wrong", "messages and their steps do not agree")
    for message in messages:
        must(rules.ended_messages.get(message["id"]) == message, "wrong", "a stored message is not the streamed one")
    if messages:
        last = list(rules.ended_messages)[-1]
        must(messages[-1]["id"] == last, "wrong", "the stream's last message is not the stored one")


def _check_cancelled(conversation: Conversation, told: Told, messages: list[Resource], rules: StreamRules) -> None:
    must(len(messages) == min(len(rules.ended_messages), 1), "wrong", f"{told.run_id}: {len(messages)} messages")
    for message in messages:
        begins = conversation.plan.answer(told.number).startswith(_text(message))
        must(
            begins and message["status"] == "incomplete", "wrong", f"{told.run_id} was cancelled at {_text(message)!r}"
        )


async def _check_turns(documents: Documents, partition: str, run_id: str, rounds: int) -> None:
    for turn in range(rounds + 2):
        record = await documents.get(partition, turn_id(run_id, turn))
        must(record is not None or turn > rounds, "lost", f"turn {turn} of {run_id} has no record")
        must(record is None or turn <= rounds, "doubled", f"{run_id} took {turn + 1} turns, not {rounds + 1}")


def _text(message: Resource) -> str:
    return "".join(part["text"]["value"] for part in message["content"])
