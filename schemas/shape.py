"""What all request shapes have in common: strict types, no unknown members, unions told apart by a tag.

Lists have a length or FailFast: a million wrong items, each with an error of its own, take gigabytes.

The tag of a union's member shows up in the path of pydantic's errors; it begins with NUL, which no
request may hold, so that the edge can tell it from a member's name.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Union

from pydantic import AfterValidator, BaseModel, ConfigDict, Discriminator, Tag
from pydantic_core import PydanticCustomError

import ids

TAG = "\0"
BY_TYPE = "type"


class Shape(BaseModel):
    """Base of every request shape. Members that may be null default to None (0.5)."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False, hide_input_in_errors=True)

    def given(self, member: str) -> bool:
        """Say whether the request named the member, if only as null."""
        return member in self.model_fields_set


def refused(code: str, message: str, *, member: str = "") -> PydanticCustomError:
    """Return an error for a validator to raise: `message` is written for the caller, `code` is J.3's.

    `member` is the offending one, below the value that is being validated.
    """
    # The message is a template to pydantic; as context it is taken as it is.
    return PydanticCustomError("refused", "{message}", {"message": message, "code": code, "member": member})


def wrong_type(expected: str) -> PydanticCustomError:
    """`expected` reads like "a string"."""
    return PydanticCustomError("wrong_type", "{expected}", {"expected": expected})


def wrong_url() -> PydanticCustomError:
    return PydanticCustomError("wrong_url", "not a valid URL")


def by_type(shapes: Mapping[str, Any]) -> Any:
    """Return the union of the shapes, told apart by their member `type`.

    What has no usable `type` is read as the first shape, whose errors then say so.
    """
    first = next(iter(shapes))

    def tag(value: Any) -> str:
        kind = value.get(BY_TYPE, first) if isinstance(value, dict) else getattr(value, BY_TYPE, first)
        return TAG + (kind if isinstance(kind, str) else first)

    members = tuple(Annotated[shape, Tag(TAG + name)] for name, shape in shapes.items())
    return Annotated[Union[members], Discriminator(tag)]  # noqa: UP007  (made of a variable number of members)


def _id_of(kind: ids.Kind) -> AfterValidator:
    def check(value: str) -> str:
        if not ids.is_id(kind, value):
            raise PydanticCustomError("wrong_id", "{begins}", {"begins": ids.PREFIX[kind].rstrip("_-")})
        return value

    return AfterValidator(check)


FileId = Annotated[str, _id_of("file")]
VectorStoreId = Annotated[str, _id_of("vector_store")]
AssistantId = Annotated[str, _id_of("assistant")]

Detail = Literal["auto", "low", "high"]
ReasoningEffort = Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"]
