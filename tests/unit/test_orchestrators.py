"""What the Durable Functions library wants of orchestrators, whichever of its versions is installed."""

import ast
from pathlib import Path

import pytest

ROOM = Path(__file__).parents[2] / "orchestrators"
ORCHESTRATORS = [
    (function, decorator)
    for path in sorted(ROOM.rglob("*.py"))
    for function in ast.walk(ast.parse(path.read_text()))
    if isinstance(function, ast.FunctionDef)
    for decorator in function.decorator_list
    if isinstance(decorator, ast.Call) and ast.unparse(decorator.func).endswith(".orchestration_trigger")
]


def test_the_room_has_orchestrators():
    assert ORCHESTRATORS


@pytest.mark.parametrize(("function", "decorator"), ORCHESTRATORS)
def test_the_context_is_called_context_by_decorator_and_function(function: ast.FunctionDef, decorator: ast.Call):
    """The pinned version takes any name, others look for the parameter by the name, and 2.0.0b2 only by this one."""
    given = {keyword.arg: ast.literal_eval(keyword.value) for keyword in decorator.keywords}
    assert given["context_name"] == function.args.args[0].arg == "context"
