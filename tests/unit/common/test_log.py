"""Both log formats, on a stream of our own."""

import io
import json
import logging
from collections.abc import Iterator

import pytest

from compute_common import log

logger = logging.getLogger("compute_ctl.test_log")


@pytest.fixture(autouse=True)
def _restore() -> Iterator[None]:
    """Leave the process's logging as it was."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:], root.level = handlers, level
    logging.captureWarnings(capture=False)


def logged(log_format: str, *, level: str = "info") -> io.StringIO:
    """Send the log to the stream returned."""
    stream = io.StringIO()
    log.configure(log_format, level=level, stream=stream)
    return stream


def test_human_line() -> None:
    """Time in UTC, level, message, then the fields."""
    stream = logged("human")
    logger.info("serving %s", "/x", extra={"request_id": "r1", "code": 200})
    time, rest = stream.getvalue().split(" ", 1)
    assert "   INFO serving /x request_id=r1 code=200\n" == rest
    assert time.endswith("Z")
    assert len(time) == len("2026-01-01T00:00:00.000000Z")


def test_json_line() -> None:
    """One object a line, fields beside the message, numbers as numbers."""
    stream = logged("json")
    logger.warning("a\nb", extra={"request_id": "r1", "latency_ms": 1.5})
    line = json.loads(stream.getvalue())
    assert 1 == stream.getvalue().count("\n")
    del line["timestamp"]
    assert {
        "level": "WARNING",
        "target": "compute_ctl.test_log",
        "message": "a\nb",
        "request_id": "r1",
        "latency_ms": 1.5,
    } == line


@pytest.mark.parametrize("bad", ["\n", "\r", "\x1b[31m", "\x00", "\u2028", "\x85"])
def test_nobody_forges_a_line(bad: str) -> None:
    """Control characters from outside are escaped in the human format."""
    stream = logged("human")
    logger.info("path %s", f"/a{bad}2026 INFO forged", extra={"id": f"x{bad}y"})
    assert 1 == len(stream.getvalue().splitlines())
    assert bad not in stream.getvalue().rstrip("\n")


@pytest.mark.parametrize("log_format", ["human", "json"])
def test_no_credentials(log_format: str) -> None:
    """Passwords and tokens do not reach the log, in the message, the fields or a traceback."""
    stream = logged(log_format)
    try:
        int("password=hunter2")
    except ValueError:
        logger.exception(
            "host=h password=hunter2",
            extra={"url": "postgres://u:hunter2@h", "h": "Bearer hunter2"},
        )
    assert "hunter2" not in stream.getvalue()
    assert "ValueError" in stream.getvalue()


def test_level() -> None:
    """What is below the level is not shown; libraries speak up only from WARNING on."""
    stream = logged("human", level="debug")
    logger.debug("shown")
    logging.getLogger("aiohttp.access").info("hidden")
    assert "shown" in stream.getvalue()
    assert "hidden" not in stream.getvalue()
    stream = logged("human")
    logger.debug("hidden")
    assert "" == stream.getvalue()
