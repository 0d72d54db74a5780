"""What the model's answer should look like (E.8)."""

from typing import Annotated, Any, Literal, Union

from pydantic import Discriminator, Field, StringConstraints, Tag

from schemas.shape import TAG, Shape, by_type

AUTO = "auto"


class TextFormat(Shape):
    type: Literal["text"]


class JsonObjectFormat(Shape):
    type: Literal["json_object"]


class JsonSchema(Shape):
    name: Annotated[str, StringConstraints(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9_-]+$")]
    description: str | None = None
    # `schema` is a method of every pydantic class.
    schema_: Annotated[dict[str, Any] | None, Field(alias="schema")] = None
    strict: bool | None = None


class JsonSchemaFormat(Shape):
    type: Literal["json_schema"]
    json_schema: JsonSchema


_AnyFormat = by_type({"text": TextFormat, "json_object": JsonObjectFormat, "json_schema": JsonSchemaFormat})


def _kind(value: Any) -> str:
    return TAG + ("object" if isinstance(value, dict | Shape) else "word")


ResponseFormat = Annotated[
    Union[Annotated[Literal["auto"], Tag(TAG + "word")], Annotated[_AnyFormat, Tag(TAG + "object")]],  # noqa: UP007
    Discriminator(_kind),
]


def stored_format(given: Any) -> str | dict[str, Any]:
    """Return the format as it was given: it is also what the model is sent. None is "auto"."""
    if isinstance(given, Shape):
        return given.model_dump(by_alias=True, exclude_unset=True, exclude_none=True)
    return given or AUTO
