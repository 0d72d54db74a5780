"""Finds the HTTP function for a request as the Functions host does.

The first function in alphabetical order of names whose route matches the path and that takes the method
wins. Words of a path match whatever their case; `{name}` takes one segment, `{*name}` whatever is left. Constraints,
defaults, optional and mixed parameters, which the Functions host knows too, are refused here.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from devhost.paths import decoded

_LITERAL, _PARAMETER, _REST = re.compile(r"[^{}]+"), re.compile(r"\{\w+\}"), re.compile(r"\{\*\w+\}")
_RESERVED = ("admin", "runtime")  # what begins like these is the host's own


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
    """`in_error` says of the functions that get no request why."""

    def __init__(self, prefix: str, routes: Iterable[Route[Target]]) -> None:
        self.in_error: dict[str, str] = {}
        self._routes: list[tuple[Route[Target], list[str]]] = []
        for route in sorted(routes, key=lambda route: route.name.casefold()):
            if fault := self._fault(route):
                self.in_error[route.name] = fault
            else:
                self._routes.append((route, _segments(f"{prefix}/{route.template}")))

    def _fault(self, route: Route[Target]) -> str | None:
        if route.template.casefold().startswith(_RESERVED):
            return "its route is reserved for the host"
        *segments, last = _segments(route.template)
        if not all(_LITERAL.fullmatch(each) or _PARAMETER.fullmatch(each) for each in segments) or not any(
            kind.fullmatch(last) for kind in (_LITERAL, _PARAMETER, _REST)
        ):
            return "its route has what the local host doesn't know"
        for other, _ in self._routes:
            if other.template.casefold() == route.template.casefold() and _overlap(other.methods, route.methods):
                return f"its route is that of {other.name}"
        return None

    def find(self, method: str, raw_path: str) -> Match[Target] | None:
        """`raw_path` is percent-encoded and without the query and dots."""
        path = [decoded(segment) for segment in raw_path.removeprefix("/").split("/")]
        for route, segments in self._routes:
            if route.methods and method not in route.methods:
                continue
            params = _match(segments, path)
            if params is not None:
                return Match(route.target, params)
        return None


def _overlap(some: frozenset[str], others: frozenset[str]) -> bool:
    return not some or not others or bool(some & others)


def _segments(template: str) -> list[str]:
    return [segment for segment in template.split("/") if segment]


def _match(segments: list[str], path: list[str]) -> dict[str, str] | None:
    params: dict[str, str] = {}
    if not (segments and segments[-1].startswith("{*")) and path[-1] == "":
        path = path[:-1]  # one slash at the end is ignored
    for at, segment in enumerate(segments):
        if segment.startswith("{*"):
            rest = path[at:]
            if rest[:1] == [""] and len(rest) > 1:
                return None
            return params | {segment[2:-1]: "/".join(rest)} if any(rest) else params
        if at == len(path) or not path[at]:
            return None
        if segment.startswith("{"):
            params[segment[1:-1]] = path[at]
        elif segment.casefold() != path[at].casefold():
            return None
    return params if len(path) == len(segments) else None
