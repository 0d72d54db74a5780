"""How documents look in Cosmos DB, and the queries that find them.

    id, pk              the document's id and its partition
    kind, sort          as in the port
    place               "{pk}/{kind}/{sort}": a listing is one range of this one indexed path
    terms               [JSON text of [pk, kind, key, value], ...]: a filter is one look into the index
    unfinished_since    only where the document has one; so is ttl
    body, writer        not indexed

An index covers a physical partition, which holds many of ours: with the partition in what is looked up,
a page costs the page whatever the neighbours hold. What is indexed is said once, in cosmos_container.json.
"""

import json
from collections.abc import Mapping
from typing import Any

from ports.documents import Document

Item = dict[str, Any]
Query = tuple[str, list[dict[str, Any]]]  # text, parameters

UNFINISHED = "SELECT * FROM c WHERE c.unfinished_since < @older_than ORDER BY c.unfinished_since ASC"


def item(partition: str, document: Document, body: dict[str, Any], writer: str) -> Item:
    """`body` is what was read back from the document's JSON, so that the SDK's own encoder knows all of it."""
    made: Item = {
        "id": document.id,
        "pk": partition,
        "kind": document.kind,
        "sort": document.sort,
        "place": f"{partition}/{document.kind}/{document.sort}",
        "terms": [_term(partition, document.kind, key, value) for key, value in document.terms.items()],
        "writer": writer,
        "body": body,
    }
    if document.unfinished_since is not None:
        made["unfinished_since"] = document.unfinished_since
    if document.ttl is not None:
        made["ttl"] = document.ttl
    return made


def document(stored: Mapping[str, Any]) -> Document:
    return Document(
        id=stored["id"],
        kind=stored["kind"],
        body=stored["body"],
        sort=stored["sort"],
        terms={key: value for _, _, key, value in map(json.loads, stored["terms"])},
        unfinished_since=stored.get("unfinished_since"),
        ttl=stored.get("ttl"),
        version=stored["_etag"],
    )


def listing(
    partition: str,
    kind: str,
    after: str | None,
    before: str | None,
    descending: bool,
    where: Mapping[str, str] | None,
) -> Query:
    lower, upper = (before, after) if descending else (after, before)
    begin = f"{partition}/{kind}/"
    end = f"{partition}/{kind}0"  # "0" follows "/"
    conditions = [f"c.place {'>=' if lower is None else '>'} @lower", "c.place < @upper"]
    parameters = [
        {"name": "@lower", "value": begin + (lower or "")},
        {"name": "@upper", "value": end if upper is None else begin + upper},
    ]
    for number, (key, value) in enumerate((where or {}).items()):
        conditions.append(f"ARRAY_CONTAINS(c.terms, @term{number})")
        parameters.append({"name": f"@term{number}", "value": _term(partition, kind, key, value)})
    direction = "DESC" if descending else "ASC"
    return f"SELECT * FROM c WHERE {' AND '.join(conditions)} ORDER BY c.place {direction}", parameters


def _term(partition: str, kind: str, key: str, value: str) -> str:
    return json.dumps([partition, kind, key, value], ensure_ascii=False, separators=(",", ":"))
