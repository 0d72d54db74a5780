"""`list`, held against what a few lines of plain Python say it is."""

import secrets
from collections.abc import Mapping

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ports.documents import Create, Document, Documents

SORTS = st.text("019a-", min_size=0, max_size=3)
KINDS = st.sampled_from(["message", "step"])
TERMS = st.dictionaries(st.sampled_from(["run_id", "m.a"]), st.sampled_from(["", "x", "y"]), max_size=2)
STORED = st.lists(st.tuples(KINDS, SORTS, TERMS), max_size=12, unique_by=lambda made: made[:2])
BOUNDS = st.none() | SORTS


def model(
    stored: list[Document],
    kind: str,
    limit: int,
    after: str | None,
    before: str | None,
    descending: bool,
    where: Mapping[str, str] | None,
) -> list[Document]:
    lower, upper = (before, after) if descending else (after, before)
    matching = [
        document
        for document in stored
        if document.kind == kind
        and (lower is None or document.sort > lower)
        and (upper is None or document.sort < upper)
        and (where or {}).items() <= document.terms.items()
    ]
    return sorted(matching, key=lambda document: document.sort, reverse=descending)[:limit]


# The store stays from one example to the next: each has a partition of its own.
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    made=STORED,
    kind=KINDS,
    limit=st.integers(0, 13),
    after=BOUNDS,
    before=BOUNDS,
    descending=st.booleans(),
    where=st.none() | TERMS,
)
async def test_a_listing_is_what_the_model_says(
    documents: Documents,
    made: list[tuple[str, str, dict[str, str]]],
    kind: str,
    limit: int,
    after: str | None,
    before: str | None,
    descending: bool,
    where: dict[str, str] | None,
):
    name = secrets.token_hex(8)
    partition = f"default/{name}"
    changes = [
        Create(Document(f"{name}.{n}", made_kind, {"n": n}, sort, terms))
        for n, (made_kind, sort, terms) in enumerate(made)
    ]
    stored = await documents.commit(partition, *changes) if changes else []
    listed = await documents.list(
        partition, kind, limit=limit, after=after, before=before, descending=descending, where=where
    )
    assert listed == model(stored, kind, limit, after, before, descending, where)
