"""The items of one container: partitions, ETags, ttl, atomic batches."""

import copy
import json
import time
import zlib
from dataclasses import dataclass, field
from typing import Any

Item = dict[str, Any]

MAX_OPERATIONS = 100
MAX_ITEM_BYTES = 2 * 1024 * 1024
RANGES = 2  # physical partitions

CREATED, OK, NO_CONTENT = 201, 200, 204
NOT_FOUND, EXISTS, STALE, TOO_LARGE, NOT_TRIED = 404, 409, 412, 413, 424


class Refused(Exception):
    """The double does not do this, or Cosmos DB would say 400."""


class Failed(Exception):
    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


def range_of(pk: str) -> int:
    return zlib.crc32(pk.encode()) % RANGES


def size_of(item: Item) -> int:
    return len(json.dumps(item, ensure_ascii=False, separators=(",", ":")).encode())


@dataclass
class Container:
    definition: dict[str, Any]
    rid: str
    # pk → id → item. An insertion order of its own per item, for ties.
    partitions: dict[str, dict[str, Item]] = field(default_factory=dict)
    written: int = 0
    times: dict[str, float] = field(default_factory=dict)  # id → when it was last written; ours are unique

    @property
    def indexed(self) -> set[str]:
        return {path["path"].removesuffix("/?") for path in self.definition["indexingPolicy"]["includedPaths"]}

    def read(self, pk: str, id: str) -> Item:
        item = self.partitions.get(pk, {}).get(id)
        if item is None or self._expired(item):
            raise Failed(NOT_FOUND)
        return item

    def live(self, pk: str | None = None, range: int | None = None) -> list[Item]:
        """Return the items of a partition, or of a physical one."""
        keys = [pk] if pk is not None else [key for key in self.partitions if range_of(key) == range]
        items = (item for key in keys for item in self.partitions.get(key, {}).values())
        return [item for item in items if not self._expired(item)]

    def batch(self, pk: str, operations: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Apply all or nothing; answer each operation as the service does."""
        if not 1 <= len(operations) <= MAX_OPERATIONS:
            raise Refused(f"A batch has 1 to {MAX_OPERATIONS} operations.")
        before = copy.copy(self.partitions.get(pk, {}))
        results = []
        for number, operation in enumerate(operations):
            try:
                results.append(self._apply(pk, operation))
            except Failed as failure:
                self.partitions[pk] = before
                others = [{"statusCode": NOT_TRIED, "requestCharge": 0.0} for _ in operations]
                others[number] = {"statusCode": failure.status, "requestCharge": 1.24}
                return others
        return results

    def _apply(self, pk: str, operation: dict[str, Any]) -> dict[str, Any]:
        match operation:
            case {"operationType": "Create", "resourceBody": body, **rest} if not rest:
                if body["id"] in self.partitions.get(pk, {}) and not self._expired(self.partitions[pk][body["id"]]):
                    raise Failed(EXISTS)
                return self._write(pk, body, CREATED)
            case {"operationType": "Replace", "id": id, "resourceBody": body, "ifMatch": etag, **rest} if not rest:
                self._match(self.read(pk, id), etag)
                if body["id"] != id:
                    raise Refused("A replace names one id and carries another.")
                return self._write(pk, body, OK)
            case {"operationType": "Delete", "id": id, **rest} if rest.keys() <= {"ifMatch"}:
                self._match(self.read(pk, id), rest.get("ifMatch"))
                del self.partitions[pk][id]
                return {"statusCode": NO_CONTENT, "requestCharge": 5.0}
        raise Refused(f"Batch operation with {sorted(operation)}.")

    def _match(self, item: Item, etag: str | None) -> None:
        if etag == "":
            raise Refused("An empty ifMatch: the service may take it for none.")
        if etag is not None and item["_etag"] != etag:
            raise Failed(STALE)

    def _write(self, pk: str, body: Item, status: int) -> dict[str, Any]:
        self._check(pk, body)
        self.written += 1
        etag = f'"{self.written:08x}-0000-0d00-0000-000000000000"'
        rid = f"{self.rid}{self.written:08x}"
        item = {**body, "_rid": rid, "_self": f"docs/{rid}", "_etag": etag, "_ts": int(time.time())}
        if size_of(item) > MAX_ITEM_BYTES:
            raise Failed(TOO_LARGE)
        self.partitions.setdefault(pk, {})[body["id"]] = item
        self.times[body["id"]] = time.time()
        return {"statusCode": status, "eTag": etag, "resourceBody": item, "requestCharge": write_charge(item)}

    def _check(self, pk: str, body: Item) -> None:
        id, ttl = body.get("id"), body.get("ttl")
        if not isinstance(id, str) or not id or len(id) > 255 or any(c in "/\\?#" for c in id):
            raise Refused(f"Not an id: {id!r}.")
        if body.get("pk") != pk:
            raise Refused("The item's /pk is not the partition key of the request.")
        if ttl is not None and (not isinstance(ttl, int) or ttl == 0 or ttl < -1):
            raise Refused(f"Not a ttl: {ttl!r}.")
        if any(key.startswith("_") for key in body):
            raise Refused("The service's own properties are not written.")

    def _expired(self, item: Item) -> bool:
        on = self.definition.get("defaultTtl") is not None
        return on and item.get("ttl", -1) != -1 and time.time() >= item["_ts"] + item["ttl"]


def read_charge(item: Item) -> float:
    """1 RU for 1 kB, 10 for 100 kB: the documented rule of thumb."""
    return round(max(1.0, 1 + (size_of(item) / 1024 - 1) * 0.09), 2)


def write_charge(item: Item) -> float:
    """About 5 RU for 1 kB and 50 for 100 kB, and a little for each indexed value: an estimate."""
    terms = 1 + len(item.get("terms", ())) + ("unfinished_since" in item)
    return round(max(5.0, 5 + (size_of(item) / 1024 - 1) * 0.45) + 0.2 * terms, 2)
