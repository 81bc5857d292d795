"""What stands in a configuration file is what was meant, and nothing more."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compute_common.errors import SpecError
from compute_common.text import printable
from compute_ctl.document.quoting import (
    Line,
    check_name,
    check_value,
    quote_value,
    setting_line,
    settings_in,
)

PRINTABLE = st.text(st.characters(exclude_categories=["Cs", "Cc"]))


@pytest.mark.parametrize("name", ["work_mem", "DateStyle", "neon.stripe_size", "_a.b$1"])
def test_takes_a_name(name: str) -> None:
    """An identifier, or two joined by a dot."""
    check_name(name, "p")


@pytest.mark.parametrize(
    "name",
    ["", "1a", "a b", "a=b", "a'", "a\nfsync", "a.b.c", ".a", "a.", "a-b", "ä", "a\0", "#a", "a\n"],
)
def test_refuses_a_bad_name(name: str) -> None:
    """Whatever could end the name and begin something else is refused."""
    with pytest.raises(SpecError) as caught:
        check_name(name, "spec.x.name")

    assert "spec.x.name" == caught.value.path
    assert caught.value.reason == f'"{printable(name)}" is not a name of a setting'


@pytest.mark.parametrize("name", ["include", "INCLUDE", "include_if_exists", "include_dir"])
def test_refuses_a_directive(name: str) -> None:
    """`include` looks like a setting but reads another file."""
    with pytest.raises(SpecError, match="is a directive, not a setting"):
        check_name(name, "p")


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("a\nfsync=off", "control character U+000A at offset 1"),
        ("\0", "control character U+0000 at offset 0"),
        ("ab\r", "control character U+000D at offset 2"),
        ("\x7f", "control character U+007F at offset 0"),
        ("\t", "control character U+0009 at offset 0"),
    ],
)
def test_refuses_control_characters(value: str, reason: str) -> None:
    """The error names the character without showing the value, which may be secret."""
    with pytest.raises(SpecError) as caught:
        check_value(value, "p")

    assert caught.value.reason == reason


@pytest.mark.parametrize(
    ("value", "quoted"),
    [("", "''"), ("a", "'a'"), ("it's", "'it''s'"), ("a\\n", "'a\\\\n'"), ("'\\'", "'''\\\\'''")],
)
def test_quote_value(value: str, quoted: str) -> None:
    """Quotes are doubled, backslashes too."""
    assert quote_value(value) == quoted


@given(PRINTABLE)
def test_what_is_quoted_reads_the_same(value: str) -> None:
    """Any value without control characters survives writing and reading."""
    line = setting_line("a.b", value)

    assert list(settings_in(line, "p")) == [Line(1, "a.b", value)]


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("", []),
        ("\n  \n# fsync = off\r\n", []),
        ("a=1", [Line(1, "a", "1")]),
        ("a 1\n\tb.c = on # x\r\n", [Line(1, "a", "1"), Line(2, "b.c", "on")]),
        ("a='it''s' # 'x'", [Line(1, "a", "it's")]),
        (r"a 'x\n\'\101\\'", [Line(1, "a", "x\n'A\\")]),
        ("a'x'", [Line(1, "a", "x")]),
        ("work_mem=64MB", [Line(1, "work_mem", "64MB")]),
        ("a=-1.5e3", [Line(1, "a", "-1.5e3")]),
        ("a=0x1F", [Line(1, "a", "0x1F")]),
        ("a=-1", [Line(1, "a", "-1")]),
        ("a = pg_catalog.english", [Line(1, "a", "pg_catalog.english")]),
        ("a = scram-sha-256", [Line(1, "a", "scram-sha-256")]),
        ("include_if_exists 'x.conf'", [Line(1, "include_if_exists", "x.conf")]),
    ],
)
def test_reads_text(text: str, lines: list[Line]) -> None:
    """Configuration text is read as the server's lexer does."""
    assert list(settings_in(text, "p")) == lines


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("a", "line 1 is not a setting"),
        ("b=1\na = 'secret", 'line 2 is not a setting: "a"'),
        ("a = 'x\nsecret' # y", 'line 1 is not a setting: "a"'),
        ("# 'x\nsecret'", "line 2 is not a setting"),
        ("a = 'x' secret", 'line 1 is not a setting: "a"'),
        ("a = secret value", 'line 1 is not a setting: "a"'),
        ("a = /tmp", 'line 1 is not a setting: "a"'),
        ("a == 1", 'line 1 is not a setting: "a"'),
        ("work_mem4", "line 1 is not a setting"),
        ("= 1", "line 1 is not a setting"),
        ("a.b.c = 1", 'line 1 is not a setting: "a.b.c"'),
        ("a = 1\0", 'line 1 is not a setting: "a"'),
        ("# \x1b[2J", "line 1 is not a setting"),
        ("a = 1\rb = 2", 'line 1 is not a setting: "a"'),
    ],
)
def test_refuses_text_that_breaks_the_file(text: str, reason: str) -> None:
    """One bad line would make the server refuse all; values are not shown."""
    with pytest.raises(SpecError) as caught:
        list(settings_in(text, "spec.t"))

    assert (caught.value.path, caught.value.reason) == ("spec.t", reason)


@given(st.text("ab_=. '\\#1\t\n-", max_size=40))
def test_reading_is_bounded(text: str) -> None:
    """Any text is either read or refused, at once."""
    try:
        lines = list(settings_in(text, "p"))
    except SpecError:
        return
    assert all(line.name for line in lines)
