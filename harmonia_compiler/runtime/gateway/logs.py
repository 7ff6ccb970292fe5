"""One line of JSON on stderr for each thing worth knowing; never a request's text, never a secret."""

import logging
import time
import traceback
from typing import Any

import msgspec

from harmonia_compiler.runtime.stderr import unbuffered

_LOGGER = logging.getLogger("harmonia.gateway")


def log(event: str, **facts: Any) -> None:
    """Write one line: what happened and the facts about it."""
    _LOGGER.info(event, extra={"facts": facts})


def log_bug(event: str, bug: BaseException, **facts: Any) -> None:
    """Write down a bug of ours: what was raised and where, but not its text, which may quote a request."""
    frames = traceback.extract_tb(bug.__traceback__)[-6:]
    places = [f"{frame.filename.rsplit('/', 1)[-1]}:{frame.lineno}" for frame in frames]
    _LOGGER.error(event, extra={"facts": {**facts, "exception": type(bug).__name__, "at": places}})


class _Line(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "event": record.getMessage(),
            **getattr(record, "facts", {}),
        }
        if record.exc_info and record.exc_info[0] is not None:
            line["exception"] = record.exc_info[0].__name__
        return msgspec.json.encode(line, enc_hook=str).decode()


def start_logging() -> None:
    """Send our lines, and warnings of the libraries, to stderr in one form."""
    handler = logging.StreamHandler(unbuffered())
    handler.setFormatter(_Line())
    logging.root.handlers = [handler]
    logging.root.setLevel(logging.WARNING)
    _LOGGER.setLevel(logging.INFO)
    # A log that cannot be written (a full disk, a closed pipe) must not disturb a request.
    logging.raiseExceptions = False
