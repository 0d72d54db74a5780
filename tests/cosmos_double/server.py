"""The HTTP side of the double: addresses, keys, headers, status codes."""

import base64
import hashlib
import hmac
import json
from collections import Counter, defaultdict
from typing import Any
from urllib.parse import parse_qs, unquote

from aiohttp import web

from tests.cosmos_double.control import Control
from tests.cosmos_double.faults import Fault, Faults, Operation
from tests.cosmos_double.items import RANGES, Container, Failed, Refused, read_charge
from tests.cosmos_double.queries import plan, run

# The well-known key of Microsoft's emulators: no secret.
KEY = "C2y6yDjf5/R+ob0N8A7Cgv30VRDJIWEHLM+4QDU5DE2nQ9nDuVTqobD4b8mGGyPMbIZnqyMsEcaGQy67XIw/Jw=="

MAX_REQUEST_BYTES = 2 * 1024 * 1024
CROSS_PARTITION = 1004  # sub-status: "ask for a query plan"
BOUNDARIES = ["", "1FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF", "FF"]

# What the SDK sends and what it means here: nothing, or something handled below.
_HEADERS = {
    "x-ms-version",
    "x-ms-date",
    "x-ms-activity-id",
    "x-ms-client-id",
    "x-ms-cosmos-sdk-supportedcapabilities",
    "x-ms-cosmos-intended-collection-rid",
    "x-ms-cosmos-correlated-activityid",
    "x-ms-thinclient-proxy-operation-type",
    "x-ms-thinclient-proxy-resource-type",
    "x-ms-consistency-level",
    "x-ms-documentdb-partitionkey",
    "x-ms-documentdb-partitionkeyrangeid",
    "x-ms-documentdb-query-iscontinuationexpected",
    "x-ms-documentdb-query-enablecrosspartition",
    "x-ms-documentdb-isquery",
    "x-ms-documentdb-query-parallelizecrosspartitionquery",
    "x-ms-max-item-count",
    "x-ms-continuation",
    "x-ms-cosmos-is-batch-request",
    "x-ms-cosmos-batch-atomic",
    "x-ms-cosmos-batch-continue-on-error",
    "x-ms-cosmos-is-query-plan-request",
    "x-ms-cosmos-supported-query-features",
    "x-ms-cosmos-query-version",
}


class CosmosDouble:
    """`refusals` says what it was asked and does not do; `charges` sums the request units by operation."""

    def __init__(self) -> None:
        self.faults = Faults()
        self.refusals: list[str] = []
        self.requests: Counter[str] = Counter()
        self.charges: defaultdict[str, float] = defaultdict(float)
        self._databases: dict[str, dict[str, Container]] = {}
        self.endpoint = ""

    def app(self) -> web.Application:
        app = web.Application(client_max_size=MAX_REQUEST_BYTES * 2)
        Control(self).add_routes(app)
        app.router.add_route("*", "/{path:.*}", self._answer)
        return app

    @property
    def containers(self) -> list[Container]:
        return [container for database in self._databases.values() for container in database.values()]

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        self.endpoint = f"{request.scheme}://{request.host}/"
        if self.faults.down:
            return _cut(request)
        try:
            return await self._route(request)
        except Refused as refusal:
            self.refusals.append(f"{request.method} {request.path}: {refusal}")
            return _error(400, f"The Cosmos DB double does not do this. {refusal}")
        except Failed as failure:
            return _error(failure.status, "", charge=1.0)

    async def _route(self, request: web.Request) -> web.StreamResponse:
        parts = [unquote(part) for part in request.path.split("/") if part]
        self._check_headers(request)
        if not _signed(request, parts):
            return _error(401, "The signature does not fit the request.")
        match (request.method, *parts):
            case ("GET",):
                return web.json_response(self._account())
            case ("POST", "dbs"):
                return self._create_database(await request.json())
            case ("GET", "dbs", database) if database in self._databases:
                return web.json_response({"id": database, "_rid": _rid(database)})
            case ("DELETE", "dbs", database):
                self._databases.pop(database, None)
                return web.Response(status=204)
            case ("POST", "dbs", database, "colls"):
                return self._create_container(database, await request.json())
            case (method, "dbs", database, "colls", name, *rest):
                container = self._databases.get(database, {}).get(name)
                if container is None:
                    return _error(404, "Owner resource does not exist", sub_status=1003)
                return await self._in_container(request, method, container, rest)
            case ("GET", "dbs", _):
                raise Failed(404)
        raise Refused("No such address.")

    async def _in_container(
        self, request: web.Request, method: str, container: Container, rest: list[str]
    ) -> web.StreamResponse:
        match (method, *rest):
            case ("GET",):
                return web.json_response({**container.definition, "_rid": container.rid, "_self": container.rid})
            case ("GET", "pkranges"):
                return _partition_ranges(request, container)
            case ("GET", "docs", id):
                return await self._faulty(request, "read", lambda: self._read(request, container, id))
            case ("POST", "docs"):
                body = await request.json()
                return await self._posted(request, container, body)
        raise Refused("No such address.")

    async def _posted(self, request: web.Request, container: Container, body: Any) -> web.StreamResponse:
        headers = request.headers
        if headers.get("x-ms-cosmos-is-query-plan-request") == "True":
            return web.json_response(plan(container, body))
        if headers.get("x-ms-documentdb-isquery") == "true":
            return await self._faulty(request, "query", lambda: self._query(request, container, body))
        if headers.get("x-ms-cosmos-is-batch-request") == "True":
            if headers.get("x-ms-cosmos-batch-atomic") != "True":
                raise Refused("A batch that is not atomic.")
            if (request.content_length or 0) > MAX_REQUEST_BYTES:
                return _error(413, "Request entity too large")
            return await self._faulty(request, "batch", lambda: self._batch(request, container, body))
        raise Refused("Neither a batch nor a query.")

    async def _faulty(self, request: web.Request, operation: Operation, act: Any) -> web.StreamResponse:
        """Answer, unless a fault is planned for this request."""
        self.requests[operation] += 1
        match self.faults.next(operation):
            case Fault("throttle", retry_after_ms=wait):
                return _error(429, "Request rate is large", sub_status=3200, retry_after_ms=wait)
            case Fault("busy"):
                return _error(503, "Service is unavailable")
            case Fault("cut_before"):
                return _cut(request)
            case Fault("cut_after"):
                act()
                return _cut(request)
        response = act()
        self.charges[operation] += float(response.headers["x-ms-request-charge"])
        return response

    def _read(self, request: web.Request, container: Container, id: str) -> web.Response:
        item = container.read(_pk(request), id)
        return _json(item, read_charge(item), etag=item["_etag"])

    def _batch(self, request: web.Request, container: Container, operations: Any) -> web.Response:
        results = container.batch(_pk(request), operations)
        failed = any(result["statusCode"] >= 400 for result in results)
        return _json(results, sum(result["requestCharge"] for result in results), status=207 if failed else 200)

    def _query(self, request: web.Request, container: Container, query: dict[str, Any]) -> web.Response:
        headers = request.headers
        if "x-ms-documentdb-partitionkey" in headers:
            items = container.live(_pk(request))
        elif "x-ms-documentdb-partitionkeyrangeid" in headers:
            items = container.live(range=int(headers["x-ms-documentdb-partitionkeyrangeid"]))
        elif headers.get("x-ms-documentdb-query-enablecrosspartition") == "True":
            return _error(400, "Cross partition query needs a plan.", sub_status=CROSS_PARTITION)
        else:
            raise Refused("A query across partitions that does not say so.")
        page_size = int(headers.get("x-ms-max-item-count", 100))
        page, continuation = run(container, items, query, page_size, headers.get("x-ms-continuation"))
        body = {"_rid": container.rid, "Documents": page, "_count": len(page)}
        response = _json(body, round(2.3 + 0.35 * len(page), 2))
        if continuation:
            response.headers["x-ms-continuation"] = continuation
        return response

    def _check_headers(self, request: web.Request) -> None:
        unknown = {name.lower() for name in request.headers if name.lower().startswith("x-ms-")} - _HEADERS
        if unknown:
            raise Refused(f"Headers: {sorted(unknown)}.")
        if request.headers.get("x-ms-consistency-level") not in (None, "Strong", "Eventual", "Session"):
            raise Refused("That consistency.")

    def _account(self) -> dict[str, Any]:
        here = [{"name": "Here", "databaseAccountEndpoint": self.endpoint}]
        return {
            "id": "double",
            "_rid": "double",
            "_self": "",
            "addresses": "//addresses/",
            "_dbs": "//dbs/",
            "media": "//media/",
            "writableLocations": here,
            "readableLocations": here,
            "enableMultipleWriteLocations": False,
            "userConsistencyPolicy": {"defaultConsistencyLevel": "Strong"},
            "userReplicationPolicy": {"minReplicaSetSize": 1, "maxReplicasetSize": 4},
            "systemReplicationPolicy": {"minReplicaSetSize": 1, "maxReplicasetSize": 4},
            "queryEngineConfiguration": "{}",
        }

    def _create_database(self, body: dict[str, Any]) -> web.Response:
        if body["id"] in self._databases:
            raise Failed(409)
        self._databases[body["id"]] = {}
        return web.json_response({"id": body["id"], "_rid": _rid(body["id"])}, status=201)

    def _create_container(self, database: str, definition: dict[str, Any]) -> web.Response:
        if database not in self._databases:
            raise Failed(404)
        if definition["id"] in self._databases[database]:
            raise Failed(409)
        if definition["partitionKey"]["paths"] != ["/pk"]:
            raise Refused("A partition key other than /pk.")
        container = Container(definition, rid=_rid(f"{database}/{definition['id']}"))
        self._databases[database][definition["id"]] = container
        return web.json_response({**definition, "_rid": container.rid, "_self": container.rid}, status=201)


def _rid(name: str) -> str:
    return base64.b64encode(hashlib.sha256(name.encode()).digest()[:8]).decode().replace("/", "-")


def _pk(request: web.Request) -> str:
    match json.loads(request.headers.get("x-ms-documentdb-partitionkey", "null")):
        case [str(pk)]:
            return pk
    raise Refused("A document's address without its partition key.")


def _partition_ranges(request: web.Request, container: Container) -> web.Response:
    if request.headers.get("If-None-Match"):
        return web.Response(status=304, headers={"etag": '"1"', "x-ms-request-charge": "0"})
    ranges = [
        {
            "id": str(number),
            "_rid": f"{container.rid}{number}",
            "minInclusive": BOUNDARIES[number],
            "maxExclusive": BOUNDARIES[number + 1],
            "status": "online",
            "parents": [],
        }
        for number in range(RANGES)
    ]
    return _json({"_rid": container.rid, "PartitionKeyRanges": ranges, "_count": RANGES}, 0.0, etag='"1"')


def _signed(request: web.Request, parts: list[str]) -> bool:
    """Hold the signature against the key, as the REST reference says it is made."""
    sent = parse_qs(unquote(request.headers.get("Authorization", "")).replace("+", "%2B"))
    feed = len(parts) % 2 == 1
    kind = parts[-1] if feed else (parts[-2] if parts else "")
    link = "/".join(parts[:-1] if feed else parts)
    text = f"{request.method.lower()}\n{kind}\n{link}\n{request.headers.get('x-ms-date', '').lower()}\n\n"
    digest = hmac.new(base64.b64decode(KEY), text.encode(), hashlib.sha256).digest()
    return sent.get("type") == ["master"] and sent.get("sig") == [base64.b64encode(digest).decode()]


def _json(body: Any, charge: float, *, status: int = 200, etag: str = "") -> web.Response:
    headers = {"x-ms-request-charge": str(charge)} | ({"etag": etag} if etag else {})
    return web.json_response(body, status=status, headers=headers)


def _error(
    status: int, message: str, *, sub_status: int = 0, retry_after_ms: int | None = None, charge: float = 0.0
) -> web.Response:
    headers = {"x-ms-request-charge": str(charge), "x-ms-substatus": str(sub_status)}
    if retry_after_ms is not None:
        headers["x-ms-retry-after-ms"] = str(retry_after_ms)
    return web.json_response({"code": str(status), "message": message}, status=status, headers=headers)


def _cut(request: web.Request) -> web.StreamResponse:
    if request.transport is not None:
        request.transport.abort()
    return web.Response(status=500)
