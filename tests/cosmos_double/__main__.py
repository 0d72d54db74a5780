"""`python -m tests.cosmos_double`: the double as a process of its own. Prints its address, then serves until it
is ended."""

import argparse
import asyncio
import sys

from aiohttp import web

from tests.cosmos_double.server import CosmosDouble


async def serve(port: int) -> None:
    runner = web.AppRunner(CosmosDouble().app())
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    sys.stdout.write(f"http://127.0.0.1:{runner.addresses[0][1]}\n")
    sys.stdout.flush()
    await asyncio.Event().wait()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, default=0)
    asyncio.run(serve(parser.parse_args().port))
