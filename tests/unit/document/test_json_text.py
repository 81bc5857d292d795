"""Malformed JSON is told with line and column."""

import msgspec
import pytest

from compute_common.document.json_text import malformed, refuse_duplicates
from compute_common.errors import SpecError


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (b"", "line 1, column 1: the text is empty"),
        (b" \n", "line 1, column 1: the text is empty"),
        (b'{"a": 1,}', "line 1, column 9: trailing comma in object"),
        (b'{\n "a": 1\n "b": 2}', "line 3, column 2: expected ',' or '}'"),
        (b'{\n "a": [1, 2\n', "line 2, column 12: the text ends too early"),
        (b'{"a": "\\q"}', "line 1, column 10: invalid escape character in string"),
        ('{"ä": tru}'.encode(), "line 1, column 11: invalid character"),
        (b"{}\n{}", "line 2, column 2: trailing characters"),
        (b'{\n"a": "b\xff"}', "line 2, column 8: not UTF-8: invalid start byte"),
        (b"[" * 100_000, "nested too deeply"),
        (b"1e999", "number out of range"),
    ],
)
def test_place(raw: bytes, said: str) -> None:
    """Lines and columns count from 1, columns in characters."""
    with pytest.raises((ValueError, RecursionError)) as caught:
        msgspec.json.decode(raw)

    assert said == str(malformed(raw, caught.value))


def test_nested_too_deeply() -> None:
    """It is refused, as a key that stands twice is."""
    with pytest.raises(SpecError, match="nested too deeply"):
        refuse_duplicates(b"[" * 100_000 + b"]" * 100_000)
