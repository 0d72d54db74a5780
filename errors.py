"""Everything that goes wrong on purpose.

* ServiceError
  - InvalidRequest     well formed HTTP, but not allowed or not understood (400)
  - Unauthorized       no credential, or a wrong one (401)
  - NotFound           the id or the path names nothing this caller can see (404)
  - MethodNotAllowed   the path exists, the method does not (405)
  - TooSlow            a request whose body does not come in time (408)
  - TooLarge           a body beyond the limit (413)
  - RangeNotSatisfiable  nothing of a file lies in the range that was asked for (416)
  - StoreUnavailable   a store throttled, timed out or is away; the same call may work later (503)
    - StoreBroken      what the store holds can't be used until a person has seen to it
* Conflict             a lost race in a store: re-read and decide again. Never reaches a client.

`routes/edge.py` gives each its status, once.
"""

from collections.abc import Iterable


class ServiceError(Exception):
    """An error whose message is written for the caller.

    `param` is the dotted path of the offending member, `code` the API's machine-readable code
    (specification, section J.3).
    """

    def __init__(self, message: str, *, param: str | None = None, code: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        self.code = code


class InvalidRequest(ServiceError):
    pass


class Unauthorized(ServiceError):
    pass


class NotFound(ServiceError):
    pass


class MethodNotAllowed(ServiceError):
    """`allowed` are the methods that the path takes."""

    def __init__(self, message: str, *, allowed: Iterable[str]) -> None:
        super().__init__(message, code="method_not_supported")
        self.allowed = sorted(set(allowed))


class TooSlow(ServiceError):
    pass


class TooLarge(ServiceError):
    pass


class RangeNotSatisfiable(ServiceError):
    """`size` is the file's, in bytes."""

    def __init__(self, message: str, *, size: int) -> None:
        super().__init__(message)
        self.size = size


class StoreUnavailable(ServiceError):
    """`retry_after` is in seconds; kept at most 60, beyond which clients give up (A.5.3)."""

    def __init__(self, message: str = "The store is busy. Try again.", *, retry_after: float = 1.0) -> None:
        super().__init__(message)
        self.retry_after = min(retry_after, 60.0)


class StoreBroken(StoreUnavailable):
    """`detail` is a line for who runs the service: what is broken, where, and what to do. Also its str()."""

    def __init__(self, message: str, *, detail: str) -> None:
        super().__init__(message, retry_after=60.0)
        self.detail = detail

    def __str__(self) -> str:
        return self.detail


class Conflict(Exception):
    """A commit lost a race: a version has moved on, or an id to be created exists."""
