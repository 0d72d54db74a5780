"""From assistants, messages and tools to chat messages: the one place where the two shapes meet."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, NotRequired, TypedDict

from ports.language_model import ChatRequest
from texts import whole

Resource = dict[str, Any]  # an object as the Assistants API shows it
ChatMessage = dict[str, Any]  # one entry of a chat completion's `messages`

# In place of a picture's URL until it is looked up: `file:{file_id}`. No client can send such a URL.
FILE = "file:"
MOST_SHOWN = 50  # pictures in one message of an assistant
NO_TOOLS: Mapping[str, Resource] = {}


class CallRecord(TypedDict):
    """A call of the model; `arguments` is JSON text, `tool` the type of the built-in tool if it is one of ours."""

    id: str
    name: str
    arguments: str
    tool: NotRequired[str]


class TurnRecord(TypedDict):
    """An ended turn of the run: what the model said and called, and what the calls gave, by call id.

    `spoke`: it has written a message. `images` are the ids of pictures that its calls have made.
    """

    text: str
    spoke: NotRequired[bool]
    images: NotRequired[list[str]]
    calls: list[CallRecord]
    outputs: dict[str, str]


def chat_request(
    run: Resource,
    history: Sequence[ChatMessage],
    turns: Sequence[TurnRecord],
    *,
    given: Collection[str] = (),
    completion_tokens_spent: int = 0,
    built_in: Mapping[str, Resource] = NO_TOOLS,
) -> ChatRequest:
    """The chat completion for a run's next turn.

    `history` is what the context window holds of the thread (domain/context_window.py), `turns` are
    the run's turns so far, both oldest first. A value that is the chat API's default is not sent unless it was
    `given`: reasoning models refuse even the default temperature, but the default of some endpoints is another.
    `built_in` are the functions that stand for built-in tools, by the tool's type.
    """
    tools = chat_tools(run["tools"], built_in)
    limit = run["max_completion_tokens"]
    return ChatRequest(
        model=run["model"],
        messages=[*system_messages(run), *history, *turn_messages(turns)],
        tools=tools or None,
        tool_choice=_tool_choice(run["tool_choice"], built_in, is_first=not turns) if tools else None,
        parallel_tool_calls=False if tools and run["parallel_tool_calls"] is False else None,
        response_format=None if run["response_format"] in (None, "auto") else run["response_format"],
        temperature=_unless_default(run["temperature"], "temperature" in given),
        top_p=_unless_default(run["top_p"], "top_p" in given),
        reasoning_effort=run["reasoning_effort"],
        max_completion_tokens=None if limit is None else limit - completion_tokens_spent,
    )


def with_notes(run: Resource, notes: Sequence[str]) -> Resource:
    """Return the run with what its tools say in the system context behind its instructions."""
    texts = [text for text in (run["instructions"], *notes) if text]
    return run | {"instructions": "\n\n".join(texts)} if texts else run


def pending_images(turns: Sequence[TurnRecord]) -> list[str]:
    """Return the ids of the pictures that no message of the run shows yet, in their order."""
    pending: list[str] = []
    for turn in turns:
        pending = [*([] if turn.get("spoke") else pending), *turn.get("images", ())]
    return pending[:MOST_SHOWN]


def system_messages(run: Resource) -> list[ChatMessage]:
    """The run's instructions, which already hold its additional ones (E.9)."""
    return [{"role": "system", "content": run["instructions"]}] if run["instructions"] else []


def chat_tools(tools: Sequence[Resource], built_in: Mapping[str, Resource] = NO_TOOLS) -> list[dict[str, Any]]:
    """The run's tools as functions. A chat completion knows no others: `built_in` gives one by a tool's type."""
    found = [tool["function"] if tool["type"] == "function" else built_in.get(tool["type"]) for tool in tools]
    return [{"type": "function", "function": _function(function)} for function in found if function]


def turn_messages(turns: Sequence[TurnRecord]) -> list[ChatMessage]:
    return [message for turn in turns for message in _turn(turn)]


def chat_message(message: Resource) -> ChatMessage | None:
    """A message of the thread; None if it holds nothing to read, or nothing that can be read."""
    try:
        return _chat_message(message)
    except (TypeError, LookupError, AttributeError):
        # An older version stored what endpoints sent: no later run may fail of it.
        return None


def _chat_message(message: Resource) -> ChatMessage | None:
    texts = [text for part in message["content"] if (text := _text(part))]
    images = any(part["type"] in ("image_url", "image_file") for part in message["content"])
    if message["role"] == "user" and images:
        return {"role": "user", "content": [*_content_parts(message["content"])]}
    # As one string: not every endpoint understands a list of parts.
    return {"role": message["role"], "content": "\n".join(texts)} if texts else None


def file_images(messages: Sequence[ChatMessage]) -> list[str]:
    """The ids of files that stand for pictures in chat messages, each once, newest first."""
    parts = [part for message in reversed(messages) for part in reversed(_parts(message))]
    return list(dict.fromkeys(file_id for part in parts if (file_id := _file_id(part))))


def with_images(messages: Sequence[ChatMessage], urls: Mapping[str, str]) -> list[ChatMessage]:
    """Put the pictures' URLs, by file id, into chat messages; a missing one becomes a note."""
    return [
        message | {"content": [_seen(part, urls) for part in _parts(message)]} if _parts(message) else message
        for message in messages
    ]


def _seen(part: Resource, urls: Mapping[str, str]) -> Resource:
    file_id = _file_id(part)
    if file_id is None:
        return part
    if file_id not in urls:
        return {"type": "text", "text": _unseen(file_id)}
    return part | {"image_url": part["image_url"] | {"url": urls[file_id]}}


def _parts(message: ChatMessage) -> list[Resource]:
    content = message.get("content")
    return content if isinstance(content, list) else []


def _file_id(part: Resource) -> str | None:
    url = part["image_url"]["url"] if part["type"] == "image_url" else ""
    return url.removeprefix(FILE) if url.startswith(FILE) else None


def _content_parts(parts: Sequence[Resource]) -> list[dict[str, Any]]:
    """The parts in their order, which text may refer to ("the first picture")."""
    content: list[dict[str, Any]] = []
    for part in parts:
        if part["type"] == "image_url":
            content.append({"type": "image_url", "image_url": _image(part["image_url"])})
        elif part["type"] == "image_file":
            image = part["image_file"]
            content.append({"type": "image_url", "image_url": _image(image | {"url": FILE + image["file_id"]})})
        elif text := _text(part):
            content.append({"type": "text", "text": text})
    return content


def _text(part: Resource) -> str:
    match part["type"]:
        case "text":
            return _readable(part["text"]["value"])
        case "refusal":
            return _readable(part["refusal"])
        case "image_file":
            return _unseen(part["image_file"]["file_id"])
    return ""


def _readable(text: Any) -> str:
    if not isinstance(text, str):
        raise TypeError("not a text")
    return whole(text)


def _unseen(file_id: str) -> str:
    # Rather than nothing: the model can say that it doesn't see the picture.
    return f"[Image {file_id}: not shown to you.]"


def _image(image: Resource) -> Resource:
    detail = image.get("detail") or "auto"
    return {"url": image["url"]} if detail == "auto" else {"url": image["url"], "detail": detail}


def _turn(turn: TurnRecord) -> list[ChatMessage]:
    if not turn["calls"]:
        return [{"role": "assistant", "content": turn["text"]}] if turn["text"] else []
    calls = [
        {"id": call["id"], "type": "function", "function": {"name": call["name"], "arguments": _object(call)}}
        for call in turn["calls"]
    ]
    said: ChatMessage = {"role": "assistant", "content": turn["text"] or None, "tool_calls": calls}
    outputs = [
        {"role": "tool", "tool_call_id": call["id"], "content": turn["outputs"].get(call["id"], "")}
        for call in turn["calls"]
    ]
    return [said, *outputs]


def _object(call: CallRecord) -> str:
    # Endpoints that read the history refuse no arguments, which an older version stored.
    return call["arguments"].strip() or "{}"


def _function(function: Resource) -> Resource:
    sent = {name: function[name] for name in ("name", "description", "parameters") if function.get(name) is not None}
    return sent | {"strict": True} if function.get("strict") else sent


def _tool_choice(choice: Any, built_in: Mapping[str, Resource], *, is_first: bool) -> str | dict[str, Any] | None:
    """Forcing holds for the first turn only, or the run would never end (E.7.2)."""
    if choice == "none":
        return "none"
    if not is_first or choice == "auto":
        return None
    if isinstance(choice, dict) and (function := built_in.get(choice["type"])):
        return {"type": "function", "function": {"name": function["name"]}}
    return choice


def _unless_default(value: float | None, is_given: bool) -> float | None:
    return None if value == 1 and not is_given else value
