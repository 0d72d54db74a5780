"""Metadata (C.0): at most 16 pairs of strings."""

from typing import Annotated

from pydantic import Field, StringConstraints

MAX_PAIRS = 16

Metadata = Annotated[
    dict[
        Annotated[str, StringConstraints(max_length=64)],
        Annotated[str, StringConstraints(max_length=512)],
    ],
    Field(max_length=MAX_PAIRS),
]
