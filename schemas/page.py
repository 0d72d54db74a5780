"""A page of a list (D): what may be asked for."""

from dataclasses import dataclass
from typing import Literal

Order = Literal["asc", "desc"]

DEFAULT_LIMIT = 20
MAX_LIMIT = 100


@dataclass(frozen=True, slots=True)
class PageQuery:
    """`after` and `before` are ids, not offsets: a page stays put while items arrive."""

    limit: int = DEFAULT_LIMIT
    order: Order = "desc"
    after: str | None = None
    before: str | None = None
