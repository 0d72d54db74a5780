"""Who is calling."""

from dataclasses import dataclass

DEFAULT_TENANT = "default"


@dataclass(frozen=True, slots=True)
class Principal:
    """An authenticated caller. The tenant is part of every partition key: it bounds what can be seen."""

    tenant: str = DEFAULT_TENANT
