"""The event stream of a run: of the request that began or resumed it, and for whoever re-attaches."""

import asyncio
import math
import re
import time

import azure.durable_functions as df
from azurefunctions.extensions.http.fastapi import Response, StreamingResponse

import wiring
from errors import InvalidRequest, NotFound
from events import requests
from events.addresses import batch_id, thread_partition
from events.log import as_batch, ends_run
from events.overdue import tend
from events.stream import Cursor, RunStream
from routes.lookup import path_id
from routes.operation import Call, operation

bp = df.Blueprint()

_HEADERS = {"cache-control": "no-cache", "x-accel-buffering": "no"}  # A.6.1
# In the User-Agent of every client of the Azure SDK for Java, after the application's own id if it has one.
# Both of them that read these streams fail on any comment (F.1.4).
_FAILS_ON_COMMENTS = "azsdk-java-"
_CURSOR = re.compile(r"([0-9]{1,8})\.([0-9]{1,6})")


def stream_reply(call: Call, partition: str, run_id: str, after: Cursor, *, replay: bool = False) -> Response:
    """Return the events after `after`; they end at the first requires_action or terminal event.

    Or, resumably, when they have lasted as long as a call may.
    """
    limit = wiring.host().time_limit
    ends_at = None if limit is None else asyncio.get_running_loop().time() + limit
    stream = RunStream(call.documents, partition, run_id, _keep_alive(call), not replay, ends_at)
    return StreamingResponse(stream.frames(after), media_type="text/event-stream; charset=utf-8", headers=_HEADERS)


def _keep_alive(call: Call) -> float:
    """Return the seconds of silence after which this client is sent a comment; infinite for never."""
    fails = _FAILS_ON_COMMENTS in call.request.headers.get("user-agent", "").lower()
    return math.inf if fails else call.settings.stream_keep_alive_seconds or math.inf


@operation(bp, "GET", "threads/{thread_id}/runs/{run_id}/events")
async def get_run_events(call: Call) -> Response:
    """Our extension (F.9): everything after `Last-Event-ID` (or `?after=`), from the beginning without one.

    204 if that was the run's last event, 404 if the events have expired.
    """
    thread_id = path_id(call, "thread", "thread_id")
    run_id = path_id(call, "run", "run_id")
    partition = thread_partition(call.principal.tenant, thread_id)
    run = await requests.load_run(call.documents, partition, run_id)
    # Its stream may have been cut by what has put the run to sleep, or past its expiry.
    await tend(call.documents, call.hub, partition, run, now=time.time())
    given = call.request.headers.get("last-event-id") or call.request.query_params.get("after")
    after = _cursor(given) if given else Cursor()
    batch = await call.documents.get(partition, batch_id(run_id, after.batch))
    if batch is None:
        raise NotFound(f"The events of run '{run_id}' have expired, or there is no event '{after}'.")
    last = as_batch(batch).events[after.index :] if after.index >= 0 else []
    if len(last) == 1 and ends_run(last[0][0]):
        return Response(status_code=204)
    return stream_reply(call, partition, run_id, after, replay=True)


def _cursor(text: str) -> Cursor:
    match = _CURSOR.fullmatch(text)
    if not match:
        raise InvalidRequest(
            f"Invalid event id: '{text[:40]}'. Expected one that a stream has sent, such as '0.1'.",
            param="after",
            code="invalid_value",
        )
    return Cursor(int(match[1]), int(match[2]))
