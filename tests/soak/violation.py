"""What must not happen."""

from typing import Literal

Kind = Literal["lost", "doubled", "locked", "wrong"]


class Violation(Exception):
    """`kind` is its column in the report: a run lost, something doubled, a thread locked, or anything else wrong."""

    def __init__(self, kind: Kind, what: str) -> None:
        super().__init__(f"{kind}: {what}")
        self.kind: Kind = kind


def must(holds: bool, kind: Kind, what: str) -> None:
    """Raise a Violation unless `holds`."""
    if not holds:
        raise Violation(kind, what)
