"""Whatever a client sends ends in a shape that can be stored, or in a refusal that names its place."""

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic_core import from_json, to_json

from domain.threads import message_documents, new_thread_document
from errors import InvalidRequest
from routes.request_body import parse_body
from schemas.assistant import CreateAssistant, ModifyAssistant, modified_assistant, new_assistant
from schemas.message import CreateMessage
from schemas.run import CreateRun, CreateThreadAndRun, ModifyRun, SubmitToolOutputs
from schemas.thread import CreateThread, ModifyThread

SCHEMAS = [
    CreateAssistant,
    ModifyAssistant,
    CreateMessage,
    CreateThread,
    ModifyThread,
    CreateRun,
    CreateThreadAndRun,
    ModifyRun,
    SubmitToolOutputs,
]

# Members, words and ids that the API knows, so that random values get past the first check.
WORDS = [
    *sorted({member for schema in SCHEMAS for member in schema.model_fields}),
    *("type", "text", "function", "name", "parameters", "value", "url", "file_id", "file_ids", "json_schema", "schema"),
    *("image_url", "image_file", "code_interpreter", "file_search", "auto", "user", "required", "json_object"),
    *("asst_1", "file-1", "vs_1", "call_1", "https://example.com/a.png"),
]

scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-300, 300),
    st.integers(),
    st.floats(),
    st.sampled_from(WORDS),
    st.text(max_size=10),
)
names = st.one_of(st.sampled_from(WORDS), st.text(max_size=5))
values = st.recursive(
    scalars,
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(names, inner, max_size=5)),
    max_leaves=12,
)
tools = st.fixed_dictionaries(
    {"type": st.sampled_from(["function", "file_search", "code_interpreter", "retrieval", ""])},
    optional={"function": st.fixed_dictionaries({"name": names}, optional={"parameters": values, "strict": values})},
)
messages = st.fixed_dictionaries(
    {"role": st.sampled_from(["user", "assistant"]), "content": values}, optional={"metadata": values}
)
bodies = st.one_of(
    values,
    st.dictionaries(st.sampled_from(WORDS), values, max_size=6),
    st.fixed_dictionaries(
        {"model": names}, optional={"tools": st.lists(tools, max_size=3), "temperature": scalars, "metadata": values}
    ),
    st.fixed_dictionaries({}, optional={"messages": st.lists(messages, max_size=3), "tool_resources": values}),
    messages,
)


def parsed(schema: type[Any], raw: bytes) -> Any:
    """Return the shape, or None for a refusal that can be sent."""
    try:
        return parse_body(raw, schema)
    except InvalidRequest as refusal:
        sent = f"{refusal.message} {refusal.param}"
    assert "\0" not in sent
    assert to_json(sent)
    return None


@given(st.sampled_from(SCHEMAS), bodies)
@settings(max_examples=200, deadline=None)
def test_any_json_is_a_shape_or_a_refusal(schema, body):
    parsed(schema, json.dumps(body).encode())


@given(st.sampled_from(SCHEMAS), st.binary(max_size=60))
@settings(max_examples=100, deadline=None)
def test_any_bytes_are_a_shape_or_a_refusal(schema, raw):
    parsed(schema, raw)


@given(bodies)
@settings(max_examples=100, deadline=None)
def test_what_is_accepted_can_be_stored_and_comes_back_the_same(body):
    raw = json.dumps(body).encode()
    if accepted := parsed(CreateAssistant, raw):
        assistant = new_assistant("asst_1", accepted, 0)
        assert from_json(to_json(assistant)) == assistant
        assert modified_assistant(assistant, parse_body(b"{}", ModifyAssistant)) == assistant
    if accepted := parsed(CreateThread, raw):
        thread = new_thread_document("thread_1", accepted, 0)
        created, next_seq = message_documents(thread, accepted.messages or [], 0)
        assert next_seq == thread.body["next_seq"] + len(created)
        for document in [thread, *(change.document for change in created)]:
            assert from_json(to_json(document.body)) == document.body


@given(st.dictionaries(st.text(max_size=70), st.text(max_size=520), max_size=18))
@settings(max_examples=100, deadline=None)
def test_metadata_is_taken_within_its_limits_and_only_there(metadata):
    within = (
        len(metadata) <= 16
        and all(len(key) <= 64 and len(value) <= 512 for key, value in metadata.items())
        and not any("\0" in text for pair in metadata.items() for text in pair)
    )
    accepted = parsed(ModifyThread, json.dumps({"metadata": metadata}).encode())
    assert (accepted is not None) == within
    if accepted:
        assert accepted.metadata == metadata
