"""`python -m tests.cosmos_double --port 8081`: the double as a process of its own, for tests with several processes."""

import argparse

from aiohttp import web

from tests.cosmos_double.server import CosmosDouble

if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    web.run_app(CosmosDouble().app(), host="127.0.0.1", port=parser.parse_args().port, print=None)
