"""Finds the HTTP function for a request as the Functions host does.

The first function in alphabetical order of names whose route matches the path and that takes the method
wins. Words of a path match whatever their case; `{name}` takes one segment, `{*name}` whatever is left.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple
from urllib.parse import unquote

_SLASH = re.compile("%2f", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Route[Target]:
    """`template` has no leading slash; `methods` is empty where the function takes every method."""

    name: str
    template: str
    methods: frozenset[str]
    target: Target


class Match[Target](NamedTuple):
    target: Target
    params: dict[str, str]


class Router[Target]:
    def __init__(self, prefix: str, routes: Iterable[Route[Target]]) -> None:
        ordered = sorted(routes, key=lambda route: route.name.casefold())
        self._routes = [(route, _segments(f"{prefix}/{route.template}")) for route in ordered]

    def find(self, method: str, raw_path: str) -> Match[Target] | None:
        """`raw_path` is as the client sent it, percent-encoded and without the query."""
        # An encoded slash does not divide segments, and stays encoded.
        path = [unquote(_SLASH.sub("%252F", segment)) for segment in raw_path.removeprefix("/").split("/")]
        for route, segments in self._routes:
            if route.methods and method not in route.methods:
                continue
            params = _match(segments, path)
            if params is not None:
                return Match(route.target, params)
        return None


def _segments(template: str) -> list[str]:
    return [segment for segment in template.split("/") if segment]


def _match(segments: list[str], path: list[str]) -> dict[str, str] | None:
    params: dict[str, str] = {}
    if not (segments and segments[-1].startswith("{*")) and path[-1] == "":
        path = path[:-1]  # one slash at the end is ignored
    for at, segment in enumerate(segments):
        if segment.startswith("{*"):
            params[segment[2:-1]] = "/".join(path[at:])
            return params
        if at == len(path) or not path[at]:
            return None
        if segment.startswith("{"):
            params[segment[1:-1]] = path[at]
        elif segment.casefold() != path[at].casefold():
            return None
    return params if len(path) == len(segments) else None
