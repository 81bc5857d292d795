"""Connection strings are read as libpq reads them, and lose their password and nothing else."""

from collections.abc import Mapping

import psycopg
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from psycopg.conninfo import conninfo_to_dict

from compute_common.errors import SpecError
from compute_ctl.document.conninfo import check_entry, parse, without_password

PIECES = [
    *("postgresql://", "postgres://", "host", "port", "user", "password", "dbname", "sslmode"),
    *("=", " = ", " ", ":", "@", "/", "?", "&", ",", "'", "\\", "[::1]", "%20", "%", "\t", "\n"),
    *("h", "db.example", "5432", "x y", "ä", "secret", "disable"),
]


@pytest.mark.parametrize(
    ("text", "params"),
    [
        ("postgresql://", {}),
        ("postgres://h", {"host": "h"}),
        ("postgresql://no_user@ps-07:6400", {"user": "no_user", "host": "ps-07", "port": "6400"}),
        (
            "postgres://u:p%40@[::1]:1/db?sslmode=disable&application_name=a%20b",
            {
                "user": "u",
                "password": "p@",
                "host": "::1",
                "port": "1",
                "dbname": "db",
                "sslmode": "disable",
                "application_name": "a b",
            },
        ),
        ("postgres://%2Ftmp", {"host": "/tmp"}),
        ("postgres://a:1,b:2/", {"host": "a,b", "port": "1,2"}),
        ("host=h port=1", {"host": "h", "port": "1"}),
        (
            r"host = 'a \'b' password=x\ y dbname='' ",
            {"host": "a 'b", "password": "x y", "dbname": ""},
        ),
        ("", {}),
    ],
)
def test_parse(text: str, params: dict[str, str]) -> None:
    """Both forms, with all their escapes."""
    assert parse(text).params == params


@given(st.lists(st.sampled_from(PIECES), max_size=14).map("".join))
@example("host=a'b'port=1")
@example("host='a'port=1")
@example("postgres://u:p?x@h/d?password=s&password=t")
def test_agrees_with_libpq(text: str) -> None:
    """What we take, libpq reads the same; what we refuse, it would refuse too, or we are stricter.

    The names of parameters are left to libpq.
    """
    refusal = ""
    try:
        params = parse(text).params
    except SpecError:
        return
    expected: Mapping[str, object] | None
    try:
        expected = conninfo_to_dict(text)
    except psycopg.ProgrammingError as error:
        refusal = str(error)
        expected = None
    if expected is None:
        assert "invalid connection option" in refusal or "invalid URI query" in refusal
        return
    assert {key: value for key, value in params.items() if value} == {
        key: value for key, value in expected.items() if value
    }


@given(st.lists(st.sampled_from(PIECES), max_size=14).map("".join))
def test_what_libpq_takes_for_one_server_we_take(text: str) -> None:
    """What libpq accepts is not refused, but for bad ports and spaces in URLs (since libpq 17)."""
    try:
        expected = conninfo_to_dict(text)
    except (psycopg.ProgrammingError, UnicodeDecodeError):
        return
    port = str(expected.get("port") or 1)
    if text.startswith("postgres") and any(map(str.isspace, text)):
        return
    if not all(part.isdecimal() and 1 <= int(part) <= 65535 for part in port.split(",")):
        return

    assert parse(text).params.get("host", "") == (expected.get("host") or "")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "names no host"),
        ("postgresql://", "names no host"),
        ("user=a port=1", "names no host"),
        ("a", "not a connection string: no key=value at offset 0"),
        ("host=h 'x", "not a connection string: no key=value at offset 7"),
        ("host=h port=0", "port is not a number between 1 and 65535"),
        ("host=h port=65536", "port is not a number between 1 and 65535"),
        ("postgres://h:x", "port is not a number between 1 and 65535"),
        ("postgres://h:-1", "port is not a number between 1 and 65535"),
        ("postgres://h%zz", "invalid percent-encoding in the connection URL"),
        ("postgres://h%00", "invalid percent-encoding in the connection URL"),
        ("postgres://h%ff", "the connection URL is not UTF-8"),
        ("postgres://[::1", "invalid host in the connection URL"),
        ("postgres://h o", "a connection URL cannot hold white space"),
        ("postgres://h?x", "a parameter of the connection URL is not key=value"),
        ("host=a,b", "a connection string in a list cannot hold a comma"),
        ("host=a\nport=1", "a connection string cannot hold a control character"),
        ("host=a\0", "a connection string cannot hold a control character"),
        ("HOST!=a", "invalid name of a connection parameter"),
    ],
)
def test_refuses_an_entry(text: str, reason: str) -> None:
    """An entry of a list must name one host; the error says what is wrong with it."""
    with pytest.raises(SpecError) as caught:
        check_entry(text, path="spec.x")

    assert (caught.value.path, caught.value.reason) == ("spec.x", reason)


@pytest.mark.parametrize("text", ["hostaddr=::1", "postgres://?host=h", "postgresql://u@h:1/d"])
def test_takes_an_entry(text: str) -> None:
    """Host or address may stand anywhere libpq finds them."""
    assert check_entry(text).host in ("::1", "h")


@pytest.mark.parametrize(
    ("text", "stripped", "password"),
    [
        ("postgres://u:p%20q@h:1/d", "postgres://u@h:1/d", "p q"),
        ("postgres://u@h", "postgres://u@h", None),
        ("postgres://:p@h", "postgres://@h", "p"),
        ("postgres://u:@h", "postgres://u@h", None),
        ("postgres://h/d?password=p", "postgres://h/d", "p"),
        ("postgres://h/d?a=1&password=p&b=2", "postgres://h/d?a=1&b=2", "p"),
        ("postgres://h/d?p%61ssword=p", "postgres://h/d", "p"),
        ("host=h password=p port=1", "host=h port=1", "p"),
        (r"host=h password='p \'q' port=1", "host=h port=1", "p 'q"),
        ("password=p host='a b'", "host='a b'", "p"),
        ("host=h  port=1", "host=h  port=1", None),
    ],
)
def test_without_password(text: str, stripped: str, password: str | None) -> None:
    """The password is taken out; what has none stays byte for byte."""
    assert without_password(text) == (stripped, password)


@given(st.lists(st.sampled_from(PIECES), max_size=14).map("".join))
@example("postgres://u?:secret@h?password=secret")
def test_stripped_string_means_the_same(text: str) -> None:
    """Without its password a string still says everything else."""
    try:
        before = parse(text)
    except SpecError:
        return

    stripped, password = without_password(text)

    rest = {key: value for key, value in before.params.items() if key != "password"}
    assert parse(stripped).params == rest
    assert password == before.password


@pytest.mark.parametrize(
    "text",
    [
        "postgres://u:secret@h:x",
        "postgres://u:secret/x@h",
        "postgres://u:secret[/@h",
        "postgres://u:x@secret[@h",
        "host=h password=secret port=x",
        "host=h password='secret",
        "host=h password=a Secret=1",
        "postgres://h?password=a&Secret=b",
    ],
)
def test_no_message_shows_a_password(text: str) -> None:
    """An error about a string with a password does not repeat it."""
    with pytest.raises(SpecError) as caught:
        check_entry(text)

    assert "secret" not in repr(caught.value).lower()
