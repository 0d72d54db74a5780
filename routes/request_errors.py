"""What pydantic found wrong with a body, in the API's words (J.3)."""

import re
from collections.abc import Callable
from typing import Any

from pydantic_core import ErrorDetails, ValidationError

from errors import InvalidRequest
from schemas.shape import BY_TYPE, TAG

_EXPECTED = {
    "string_type": "a string",
    "int_type": "an integer",
    "int_from_float": "an integer",
    "float_type": "a decimal",
    "bool_type": "a boolean",
    "list_type": "an array",
    "dict_type": "an object",
    "model_type": "an object",
    "model_attributes_type": "an object",
}
_MOST_SHOWN = 100  # characters of a refused value
_MOST_FAULTS = 1_000  # more are not looked at: pydantic hands out all of them or none


def invalid_request(error: ValidationError) -> InvalidRequest:
    """Return the first thing that is wrong, as an error for the caller."""
    if error.error_count() > _MOST_FAULTS:
        return InvalidRequest(f"More than {_MOST_FAULTS} things are wrong with the JSON body of your request.")
    first = error.errors(include_url=False)[0]
    path = dotted([step for step in first["loc"] if step != "[key]" and not str(step).startswith(TAG)])
    kind = first["type"]
    if kind in _EXPECTED:
        return _wrong_type(path, _EXPECTED[kind], first["input"])
    explain = _EXPLAIN.get(kind)
    if explain:
        return explain(path, first)
    return InvalidRequest(f"Invalid '{path}': {first['msg']}.", param=path, code="invalid_value")


def dotted(steps: list[str | int]) -> str:
    """Return the path as clients read it: tools[0].function.name (J.3.3)."""
    path = ""
    for step in steps:
        path += f"[{step}]" if isinstance(step, int) else f".{step[:_MOST_SHOWN]}"
    return path.removeprefix(".")


def listed(values: list[str]) -> str:
    """Return 'a', 'b', and 'c'."""
    quoted = [f"'{value}'" for value in values]
    if len(quoted) < 3:
        return " and ".join(quoted)
    return f"{', '.join(quoted[:-1])}, and {quoted[-1]}"


def type_name(value: Any) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "a boolean"
        case str():
            return "a string"
        case int():
            return "an integer"
        case float():
            return "a decimal"
        case list():
            return "an array"
        case _:
            return "an object"


def unsupported_value(path: str, value: str, supported: list[str]) -> InvalidRequest:
    plural = "Supported values are" if len(supported) > 1 else "The supported value is"
    return InvalidRequest(
        f"Invalid value: '{value[:_MOST_SHOWN]}'. {plural}: {listed(supported)}.", param=path, code="invalid_value"
    )


def _wrong_type(path: str, expected: str, value: Any) -> InvalidRequest:
    return InvalidRequest(
        f"Invalid type for '{path}': expected {expected}, but got {type_name(value)} instead.",
        param=path,
        code="invalid_type",
    )


def _context(error: ErrorDetails) -> dict[str, Any]:
    return error.get("ctx", {})


def _missing(path: str, error: ErrorDetails) -> InvalidRequest:
    return InvalidRequest(f"Missing required parameter: '{path}'.", param=path, code="missing_required_parameter")


def _unknown(path: str, error: ErrorDetails) -> InvalidRequest:
    return InvalidRequest(f"Unknown parameter: '{path}'.", param=path, code="unknown_parameter")


def _literal(path: str, error: ErrorDetails) -> InvalidRequest:
    supported = re.findall(r"'([^']*)'", _context(error)["expected"])
    value = error["input"]
    if not isinstance(value, str):
        return _wrong_type(path, f"one of {listed(supported)}" if len(supported) > 1 else "a string", value)
    return unsupported_value(path, value, supported)


def _unknown_shape(path: str, error: ErrorDetails) -> InvalidRequest:
    context = _context(error)
    supported = [tag.removeprefix(r"\x00") for tag in re.findall(r"'([^']*)'", context["expected_tags"])]
    return unsupported_value(f"{path}.{BY_TYPE}".removeprefix("."), context["tag"].removeprefix(TAG), supported)


def _string_length(path: str, error: ErrorDetails) -> InvalidRequest:
    length = len(error["input"])
    context = _context(error)
    if "max_length" in context:
        problem, bound, code = "long", f"maximum length {context['max_length']}", "string_above_max_length"
    else:
        problem, bound, code = "short", f"minimum length {context['min_length']}", "string_below_min_length"
    got = f"a string with length {length}" if length else "an empty string"
    return InvalidRequest(
        f"Invalid '{path}': string too {problem}. Expected a string with {bound}, but got {got} instead.",
        param=path,
        code=code,
    )


def _too_many(path: str, error: ErrorDetails) -> InvalidRequest:
    most, length = _context(error)["max_length"], len(error["input"])
    if isinstance(error["input"], dict):
        return InvalidRequest(
            f"Invalid '{path}': too many properties. Expected an object with at most {most} properties, "
            f"but got an object with {length} properties instead.",
            param=path,
            code="object_above_max_properties",
        )
    return InvalidRequest(
        f"Invalid '{path}': array too long. Expected an array with maximum length {most}, "
        f"but got an array with length {length} instead.",
        param=path,
        code="array_above_max_length",
    )


def _too_few(path: str, error: ErrorDetails) -> InvalidRequest:
    length = len(error["input"])
    got = f"an array with length {length}" if length else "an empty array"
    return InvalidRequest(
        f"Invalid '{path}': array too short. Expected an array with minimum length "
        f"{_context(error)['min_length']}, but got {got} instead.",
        param=path,
        code="array_below_min_length",
    )


def _out_of_range(path: str, error: ErrorDetails) -> InvalidRequest:
    context = _context(error)
    above = "le" in context
    bound = context["le" if above else "ge"]
    return out_of_range(path, error["input"], bound, above=above)


def out_of_range(path: str, value: float, bound: float, *, above: bool) -> InvalidRequest:
    """`bound` is an int where the parameter is an integer, a float where it is a decimal."""
    number = "integer" if isinstance(bound, int) else "decimal"
    side, sign = ("above maximum", "<=") if above else ("below minimum", ">=")
    return InvalidRequest(
        f"Invalid '{path}': {number} {side} value. Expected a value {sign} {bound:g}, but got {value} instead.",
        param=path,
        code=f"{number}_{'above_max' if above else 'below_min'}_value",
    )


def _pattern(path: str, error: ErrorDetails) -> InvalidRequest:
    return InvalidRequest(
        f"Invalid '{path}': string does not match pattern. Expected a string that matches the pattern "
        f"'{_context(error)['pattern']}'.",
        param=path,
        code="invalid_value",
    )


def _wrong_id(path: str, error: ErrorDetails) -> InvalidRequest:
    return InvalidRequest(
        f"Invalid '{path}': '{error['input'][:_MOST_SHOWN]}'. "
        f"Expected an ID that begins with '{_context(error)['begins']}'.",
        param=path,
        code="invalid_value",
    )


def _wrong_url(path: str, error: ErrorDetails) -> InvalidRequest:
    return InvalidRequest(
        f"Invalid '{path}'. Expected a valid URL, but got a value with an invalid format.",
        param=path,
        code="invalid_value",
    )


def _other_type(path: str, error: ErrorDetails) -> InvalidRequest:
    return _wrong_type(path, _context(error)["expected"], error["input"])


def _refused(path: str, error: ErrorDetails) -> InvalidRequest:
    context = _context(error)
    member = f"{path}.{context['member']}" if context["member"] else path
    return InvalidRequest(context["message"], param=member, code=context["code"])


_EXPLAIN: dict[str, Callable[[str, ErrorDetails], InvalidRequest]] = {
    "missing": _missing,
    "extra_forbidden": _unknown,
    "literal_error": _literal,
    "union_tag_invalid": _unknown_shape,
    "string_too_long": _string_length,
    "string_too_short": _string_length,
    "too_long": _too_many,
    "too_short": _too_few,
    "less_than_equal": _out_of_range,
    "greater_than_equal": _out_of_range,
    "string_pattern_mismatch": _pattern,
    "wrong_id": _wrong_id,
    "wrong_type": _other_type,
    "wrong_url": _wrong_url,
    "refused": _refused,
}
