"""What the endpoint of a model does not take, learnt from its complaints, and what it gets instead."""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields
from typing import Any

from adapters import openai_roles
from adapters.openai_errors import Complaint
from ports.language_model import ChatRequest

Body = dict[str, Any]
ChatMessage = dict[str, Any]

_MEMBERS = tuple(field.name for field in fields(ChatRequest))

# Parameters that an endpoint may not know, and what it may know instead (None: nothing).
_INSTEAD: dict[str, str | None] = {
    "stream_options": None,
    "max_completion_tokens": "max_tokens",
    # Only where they are the default: another value is not dropped behind the client's back.
    "temperature": None,
    "top_p": None,
}
_DEFAULTS = {"temperature": 1, "top_p": 1}
_UNKNOWN_NAMES = {"unknown_parameter", "unsupported_parameter", "extra_forbidden", "unrecognized_parameter"}
_UNKNOWN = re.compile(
    r"unsupported(?! value)|not supported|unknown|unrecogni[sz]ed|\bextra\b|unexpected|not permitted"
    r"|(does not|doesn't) (support|recogni[sz]e|know|accept)",
    re.IGNORECASE,
)
# The parameter is known then, and its value is what is wrong.
_OF_VALUE = re.compile(
    r"too (large|big|high|long|small|low)|at (most|least)|maximum|minimum|exceed|(less|greater|more) than|[<>]=?"
    r"|\brange\b|between|unsupported[ _]value",
    re.IGNORECASE,
)

# Orders of roles that an endpoint may ask for: how its complaint is known, and what makes the messages so. They are
# learnt in this order, and applied in the other one.
_ORDERS: dict[str, tuple[re.Pattern[str], Callable[[Iterable[ChatMessage]], list[ChatMessage]]]] = {
    "repeated roles": (
        re.compile(
            r"alternat|consecutive|in a row|same role|two (user|assistant)|multiple (user|assistant) messages"
            r"|unexpected role|(first|start\w*|begin\w*) (message |with )",
            re.IGNORECASE,
        ),
        openai_roles.alternating,
    ),
    "last assistant": (
        re.compile(
            r"(expected )?(the )?last (message|role)|assistant messages at the end|prefill|continue_final_message"
            r"|(must|should|has to|needs to|cannot|can't|can not) end with|final message",
            re.IGNORECASE,
        ),
        openai_roles.closed_by_user,
    ),
    "system": (
        re.compile(
            r"system (role|message|prompt|instruction)s?|(role|got)\W+system\b|developer instruction", re.IGNORECASE
        ),
        openai_roles.without_system,
    ),
}
# An endpoint that wants the one often can't do with the other either.
_ALSO = {"repeated roles": "system"}
_MALFORMED = {400, 422}
# llama.cpp answers 500 for what its chat template refuses.
_OF_TEMPLATE = {400, 409, 422, 500}


@dataclass(frozen=True, slots=True)
class Dialect:
    """`refused` are keys of the tables above."""

    refused: frozenset[str] = frozenset()

    def body(self, request: ChatRequest) -> Body:
        """The request as this endpoint takes it."""
        given = {name: value for name in _MEMBERS if (value := getattr(request, name)) is not None}
        body = given | {"stream": True, "stream_options": {"include_usage": True}}
        for name in sorted(self.refused & _INSTEAD.keys()):
            if name in body and _may_go(name, body):
                value = body.pop(name)
                if instead := _INSTEAD[name]:
                    body[instead] = value
        for order, (_, change) in reversed(_ORDERS.items()):
            if order in self.refused:
                body["messages"] = change(body["messages"])
        return body

    def learnt(self, said: Complaint, request: ChatRequest) -> "Dialect | None":
        """The dialect in which the request may be taken after all; None if the complaint teaches nothing."""
        body = self.body(request)
        for lesson in _lessons(said, body):
            dialect = Dialect(self.refused | {lesson})
            if lesson not in self.refused and dialect.body(request) != body:
                return dialect
        return None

    def unlearnt(self, said: Complaint) -> "Dialect":
        """The dialect without those replacements that the complaint is about: they were learnt wrongly."""
        wrong = {name for name in self.refused if (instead := _INSTEAD.get(name)) and _names(said, instead)}
        return Dialect(self.refused - wrong) if said.status in _MALFORMED else self


def _lessons(said: Complaint, body: Body) -> list[str]:
    lessons: list[str] = []
    if said.status in _MALFORMED and _is_of_unknown(said):
        lessons += [name for name in _INSTEAD if name in body and _may_go(name, body) and _names(said, name)]
    if said.status in _OF_TEMPLATE or said.status is None:
        orders = [order for order, (pattern, _) in _ORDERS.items() if pattern.search(said.text)]
        lessons += orders + [_ALSO[order] for order in orders if order in _ALSO]
    return lessons


def _may_go(name: str, body: Body) -> bool:
    return name not in _DEFAULTS or body[name] == _DEFAULTS[name]


def _is_of_unknown(said: Complaint) -> bool:
    if said.names & _UNKNOWN_NAMES:
        return True
    return bool(_UNKNOWN.search(said.text)) and not _OF_VALUE.search(said.text)


def _names(said: Complaint, parameter: str) -> bool:
    """Whether the complaint is about this parameter: the one it names as such, else one in its text."""
    if said.param:
        return said.param.partition(".")[0] == parameter
    return re.search(rf"\b{parameter}\b", said.text) is not None
