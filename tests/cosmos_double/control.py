"""What tests in other processes say to the double, and ask it, beside the API: addresses under /double."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from aiohttp import web

from tests.cosmos_double.faults import Fault

if TYPE_CHECKING:
    from tests.cosmos_double.server import CosmosDouble


@dataclass(frozen=True, slots=True)
class Control:
    double: "CosmosDouble"

    def add_routes(self, app: web.Application) -> None:
        app.router.add_post("/double/faults", self._plan)
        app.router.add_post("/double/faults/none", self._forget)
        app.router.add_get("/double/refusals", self._refusals)
        app.router.add_get("/double/written", self._written)

    async def _plan(self, request: web.Request) -> web.Response:
        """{"down": bool} or the members of a Fault."""
        body = await request.json()
        if "down" in body:
            self.double.faults.down = body["down"]
        else:
            self.double.faults.planned.append(Fault(**body))
        return web.json_response({})

    async def _forget(self, _: web.Request) -> web.Response:
        self.double.faults.down = False
        self.double.faults.planned.clear()
        return web.json_response({})

    async def _refusals(self, _: web.Request) -> web.Response:
        return web.json_response(self.double.refusals)

    async def _written(self, request: web.Request) -> web.Response:
        """When each item whose id begins with `prefix` was last written: finer than its own _ts, whole seconds."""
        prefix = request.query["prefix"]
        containers = self.double.containers
        times = {id: at for one in containers for id, at in one.times.items() if id.startswith(prefix)}
        return web.json_response([at for _, at in sorted(times.items())])
