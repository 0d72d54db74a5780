"""The query shapes of the adapter, and their cross-partition plan. Any other query is refused."""

import base64
import json
import operator
import re
from collections.abc import Callable
from typing import Any

from tests.cosmos_double.items import Container, Item, Refused, size_of

MAX_PAGE_BYTES = 4 * 1024 * 1024
MAX_PAGE_ITEMS = 100  # Cosmos DB may end a page early; so do we, always

_SHAPE = re.compile(r"SELECT \* FROM c WHERE (?P<where>.+) ORDER BY c\.(?P<path>\w+) (?P<direction>ASC|DESC)")
_REWRITTEN = re.compile(
    r'SELECT c\._rid, \[\{"item": c\.(?P<path>\w+)\}\] AS orderByItems, c AS payload FROM c '
    r"WHERE \((?P<where>.+)\) AND \((?:true)\) ORDER BY c\.(?P=path) (?P<direction>ASC|DESC)"
)
_COMPARISON = re.compile(r"c\.(\w+) (<|<=|>|>=|=) (@\w+)")
_CONTAINS = re.compile(r"ARRAY_CONTAINS\(c\.(\w+), (@\w+)\)")
_OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "=": operator.eq,
}

Condition = Callable[[Item], bool]


def plan(container: Container, query: dict[str, Any]) -> dict[str, Any]:
    shape = _parsed(_SHAPE, query)
    _conditions(container, query, shape["where"])
    path, direction = shape["path"], shape["direction"]
    rewritten = (
        f'SELECT c._rid, [{{"item": c.{path}}}] AS orderByItems, c AS payload FROM c '
        f"WHERE ({shape['where']}) AND ({{documentdb-formattableorderbyquery-filter}}) ORDER BY c.{path} {direction}"
    )
    info = {
        "distinctType": "None",
        "top": None,
        "offset": None,
        "limit": None,
        "orderBy": ["Ascending" if direction == "ASC" else "Descending"],
        "orderByExpressions": [f"c.{path}"],
        "groupByExpressions": [],
        "groupByAliases": [],
        "aggregates": [],
        "groupByAliasToAggregateType": {},
        "rewrittenQuery": rewritten,
        "hasSelectValue": False,
        "dCountInfo": None,
        "hasNonStreamingOrderBy": False,
    }
    everything = {"min": "", "max": "FF", "isMinInclusive": True, "isMaxInclusive": False}
    return {"partitionedQueryExecutionInfoVersion": 2, "queryInfo": info, "queryRanges": [everything]}


def run(
    container: Container, items: list[Item], query: dict[str, Any], page_size: int, continuation: str | None
) -> tuple[list[dict[str, Any]], str | None]:
    """Return a page and where the next one begins, None at the end."""
    rewritten = query["query"].startswith("SELECT c._rid")
    shape = _parsed(_REWRITTEN if rewritten else _SHAPE, query)
    conditions = _conditions(container, query, shape["where"])
    path, descending = shape["path"], shape["direction"] == "DESC"
    _indexed(container, path)
    found = [item for item in items if path in item and all(holds(item) for holds in conditions)]
    found.sort(key=lambda item: (item[path], item["_rid"]), reverse=descending)
    if continuation:
        value, rid = json.loads(base64.b64decode(continuation))
        before = operator.lt if descending else operator.gt
        found = [item for item in found if before((item[path], item["_rid"]), (value, rid))]
    page = _page(found, min(page_size, MAX_PAGE_ITEMS))
    more = len(page) < len(found)
    last = base64.b64encode(json.dumps([page[-1][path], page[-1]["_rid"]]).encode()).decode() if more else None
    if rewritten:
        return [{"_rid": i["_rid"], "orderByItems": [{"item": i[path]}], "payload": i} for i in page], last
    return page, last


def _page(found: list[Item], limit: int) -> list[Item]:
    page, size = [], 0
    for item in found[:limit]:
        size += size_of(item)
        if page and size > MAX_PAGE_BYTES:
            break
        page.append(item)
    return page


def _parsed(shape: re.Pattern[str], query: dict[str, Any]) -> re.Match[str]:
    if query.keys() != {"query", "parameters"}:
        raise Refused("A query without parameters.")
    if not (match := shape.fullmatch(query["query"])):
        raise Refused(f"A query of another shape: {query['query']}")
    return match


def _conditions(container: Container, query: dict[str, Any], where: str) -> list[Condition]:
    values = {parameter["name"]: parameter["value"] for parameter in query["parameters"]}
    conditions = [_condition(container, text, values) for text in where.split(" AND ")]
    used = set(re.findall(r"@\w+", where))
    if used != values.keys():
        raise Refused("Parameters that the query does not use, or the other way round.")
    return conditions


def _condition(container: Container, text: str, values: dict[str, Any]) -> Condition:
    if match := _COMPARISON.fullmatch(text):
        path, sign, value = match[1], match[2], values[match[3]]
        _indexed(container, path)
        compare = _OPERATORS[sign]
        # Cosmos DB compares only values of one type; anything else is undefined, hence not found.
        return lambda item: path in item and _kind(item[path]) == _kind(value) and compare(item[path], value)
    if match := _CONTAINS.fullmatch(text):
        path, value = match[1], values[match[2]]
        _indexed(container, f"{path}/[]")
        return lambda item: value in item.get(path, [])
    raise Refused(f"A condition of another shape: {text}")


def _kind(value: Any) -> str:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return "number"
    return type(value).__name__


def _indexed(container: Container, path: str) -> None:
    if f"/{path}" not in container.indexed:
        raise Refused(f"/{path} is not indexed: the query would scan.")
