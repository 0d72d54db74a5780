"""What the Cosmos DB SDK raises, in our words."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from azure.core.exceptions import AzureError, HttpResponseError, ServiceRequestError, ServiceResponseError
from azure.cosmos.exceptions import (
    CosmosBatchOperationError,
    CosmosClientTimeoutError,
    CosmosHttpResponseError,
)

from errors import Conflict, StoreUnavailable

logger = logging.getLogger(__name__)

# Timeouts, a partition on the move, throttling, a retry asked for, regions failing over. 500 is what the
# gateway says for a passing fault of its own.
_PASSING = {408, 410, 429, 449, 500, 502, 503, 504}
_LOST_RACES = {404, 409, 412}
_UNREACHABLE = (ServiceRequestError, ServiceResponseError, CosmosClientTimeoutError)


class AnswerLost(StoreUnavailable):
    """The request may have been carried out or not."""


@contextmanager
def store_errors() -> Iterator[None]:
    """Raise StoreUnavailable for what passes, Conflict where a batch lost a race; the rest goes on as it is."""
    try:
        yield
    except _UNREACHABLE as error:
        logger.warning("Cosmos DB did not answer: %s", type(error).__name__)
        raise AnswerLost() from error
    except (CosmosHttpResponseError, CosmosBatchOperationError) as error:
        status = error.status_code or 0
        if status in _PASSING:
            logger.warning("Cosmos DB answered %s", status)
            kind = StoreUnavailable if status in (429, 449) else AnswerLost
            raise kind(retry_after=_retry_after(error)) from error
        if isinstance(error, CosmosBatchOperationError) and status in _LOST_RACES:
            raise Conflict(f"Change {error.error_index} of the commit: {status}.") from error
        raise


def charge_of(error: AzureError) -> float:
    """Return the request units that a failed request cost all the same."""
    headers = getattr(error, "headers", None) or {}
    return float(headers.get("x-ms-request-charge", 0.0))


def _retry_after(error: HttpResponseError) -> float:
    headers = getattr(error, "headers", None) or {}
    return float(headers.get("x-ms-retry-after-ms", 1000)) / 1000
