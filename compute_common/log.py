"""Log records on stderr: one line each, as text or as JSON. A leaf.

Fields beside the message go in `extra=`; both formats show all of them. Values may come from
strangers (a request's path, the text of a suspicion), so control characters are escaped and nothing
that looks like a credential is printed.
"""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Any, Final, TextIO

from compute_common.redact import redact

_OWN: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
_CONTROLS: Final = {code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160))} | {
    9: "\\t",
    10: "\\n",
    13: "\\r",
    0x2028: "\\u2028",
    0x2029: "\\u2029",
}
_QUIET_LIBRARIES: Final = ("aiohttp", "asyncio", "psycopg")


def escape(text: str) -> str:
    """Return *text* with control characters made visible, so that it stays on one line."""
    return text.translate(_CONTROLS)


def fields_of(record: logging.LogRecord) -> dict[str, Any]:
    """Return the fields that the caller passed as `extra`."""
    return {name: value for name, value in vars(record).items() if name not in _OWN}


def _time_of(record: logging.LogRecord) -> str:
    at = datetime.fromtimestamp(record.created, UTC)
    return at.isoformat(timespec="microseconds").replace("+00:00", "Z")


class HumanFormatter(logging.Formatter):
    """``TIME LEVEL message key=value ...``; a traceback follows on its own lines."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line of *record*."""
        pairs = "".join(f" {name}={value}" for name, value in fields_of(record).items())
        text = escape(redact(record.getMessage() + pairs))
        line = f"{_time_of(record)} {record.levelname:>7} {text}"
        if record.exc_info:
            line = f"{line}\n{redact(self.formatException(record.exc_info))}"
        return line


class JsonFormatter(logging.Formatter):
    """One JSON object a line: timestamp, level, target, message, and the fields."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line of *record*."""
        body: dict[str, Any] = {
            "timestamp": _time_of(record),
            "level": record.levelname,
            "target": record.name,
            "message": redact(record.getMessage()),
        }
        for name, value in fields_of(record).items():
            plain = value is None or isinstance(value, bool | int | float)
            body[name] = value if plain else redact(str(value))
        if record.exc_info:
            body["exception"] = redact(self.formatException(record.exc_info))
        return json.dumps(body, ensure_ascii=True)


def configure(
    log_format: str = "human", *, level: str = "info", stream: TextIO | None = None
) -> None:
    """Send all log records to *stream* (default: stderr), in place of whatever was set before.

    *log_format* is ``human`` or ``json``, *level* the name of the least level shown.
    """
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonFormatter() if log_format == "json" else HumanFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for name in _QUIET_LIBRARIES:
        logging.getLogger(name).setLevel(logging.WARNING)
    logging.captureWarnings(capture=True)
