"""Lists: from a query to a page of stored resources (D.1 to D.14)."""

from collections.abc import AsyncIterator, Callable, Mapping
from functools import partial

from azurefunctions.extensions.http.fastapi import Request, Response

import ids
from domain.threads import tombstone_id
from errors import InvalidRequest, NotFound
from ports.documents import Document
from routes.operation import Call
from routes.page_text import AT_ONCE, Item, each, items_of, page_reply
from routes.request_errors import out_of_range, unsupported_value
from schemas.page import DEFAULT_LIMIT, MAX_LIMIT, PageQuery


def _itself(id: str) -> str:
    return id


async def page(
    call: Call,
    partition: str,
    kind: str,
    id_kind: ids.Kind,
    *,
    noun: str,
    where: Mapping[str, str] | None = None,
    query: PageQuery | None = None,
    document_id: Callable[[str], str] = _itself,
) -> Response:
    """Answer with the page of the partition's documents of this kind that the request asks for.

    `query` is what `page_query` made of the request, where something had to be looked up in between.
    `document_id` tells under which id the document of a listed id is stored. Raises InvalidRequest
    and, for a cursor that nobody knows, NotFound.
    """
    asked = query or page_query(call.request, id_kind)

    async def place(id: str | None) -> str | None:
        if id is None:
            return None
        return await _sort_of(call, partition, kind, document_id(id), f"No {noun} found with id '{id}'.")

    after, before = await place(asked.after), await place(asked.before)
    descending = asked.order == "desc"

    rows = partial(call.documents.stream, partition, kind, where=where)
    if before is not None and after is None:
        return await _page_before(rows, before, asked.limit, descending=descending)
    found = rows(limit=asked.limit + 1, after=after, before=before, descending=descending)
    return await page_reply(items_of(found), asked.limit)


async def _page_before(
    rows: Callable[..., AsyncIterator[Document]], before: str, limit: int, *, descending: bool
) -> Response:
    """Answer with the nearest before the cursor. They lie in the other direction: found going back, shown going on."""
    kept: list[Item] = []
    size = 0
    beyond = None
    async for item in items_of(rows(limit=limit + 1, after=before, descending=not descending)):
        if len(kept) == limit:
            beyond = item.sort
        else:
            size += len(item.text)
            kept.append(item if size <= AT_ONCE else item._replace(text=b""))
    if size <= AT_ONCE:
        items = each(reversed(kept))
    else:  # only their places are kept: they are read again while they are written
        items = items_of(rows(limit=limit, after=beyond, before=before, descending=descending))
    return await page_reply(items, limit, has_more=beyond is not None)


def page_query(
    request: Request, id_kind: ids.Kind, *, default_limit: int = DEFAULT_LIMIT, max_limit: int = MAX_LIMIT
) -> PageQuery:
    """Return the common list parameters. InvalidRequest for the first that is wrong."""
    given = request.query_params
    order = given.get("order") or "desc"
    if order not in ("asc", "desc"):
        raise unsupported_value("order", order, ["asc", "desc"])
    limit = _limit(given.get("limit"), default_limit, max_limit)
    after, before = (_cursor(given.get(name), name, id_kind) for name in ("after", "before"))
    return PageQuery(limit, order, after, before)


def _limit(text: str | None, default: int, most: int) -> int:
    if not text:
        return default
    if not (text.removeprefix("-").isdecimal() and text.isascii() and len(text) < 10):
        raise InvalidRequest(
            f"Invalid type for 'limit': expected an integer, but got '{text[:100]}' instead.",
            param="limit",
            code="invalid_type",
        )
    limit = int(text)
    if limit > most:
        raise out_of_range("limit", limit, most, above=True)
    if limit < 1:
        raise out_of_range("limit", limit, 1, above=False)
    return limit


def _cursor(id: str | None, param: str, kind: ids.Kind) -> str | None:
    # Some clients send `after=` for "from the beginning".
    return ids.check_id(kind, id, param) if id else None


async def _sort_of(call: Call, partition: str, kind: str, stored_id: str, otherwise: str) -> str:
    """Return the place of the cursor's item, also of one deleted within the hour (D.9)."""
    found = await call.documents.get(partition, stored_id)
    if found and found.kind == kind:
        return found.sort
    deleted = await call.documents.get(partition, tombstone_id(stored_id))
    if deleted and deleted.body["kind"] == kind:
        return deleted.body["sort"]
    raise NotFound(otherwise)
