"""Requests of every kind that reaches a function, and some that would leave an invocation waiting."""

import json
import random
from dataclasses import dataclass, field
from typing import Any

from tests.worker_bed.proxy import ID, ORDERS, Order, Reply

_ID = "0123456789abcdef" * 2
_PATHS = (
    *("assistants", f"assistants/asst_{_ID}", "threads", f"threads/thread_{_ID}", f"threads/thread_{_ID}/messages"),
    *(f"threads/thread_{_ID}/messages/msg_{_ID}", f"threads/thread_{_ID}/runs", f"threads/thread_{_ID}/runs/run_{_ID}"),
    *(f"threads/thread_{_ID}/runs/run_{_ID}/cancel", f"threads/thread_{_ID}/runs/run_{_ID}/steps", "threads/runs"),
    *(f"threads/thread_{_ID}/runs/run_{_ID}/events", "files", f"files/file-{_ID}", f"files/file-{_ID}/content"),
    *("uploads", f"uploads/upload_{_ID}/cancel", "vector_stores", "health", "models", "v1/threads", "v1/assistants"),
    *("deployments/any/threads", "v1//threads", "docs", "redoc", "openapi.json", "threads/", "x/y/z", "%0A", "a%0Ab/c"),
    *("threads/%0D%0A", "%FF", "%2F", "threads/%E2%82%AC", "deployments/a/b/c", f"threads/{'x' * 500}"),
)
_BASES = (*("/openai/",) * 12, "/", "/openai//", "/OpenAI/", "/openai/openai/")
_METHODS = ("GET", "GET", "GET", "POST", "POST", "DELETE", "PUT", "PATCH")
_QUERIES = (
    "",
    "",
    "",
    "?limit=5",
    "?limit=0",
    "?order=up",
    "?after=x",
    "?api-version=2024-05-01-preview",
    "?api-version=x",
)
_BODIES = (
    *(b"", b"{}", b"null", b"[]", b"{", b"\xff\xfe", b'{"metadata": {"a": "b"}}', b'{"model": "m"}', b'{"model": 7}'),
    *(b'{"messages": [{"role": "user", "content": "Hi"}]}', b'{"role": "user", "content": "Hi"}', b"x" * 20_000),
    *(b'{"assistant_id": "asst_x"}', json.dumps({"metadata": {str(n): "x" for n in range(20)}}).encode()),
)
_HEADERS: tuple[dict[str, str], ...] = (
    *({}, {}, {}, {"api-key": "wrong"}, {"api-key": ""}, {"authorization": "Bearer wrong"}, {"accept": "text/html"}),
    *(
        {"content-type": "multipart/form-data; boundary=x"},
        {"content-type": "application/json"},
        {"range": "bytes=0-1"},
    ),
    {"connection": "Upgrade", "upgrade": "websocket", "sec-websocket-key": "eA==", "sec-websocket-version": "13"},
    {"connection": "Upgrade", "upgrade": "h2c"},
)


@dataclass(frozen=True, slots=True)
class Generated:
    method: str
    target: str
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    order: Order = "together"
    leaves: bool = False

    def is_answered_well(self, reply: Reply) -> bool:
        """An answer of ours, and an invocation that ended, unless the client has left.

        The halves of a client that has named an invocation by itself never meet: both end.
        """
        if reply.invocation is None or "raised" in reply.invocation:
            return False
        if ID in self.headers and not self.leaves:
            return reply.status == 500 and "server_error" in reply.body.decode()
        return self.leaves or (reply.invocation["failed"] is None and _is_ours(reply))


def generated(chance: random.Random) -> Generated:
    headers = chance.choice(_HEADERS)
    if chance.random() < 0.005:
        headers = headers | {ID: chance.choice(("", "1", "an id of the client's own"))}
    return Generated(
        method=chance.choice(_METHODS),
        target=f"{chance.choice(_BASES)}{chance.choice(_PATHS)}{chance.choice(_QUERIES)}",
        body=chance.choice(_BODIES),
        headers=headers,
        order=chance.choice(ORDERS),
        leaves=chance.random() < 0.05,
    )


def _is_ours(reply: Reply) -> bool:
    if reply.status >= 500 and reply.status != 503:
        return False
    if reply.status in (204, 304):
        return True
    answer: Any = json.loads(reply.body)
    return isinstance(answer, dict) and (reply.status < 400 or "error" in answer or "status" in answer)
