"""Readable lines on standard error, coloured on a terminal unless NO_COLOR is set."""

import logging
import os
import sys

_COLOURS = {logging.WARNING: "33", logging.ERROR: "31", logging.CRITICAL: "31"}


class Lines(logging.Formatter):
    def __init__(self, coloured: bool) -> None:
        super().__init__("%(asctime)s %(message)s", "%H:%M:%S")
        self._coloured = coloured

    def format(self, record: logging.LogRecord) -> str:
        line = super().format(record)
        # Marks a line's colour where its level does not say enough: a request that failed.
        colour = getattr(record, "colour", None) or _COLOURS.get(record.levelno)
        return f"\x1b[{colour}m{line}\x1b[0m" if self._coloured and colour else line


def start_logging() -> None:
    """LOG_LEVEL is for the app's loggers and the host's; libraries speak up from WARNING."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(Lines(coloured=sys.stderr.isatty() and not os.environ.get("NO_COLOR")))
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    level = logging.getLevelNamesMapping().get(os.environ.get("LOG_LEVEL", "").upper(), logging.INFO)
    for name in ("durable_assistants", "devhost"):
        logging.getLogger(name).setLevel(level)
    logging.getLogger("devhost.task_hub.backend").setLevel(logging.ERROR)
    # What these say at ERROR is said by the worker, with the function's name.
    for name in ("azure.functions", "uvicorn.error"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
