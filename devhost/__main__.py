"""python -m devhost: run the app in this folder on this machine."""

import argparse
import asyncio
import os
import sys
from pathlib import Path

from devhost.environment import prepared
from devhost.event_loop import new_event_loop
from devhost.gate import PortTaken, bind
from devhost.host import Options, serve
from devhost.host_json import HostJson
from devhost.logs import start_logging
from devhost.setup_error import SetupError


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m devhost", description=__doc__)
    parser.add_argument("--port", type=int, default=7071, help="0 takes a free one (default: %(default)s)")
    parser.add_argument("--workers", type=int, default=1, help="worker processes (default: %(default)s)")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: this machine only)")
    parser.add_argument("--data", type=Path, help="folder for everything that is kept (default: .data in the app)")
    parser.add_argument("--app", type=Path, default=Path(), help="folder of function_app.py (default: this one)")
    parser.add_argument("--no-code-interpreter", action="store_true", help="do without the sandbox and its packages")
    options = parser.parse_args(arguments)
    if not 0 <= options.port <= 65535:
        parser.error("--port must be from 0 to 65535")
    if options.workers < 1:
        parser.error("--workers must be at least 1")
    return options


def main(arguments: list[str] | None = None) -> int:
    given = _options(arguments)
    start_logging()
    app = given.app.resolve()
    try:
        # Relative to where the user is, not to the app.
        data = given.data and given.data.expanduser().absolute()
        with prepared(app, data) as environment, bind(given.host, given.port) as listener:
            told = HostJson.read(app, environment.variables)
            options = Options(given.host, given.workers, app, told, has_code_interpreter=not given.no_code_interpreter)
            serving = serve(options, environment, listener)
            asyncio.run(serving, loop_factory=new_event_loop)
    except (SetupError, PortTaken) as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:  # before the host heeds signals
        return 130
    return 0


if __name__ == "__main__":
    # gRPC's threads may linger for seconds; everything that matters has ended.
    code = main()
    sys.stdout.flush()
    os._exit(code)
