"""The tools there are, by type, and under what names the model sees those of a run."""

from collections.abc import Mapping, Sequence
from itertools import count
from typing import Any

from tools.tool import Tool

Resource = dict[str, Any]
Table = Mapping[str, Tool]


def named(table: Table, tools: Sequence[Resource]) -> dict[str, str]:
    """Return type → name of the built-in ones among a run's `tools`: a client's function may have the type's name."""
    taken = {tool["function"]["name"] for tool in tools if tool["type"] == "function"}
    return {tool["type"]: _free(tool["type"], taken) for tool in tools if tool["type"] in table}


def _free(name: str, taken: set[str]) -> str:
    names = (name if number == 1 else f"{name}_{number}" for number in count(1))
    return next(name for name in names if name not in taken)


def functions(table: Table, tools: Sequence[Resource]) -> dict[str, Resource]:
    """Return type → function of a chat completion, of the built-in ones among a run's `tools`."""
    return {
        type: {"name": name, "description": table[type].description, "parameters": table[type].parameters}
        for type, name in named(table, tools).items()
    }


def missing(table: Table, tools: Sequence[Resource]) -> list[str]:
    """Return the types among a run's `tools` that can't be run here."""
    return [tool["type"] for tool in tools if tool["type"] != "function" and tool["type"] not in table]
