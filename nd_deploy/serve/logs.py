"""The server's log: lines for people, or a JSON object a line for programs."""

from __future__ import annotations

import json
import logging
import sys
import time
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from nd_deploy.serve.http.observation import Answered

ROOT = "nd_deploy"
ACCESS = "nd_deploy.access"


def set_up_logging(as_json: bool, stream: TextIO | None = None) -> None:
    """Write what the server logs, and nothing of what libraries do below a warning.

    Args:
        as_json: write JSON.
        stream: where to; None for stderr.
    """
    handler = logging.StreamHandler(sys.stderr if stream is None else stream)
    handler.setFormatter(JsonFormatter() if as_json else PlainFormatter())
    logger = logging.getLogger(ROOT)
    logger.handlers = [handler]
    logger.setLevel(logging.INFO)
    logger.propagate = False


def log_access(answered: Answered) -> None:
    """Log a request and how it was answered."""
    logging.getLogger(ACCESS).info(
        "%s %s %d %.1f ms%s",
        answered.method,
        _printable(answered.path),
        answered.status,
        answered.seconds * 1e3,
        f" ({answered.reason})" if answered.reason else "",
        extra={"fields": answered._asdict()},
    )


class PlainFormatter(logging.Formatter):
    """A line for people: the time, the level unless it is the usual one, the request, the text."""

    def format(self, record: logging.LogRecord) -> str:
        """The line, and below it the traceback if there is one."""
        level = "" if record.levelno == logging.INFO else f"{record.levelname.lower()}: "
        request = _request_of(record)
        line = f"{_time(record)} {f'[{request}] ' if request else ''}{level}{record.getMessage()}"
        return line if not record.exc_info else f"{line}\n{self.formatException(record.exc_info)}"


class JsonFormatter(logging.Formatter):
    """A JSON object a line: time, level, logger, message, request_id, the event's own fields."""

    def format(self, record: logging.LogRecord) -> str:
        """The object, on one line."""
        document = {
            "time": _time(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            "request_id": _request_of(record),
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            document["traceback"] = self.formatException(record.exc_info)
        return json.dumps(document, default=str)


def _time(record: logging.LogRecord) -> str:
    seconds = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
    return f"{seconds}.{int(record.msecs):03d}Z"


def _request_of(record: logging.LogRecord) -> str:
    from nd_deploy.serve.http.request_id import current

    fields = getattr(record, "fields", {})
    return str(fields.get("request_id", "") or current.get())


def _printable(text: str) -> str:
    """A client's text on one line, whatever is in it."""
    return text if text.isprintable() else ascii(text)[1:-1]
