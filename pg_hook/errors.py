"""Result codes of the C core as exceptions.

HookError
    a result other than PGH_OK; ``.code`` is the number, ``.name`` its name without ``PGH_ERR_``
"""

from typing import Any

from pg_hook._pg_hook import ffi, lib

_NAMES: dict[int, str] = {
    number: name
    for number, name in ffi.typeof("enum pgh_result").elements.items()
    if name != "PGH_RESULT_COUNT"
}


class HookError(Exception):
    """The C core refused; the text is its reason, after what was attempted."""

    def __init__(self, code: int, action: str, detail: str = "") -> None:
        self.code = code
        self.name = _NAMES.get(code, "UNKNOWN").removeprefix("PGH_ERR_")
        self.detail = detail
        reason = ffi.string(lib.pgh_result_text(code)).decode()
        super().__init__(f"could not {action}: {reason}" + (f" ({detail})" if detail else ""))


def check(code: int, action: str, detail: str = "") -> None:
    """Raise HookError unless the result is PGH_OK."""
    if code != lib.PGH_OK:
        raise HookError(code, action, detail)


def c_text(value: str, action: str) -> bytes:
    """Return text as a C string takes it.

    Raises:
        HookError: a NUL would cut the text short.

    """
    data = value.encode("utf-8", "surrogateescape")
    if b"\0" in data:
        raise HookError(lib.PGH_ERR_ARGUMENT, action, "text contains a NUL")
    return data


def py_text(value: Any) -> str:  # a C pointer has no Python type
    """Return a C string as text; bytes that are not UTF-8 survive a round trip."""
    data: bytes = ffi.string(value)
    return data.decode("utf-8", "surrogateescape")
