"""The kinds of values that the flags of the daemon take.

Each raises argparse.ArgumentTypeError, with the text, where that is none of its kind.
"""

from __future__ import annotations

import argparse
import math
import re
from typing import Final

_ROLE_NAME: Final = re.compile(r"[a-z_]+")


def port(text: str) -> int:
    """Return a TCP port, or 0."""
    if text.isascii() and text.isdigit() and int(text) <= 65535:
        return int(text)
    raise argparse.ArgumentTypeError(f'port "{text}" is not between 0 and 65535')


def seconds(text: str) -> float:
    """Return a time of up to a day, and more than none."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value <= 86400:
        raise argparse.ArgumentTypeError(f'"{text}" is no number of seconds up to 86400')
    return value


def whole_seconds(text: str) -> float:
    """Return a time in whole seconds, as the reference's flags take it."""
    if text.isascii() and text.isdigit() and int(text) < 2**64:
        return float(text)
    raise argparse.ArgumentTypeError(f'"{text}" is no whole number of seconds')


def count(text: str) -> int:
    """Return a number from 1 to a million."""
    if text.isascii() and text.isdigit() and 1 <= int(text) <= 1_000_000:
        return int(text)
    raise argparse.ArgumentTypeError(f'"{text}" is no whole number from 1 to 1000000')


def boolean(text: str) -> bool:
    """Return what is written out: true or false."""
    if text in ("true", "false"):
        return text == "true"
    raise argparse.ArgumentTypeError(f'"{text}" is neither true nor false')


def role_name(text: str) -> str:
    """Return a name that needs no quotes."""
    if _ROLE_NAME.fullmatch(text) is None:
        raise argparse.ArgumentTypeError(f'"{text}" may hold lower-case letters and _ only')
    return text
