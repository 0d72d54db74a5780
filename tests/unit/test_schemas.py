"""What requests may hold, and the exact words about what they may not (J.3)."""

import json
import time

import pytest

from errors import InvalidRequest
from routes.request_body import parse_body
from schemas.assistant import CreateAssistant, ModifyAssistant, modified_assistant, new_assistant
from schemas.json_schema import strict_fault
from schemas.message import CreateMessage, ModifyMessage
from schemas.run import CreateRun, CreateThreadAndRun, SubmitToolOutputs
from schemas.thread import CreateThread, ModifyThread


def parse(schema, body):
    return parse_body(body if isinstance(body, bytes) else json.dumps(body).encode(), schema)


def refusal(schema, body) -> InvalidRequest:
    with pytest.raises(InvalidRequest) as raised:
        parse(schema, body)
    return raised.value


def assistant_with(**members):
    return {"model": "gpt-4o", **members}


def function(**members):
    return assistant_with(tools=[{"type": "function", "function": members}])


def message_with(**members):
    return {"role": "user", "content": "Hello", **members}


REFUSALS = [
    (CreateAssistant, {}, "missing_required_parameter", "model", "Missing required parameter: 'model'."),
    (
        CreateAssistant,
        assistant_with(file_ids=[]),
        "unknown_parameter",
        "file_ids",
        "Unknown parameter: 'file_ids'.",
    ),
    (
        CreateAssistant,
        assistant_with(name=5),
        "invalid_type",
        "name",
        "Invalid type for 'name': expected a string, but got an integer instead.",
    ),
    (
        CreateAssistant,
        assistant_with(name="n" * 300),
        "string_above_max_length",
        "name",
        "Invalid 'name': string too long. Expected a string with maximum length 256, "
        "but got a string with length 300 instead.",
    ),
    (
        CreateAssistant,
        assistant_with(tools=[{"type": "code_interpreter"}] * 130),
        "array_above_max_length",
        "tools",
        "Invalid 'tools': array too long. Expected an array with maximum length 128, "
        "but got an array with length 130 instead.",
    ),
    (
        CreateAssistant,
        assistant_with(metadata={str(n): "" for n in range(17)}),
        "object_above_max_properties",
        "metadata",
        "Invalid 'metadata': too many properties. Expected an object with at most 16 properties, "
        "but got an object with 17 properties instead.",
    ),
    (
        CreateAssistant,
        assistant_with(metadata={"n": 1}),
        "invalid_type",
        "metadata.n",
        "Invalid type for 'metadata.n': expected a string, but got an integer instead.",
    ),
    (
        CreateAssistant,
        assistant_with(temperature=3),
        "decimal_above_max_value",
        "temperature",
        "Invalid 'temperature': decimal above maximum value. Expected a value <= 2, but got 3 instead.",
    ),
    (
        CreateAssistant,
        assistant_with(top_p=-0.5),
        "decimal_below_min_value",
        "top_p",
        "Invalid 'top_p': decimal below minimum value. Expected a value >= 0, but got -0.5 instead.",
    ),
    (
        CreateAssistant,
        assistant_with(tools=[{"type": "file_search", "file_search": {"max_num_results": 51}}]),
        "integer_above_max_value",
        "tools[0].file_search.max_num_results",
        "Invalid 'tools[0].file_search.max_num_results': integer above maximum value. "
        "Expected a value <= 50, but got 51 instead.",
    ),
    (
        CreateAssistant,
        function(),
        "missing_required_parameter",
        "tools[0].function.name",
        "Missing required parameter: 'tools[0].function.name'.",
    ),
    (
        CreateAssistant,
        function(name="f", description=True),
        "invalid_type",
        "tools[0].function.description",
        "Invalid type for 'tools[0].function.description': expected a string, but got a boolean instead.",
    ),
    (
        CreateAssistant,
        function(name="two words"),
        "invalid_value",
        "tools[0].function.name",
        "Invalid 'tools[0].function.name': string does not match pattern. Expected a string that matches the "
        "pattern '^[A-Za-z0-9_-]+$'.",
    ),
    (
        CreateAssistant,
        assistant_with(tools=[{"type": "function", "function": {"name": "f"}, "description": "d"}]),
        "unknown_parameter",
        "tools[0].description",
        "Unknown parameter: 'tools[0].description'.",
    ),
    (
        CreateAssistant,
        assistant_with(tools=[{"type": "browser"}]),
        "invalid_value",
        "tools[0].type",
        "Invalid value: 'browser'. Supported values are: 'code_interpreter', 'file_search', and 'function'.",
    ),
    (
        CreateAssistant,
        assistant_with(tools=[{}]),
        "missing_required_parameter",
        "tools[0].type",
        "Missing required parameter: 'tools[0].type'.",
    ),
    (
        CreateAssistant,
        assistant_with(tools={}),
        "invalid_type",
        "tools",
        "Invalid type for 'tools': expected an array, but got an object instead.",
    ),
    (
        CreateAssistant,
        assistant_with(tool_resources={"code_interpreter": {"file_ids": ["f1"]}}),
        "invalid_value",
        "tool_resources.code_interpreter.file_ids[0]",
        "Invalid 'tool_resources.code_interpreter.file_ids[0]': 'f1'. Expected an ID that begins with 'file'.",
    ),
    (
        CreateAssistant,
        assistant_with(response_format={"type": "json_schema", "json_schema": {"schema": {}}}),
        "missing_required_parameter",
        "response_format.json_schema.name",
        "Missing required parameter: 'response_format.json_schema.name'.",
    ),
    (
        ModifyAssistant,
        {"model": None},
        "invalid_type",
        "model",
        "Invalid type for 'model': expected a string, but got null instead.",
    ),
    (
        CreateMessage,
        message_with(role="system"),
        "invalid_value",
        "role",
        "Invalid value: 'system'. Supported values are: 'user' and 'assistant'.",
    ),
    (
        CreateMessage,
        message_with(content=7),
        "invalid_type",
        "content",
        "Invalid type for 'content': expected one of a string or an array of objects, but got an integer instead.",
    ),
    (
        CreateMessage,
        message_with(content=[{"type": "refusal", "refusal": "No."}]),
        "invalid_value",
        "content[0].type",
        "Invalid value: 'refusal'. Supported values are: 'text', 'image_file', and 'image_url'.",
    ),
    (
        CreateMessage,
        message_with(content=[{"type": "image_url", "image_url": {"url": "https://x/y.png", "detail": "most"}}]),
        "invalid_value",
        "content[0].image_url.detail",
        "Invalid value: 'most'. Supported values are: 'auto', 'low', and 'high'.",
    ),
    (
        CreateMessage,
        message_with(content=""),
        "string_below_min_length",
        "content",
        "Invalid 'content': string too short. Expected a string with minimum length 1, but got an empty string "
        "instead.",
    ),
    (
        CreateMessage,
        message_with(content=[]),
        "array_below_min_length",
        "content",
        "Invalid 'content': array too short. Expected an array with minimum length 1, but got an empty array instead.",
    ),
    (
        CreateThread,
        {"messages": [message_with(), message_with(), {"role": "user"}]},
        "missing_required_parameter",
        "messages[2].content",
        "Missing required parameter: 'messages[2].content'.",
    ),
    (
        CreateThread,
        {"messages": [message_with()] * 33},
        "array_above_max_length",
        "messages",
        "Invalid 'messages': array too long. Expected an array with maximum length 32, "
        "but got an array with length 33 instead.",
    ),
    (
        CreateMessage,
        message_with(content=[{"type": "text", "text": "part"}] * 101),
        "array_above_max_length",
        "content",
        "Invalid 'content': array too long. Expected an array with maximum length 100, "
        "but got an array with length 101 instead.",
    ),
    (
        CreateMessage,
        message_with(attachments=[{"file_id": "file-1", "tools": [{"type": "file_search"}]}] * 101),
        "array_above_max_length",
        "attachments",
        "Invalid 'attachments': array too long. Expected an array with maximum length 100, "
        "but got an array with length 101 instead.",
    ),
    (
        ModifyThread,
        {"messages": []},
        "unknown_parameter",
        "messages",
        "Unknown parameter: 'messages'.",
    ),
    (
        ModifyMessage,
        {"content": "other"},
        "unknown_parameter",
        "content",
        "Unknown parameter: 'content'.",
    ),
]


@pytest.mark.parametrize(("schema", "body", "code", "param", "message"), REFUSALS, ids=lambda value: str(value)[:40])
def test_a_refusal_names_what_is_wrong(schema, body, code, param, message):
    error = refusal(schema, body)
    assert (error.code, error.param, error.message) == (code, param, message)


@pytest.mark.parametrize(
    ("schema", "body", "param", "advice"),
    [
        (CreateAssistant, assistant_with(tools=[{"type": "retrieval"}]), "tools[0].type", "file_search"),
        (CreateAssistant, assistant_with(tools=[{"type": "code_interpreter"}] * 2), "tools", "more than once"),
        (CreateAssistant, assistant_with(tools=function(name="f")["tools"] * 2), "tools", "more than once"),
        (
            CreateThread,
            {"tool_resources": {"file_search": {"vector_stores": [{"file_ids": []}]}}},
            "tool_resources.file_search.vector_stores",
            "not supported yet",
        ),
        (
            CreateAssistant,
            function(name="f", strict=True, parameters={"type": "object", "properties": {"a": {}}}),
            "tools[0].function.parameters",
            "additionalProperties",
        ),
        (
            CreateMessage,
            message_with(content=[{"type": "image_url", "image_url": {"url": "file:///etc/passwd"}}]),
            "content[0].image_url.url",
            "Expected a valid URL",
        ),
        (CreateMessage, message_with(attachments=[{"file_id": "file-1", "tools": []}]), "attachments[0].tools", "1"),
    ],
)
def test_a_refusal_says_what_to_do(schema, body, param, advice):
    error = refusal(schema, body)
    assert error.param == param
    assert advice in error.message


NO_IMAGE_URLS = ["", "cat.png", "example.com/cat.png", "//example.com/cat.png", "ftp://example.com/cat.png"]
NO_IMAGE_URLS += ["http://", "https:///cat.png", "https://?cat", "http:example.com", "https://:443/cat.png", "HTTPS://"]
NO_IMAGE_URLS += ["https://example.com:port/", "https://example.com:99999/", "http://[::1/", "https://exa mple.com/"]
NO_IMAGE_URLS += [" https://example.com/", "https://example.com/\n", "https://example.com/\x7f", "javascript:alert(1)"]
NO_IMAGE_URLS += ["data:", "data:image/png", "data:image/png;base64,", "data:text/html,x", "data:image/,x", "file:///c"]


@pytest.mark.parametrize("url", NO_IMAGE_URLS)
@pytest.mark.parametrize(
    ("schema", "body", "path"),
    [
        (CreateMessage, lambda message: message, ""),
        (CreateThread, lambda message: {"messages": [message]}, "messages[0]."),
        (
            CreateRun,
            lambda message: {"assistant_id": "asst_1", "additional_messages": [message_with(), message]},
            "additional_messages[1].",
        ),
        (
            CreateThreadAndRun,
            lambda message: {"assistant_id": "asst_1", "thread": {"messages": [message]}},
            "thread.messages[0].",
        ),
    ],
)
def test_what_is_no_url_of_an_image_is_named_where_it_stands(schema, body, path, url):
    parts = [{"type": "text", "text": "Look:"}, {"type": "image_url", "image_url": {"url": url}}]
    error = refusal(schema, body(message_with(content=parts)))
    place = f"{path}content[1].image_url.url"
    assert (error.param, error.code) == (place, "invalid_value")
    assert error.message == f"Invalid '{place}'. Expected a valid URL, but got a value with an invalid format."


@pytest.mark.parametrize(
    "url",
    [
        "https://example.com/cat.png",
        "http://localhost:8080",
        "HTTPS://EXAMPLE.COM/CAT.PNG?a=b#c",
        "https://bücher.example/ä b.png",
        "http://[::1]:80/cat.png",
        "https://user:password@example.com/cat.png",
        "data:image/png;base64,AAAA",
        "data:image/svg+xml;charset=utf-8,%3Csvg/%3E",
    ],
)
def test_urls_of_images(url):
    part = {"type": "image_url", "image_url": {"url": url}}
    [stored] = parse(CreateMessage, message_with(content=[part])).stored_content()
    assert stored["image_url"]["url"] == url


@pytest.mark.parametrize("number", [1, 0, 10**6])
def test_the_number_beside_an_automatic_truncation_is_ignored(number):
    body = {"assistant_id": "asst_1", "truncation_strategy": {"type": "auto", "last_messages": number}}
    for schema in (CreateRun, CreateThreadAndRun):
        assert parse(schema, body).overrides()["truncation_strategy"] == {"type": "auto", "last_messages": None}


def test_members_of_a_function_that_nobody_knows_are_dropped():
    """Published samples hold them."""
    body = function(name="f", module="weather", returns={"type": "string"}, parameters={"type": "object", "module": 1})
    stored = new_assistant("asst_1", parse(CreateAssistant, body), 0)["tools"][0]["function"]
    assert stored == {
        "name": "f",
        "description": None,
        "parameters": {"type": "object", "module": 1},
        "strict": False,
    }


def test_the_type_of_an_output_is_dropped():
    output = {"type": "function", "tool_call_id": "call_1", "output": "mild"}
    assert parse(SubmitToolOutputs, {"tool_outputs": [output]}).by_call() == [("call_1", "mild")]


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"nonsense",
        b"[]",
        b'"text"',
        b"\xff\xfe",
        b'{"metadata": {"a": "\\ud800"}}',
        b'{"metadata": {"a": "\\u0000"}}',
        b'{"metadata": {"\\u0000": ""}}',
        b"[" * 100_000,
        b'{"metadata":' * 100_000,
    ],
)
def test_what_is_no_usable_json_object_is_refused(body):
    assert refusal(CreateThread, body).param is None


@pytest.mark.parametrize("value", ["NaN", "Infinity", "-Infinity", "1e999", "-1E+999", "1" * 30, "-" + "9" * 30])
def test_numbers_that_cannot_be_kept_are_refused(value):
    tool = f'{{"type": "function", "function": {{"name": "f", "parameters": {{"maximum": {value}}}}}}}'
    refusal(CreateAssistant, f'{{"model": "m", "tools": [{tool}]}}'.encode())
    refusal(CreateAssistant, f'{{"model": "m", "temperature": {value}}}'.encode())


def test_deep_nesting_is_refused_before_a_store_has_to():
    refusal(CreateAssistant, function(name="f", parameters={"a": json.loads("[" * 120 + "]" * 120)}))
    parse(CreateAssistant, function(name="f", parameters={"a": json.loads("[" * 50 + "]" * 50)}))


@pytest.mark.parametrize(
    ("schema", "body", "param"),
    [
        (SubmitToolOutputs, {"tool_outputs": [1] * 300_000}, "tool_outputs[0]"),
        (CreateMessage, {"role": "user", "content": [1] * 300_000}, "content[0]"),
        (CreateMessage, {str(number): 1 for number in range(100_000)}, None),
    ],
)
def test_very_many_faults_cost_no_more_than_one(schema, body, param):
    began = time.process_time()
    assert refusal(schema, body).param == param
    assert time.process_time() - began < 2.0


def test_a_strict_function_of_very_many_properties_is_checked_quickly():
    names = [str(number) for number in range(50_000)]
    schema = {"type": "object", "additionalProperties": False, "properties": {name: {} for name in names}}
    began = time.process_time()
    assert strict_fault(schema | {"required": names[::-1]}) is None
    assert "'49999' is missing" in (strict_fault(schema | {"required": names[:-1]}) or "")
    assert time.process_time() - began < 2.0


@pytest.mark.parametrize("body", [b"", b"  \n", b"{}"])
def test_an_empty_body_is_an_empty_object(body):
    assert parse(CreateThread, body) == CreateThread()


def test_nothing_is_coerced():
    for members in ({"name": 1}, {"temperature": "1"}, {"temperature": True}, {"metadata": {"a": None}}):
        assert refusal(CreateAssistant, assistant_with(**members)).code == "invalid_type"


def test_an_assistant_is_shown_with_every_member_in_wire_order():
    assistant = new_assistant("asst_1", parse(CreateAssistant, assistant_with(temperature=0)), 1767225600)
    assert list(assistant.items()) == [
        ("id", "asst_1"),
        ("object", "assistant"),
        ("created_at", 1767225600),
        ("name", None),
        ("description", None),
        ("model", "gpt-4o"),
        ("instructions", None),
        ("tools", []),
        ("top_p", 1.0),
        ("temperature", 0.0),
        ("reasoning_effort", None),
        ("tool_resources", {}),
        ("metadata", {}),
        ("response_format", "auto"),
    ]
    assert isinstance(assistant["temperature"], float)


def test_null_is_the_same_as_nothing_when_creating():
    members = set(CreateAssistant.model_fields) - {"model"}
    with_nulls = parse(CreateAssistant, assistant_with(**dict.fromkeys(members)))
    assert new_assistant("asst_1", with_nulls, 0) == new_assistant(
        "asst_1", parse(CreateAssistant, assistant_with()), 0
    )


def test_tools_are_stored_as_the_hosted_service_showed_them():
    tools = [
        {"type": "code_interpreter"},
        {"type": "file_search", "file_search": {"max_num_results": 8}},
        {"type": "function", "function": {"name": "f"}},
    ]
    assistant = new_assistant("asst_1", parse(CreateAssistant, assistant_with(tools=tools)), 0)
    ranking = {"ranker": "default_2024_08_21", "score_threshold": 0.0, "hybrid_search": None}
    assert assistant["tools"] == [
        {"type": "code_interpreter"},
        {"type": "file_search", "file_search": {"max_num_results": 8, "ranking_options": ranking}},
        {
            "type": "function",
            "function": {
                "name": "f",
                "description": None,
                "parameters": {"type": "object", "properties": {}},
                "strict": False,
            },
        },
    ]
    assert assistant["tool_resources"] == {
        "code_interpreter": {"file_ids": []},
        "file_search": {"vector_store_ids": []},
    }


def test_modifying_replaces_what_is_given_and_leaves_the_rest():
    created = parse(
        CreateAssistant,
        assistant_with(
            name="A",
            instructions="Be brief.",
            temperature=0.2,
            metadata={"a": "1", "b": "2"},
            tools=[{"type": "code_interpreter"}],
            tool_resources={
                "code_interpreter": {"file_ids": ["file-1"]},
                "file_search": {"vector_store_ids": ["vs_1"]},
            },
        ),
    )
    before = new_assistant("asst_1", created, 0)
    body = parse(
        ModifyAssistant,
        {
            "name": None,
            "temperature": None,
            "metadata": {"c": "3"},
            "tool_resources": {"code_interpreter": {"file_ids": []}},
        },
    )
    assert modified_assistant(before, body) == before | {
        "name": None,
        "temperature": 1.0,
        "metadata": {"c": "3"},
        "tool_resources": {"code_interpreter": {"file_ids": []}, "file_search": {"vector_store_ids": ["vs_1"]}},
    }
    assert modified_assistant(before, parse(ModifyAssistant, {})) == before
    bare = modified_assistant(before, parse(ModifyAssistant, {"tools": None, "tool_resources": None, "metadata": None}))
    assert (bare["tools"], bare["tool_resources"], bare["metadata"]) == ([], {}, {})


def test_a_response_format_is_shown_as_it_was_given():
    given = {"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "object"}, "strict": True}}
    body = parse(CreateAssistant, assistant_with(response_format=given))
    assert new_assistant("asst_1", body, 0)["response_format"] == given


def test_content_is_stored_in_its_response_form():
    parts = [
        {"type": "text", "text": "plain"},
        {"type": "text", "text": {"value": "sent back", "annotations": [{"type": "file_citation"}]}},
        {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}},
        {"type": "image_file", "image_file": {"file_id": "assistant-1", "detail": "low"}},
    ]
    assert parse(CreateMessage, message_with(content=parts)).stored_content() == [
        {"type": "text", "text": {"value": "plain", "annotations": []}},
        {"type": "text", "text": {"value": "sent back", "annotations": []}},
        {"type": "image_url", "image_url": {"url": "https://example.com/a.png", "detail": "auto"}},
        {"type": "image_file", "image_file": {"file_id": "assistant-1", "detail": "low"}},
    ]


@pytest.mark.parametrize(
    ("parameters", "strict_enough"),
    [
        ({"type": "object", "properties": {}, "additionalProperties": False}, True),
        ({"type": "object", "properties": {"a": {}}, "required": ["a"], "additionalProperties": False}, True),
        ({"type": "object", "properties": {"a": {}}, "additionalProperties": False}, False),
        ({"type": "string"}, False),
        (
            {
                "type": "object",
                "properties": {"a": {"type": "array", "items": {"type": "object", "properties": {}}}},
                "required": ["a"],
                "additionalProperties": False,
            },
            False,
        ),
        (
            {
                "type": "object",
                "properties": {"a": {"anyOf": [{"type": "null"}, {"type": "object"}]}},
                "required": ["a"],
                "additionalProperties": False,
            },
            False,
        ),
    ],
)
def test_strict_functions_keep_to_the_subset(parameters, strict_enough):
    body = function(name="f", strict=True, parameters=parameters)
    if strict_enough:
        parse(CreateAssistant, body)
    else:
        assert refusal(CreateAssistant, body).code == "invalid_function_parameters"
    parse(CreateAssistant, function(name="f", strict=False, parameters=parameters))
