"""A run as it is stored: the run the API shows and what only we need to know of it.

Body members beside `resource`: `turn` (the turn the model is at), `usages` (of each turn that
ended, by its number), `open_step` (id of the tool_calls step that waits for outputs), `lifetime`
(seconds, as it was set when the run began), `given` (those of temperature and top_p that a client has set; runs
begun by an older version have none).
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from domain import runs
from domain.usage import total
from ports.documents import Document, Replace

Resource = dict[str, Any]


def new_run_document(run: Resource, sort: str, *, lifetime: float, now: float, given: Sequence[str] = ()) -> Document:
    return Document(
        id=run["id"],
        kind="run",
        sort=sort,
        body={
            "resource": run,
            "turn": 0,
            "usages": {},
            "open_step": None,
            "lifetime": lifetime,
            "given": list(given),
        },
        unfinished_since=now,
    )


def changed_run(document: Document, run: Resource, *, now: float, **members: Any) -> Replace:
    """Return the change that makes `run` the stored run; `members` replace body members."""
    body = document.body | members | {"resource": run}
    return Replace(replace(document, body=body, unfinished_since=_unfinished_since(run, now)), document.version)


def _unfinished_since(run: Resource, now: float) -> float | None:
    """A run that waits for its client needs nobody until its time is over."""
    if runs.is_terminal(run):
        return None
    return float(run["expires_at"]) if run["status"] == "requires_action" else now


def run_of(document: Document) -> Resource:
    return document.body["resource"]


def lifetime_of(document: Document) -> float:
    return document.body["lifetime"]


def given_of(document: Document) -> Sequence[str]:
    return document.body.get("given", ())


def with_usage(document: Document, turn: int, usage: Resource) -> dict[str, Resource]:
    return document.body["usages"] | {str(turn): usage}


def usage_so_far(document: Document) -> Resource:
    return total(document.body["usages"].values())
