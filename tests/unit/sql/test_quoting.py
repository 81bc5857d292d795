"""What goes into a statement stays one name, or one value."""

import pytest

from compute_ctl.sql.quoting import identifier, literal


@pytest.mark.parametrize(
    ("text", "expected"),
    [("a", "'a'"), ("it's", "'it''s'"), ("b\\'", "E'b\\\\'''"), ("$x$", "'$x$'")],
)
def test_literal(text: str, expected: str) -> None:
    """A backslash is escaped in a way that no setting changes."""
    assert expected == literal(text)


def test_identifier() -> None:
    """Names are always quoted."""
    assert '"a""b"' == identifier('a"b')
