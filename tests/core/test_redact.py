import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from pg_hook import redact


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ""),
        ("no secret here", "no secret here"),
        ("host=a port=1", "host=a port=1"),
        ("postgres://u:s3cret@h:5432/db", "postgres://u:***@h:5432/db"),
        ("postgres://u:s3cret/with@at@h/db", "postgres://u:***@h/db"),
        ("postgres://u@h:5432/db", "postgres://u@h:5432/db"),
        ("postgres://h:5432", "postgres://h:5432"),
        ("postgres://u@h1:1,postgres://v:s3cret@h2:2", "postgres://u@h1:1,postgres://v:***@h2:2"),
        ("postgres://h1:1,postgres://v:s3cret@h2", "postgres://h1:1,postgres://v:***@h2"),
        ("password=s3cret host=a", "password=*** host=a"),
        ("PASSWORD = s3cret host=a", "PASSWORD = *** host=a"),
        ("password='s3 cret' host=a", "password=*** host=a"),
        (r"password='s3\' cret' host=a", "password=*** host=a"),
        (r"password=s3\ cret host=a", "password=*** host=a"),
        ("password='s3cret", "password=***"),
        ("password='' host=a", "password=*** host=a"),
        ("password=", "password="),
        ("sslpassword=s3cret", "sslpassword=***"),
        ("postgres://h/db?user=a&password=s3cret", "postgres://h/db?user=a&password=***"),
        (
            "primary_conninfo = 'host=h password=''s3 cret'''",
            "primary_conninfo = 'host=h password=***'",
        ),
        (r"'host=h password=\'s3 cret\''", "'host=h password=***'"),
        ('{"token": "s3cret"}', '{"token": ***}'),
        ("Authorization: Bearer s3cret end", "Authorization: Bearer *** end"),
        ("password authentication failed", "password authentication failed"),
    ],
)
def test_redact(text: str, expected: str) -> None:
    """Passwords go, the rest stays."""
    assert redact(text.encode()).decode() == expected


@pytest.mark.parametrize(
    ("text", "size", "expected"),
    [
        ("abcdef", 4, "abc"),
        ("abcdef", 1, ""),
        ("ab€", 6, "ab€"),
        ("ab€", 5, "ab"),
        ("ab€", 4, "ab"),
        ("abé", 5, "abé"),
        ("abé", 4, "ab"),
        ("a😀", 5, "a"),
        ("password=s3cret", 11, "password=*"),
        ("éx", 3, "é"),
    ],
)
def test_cut(text: str, size: int, expected: str) -> None:
    """A short buffer cuts at a character, never shows more of a secret."""
    assert redact(text.encode(), size=size).decode() == expected


@given(
    secret=st.text(
        st.characters(min_codepoint=33, max_codepoint=126, exclude_characters="'\"\\*"),
        min_size=8,
    ),
    size=st.integers(1, 200),
)
@example(secret="a@b/c:d,e&f", size=200)
def test_secret_never_shows(secret: str, size: int) -> None:
    """Whatever the secret looks like, no form of conninfo shows it; unless it is a word of one."""
    assume(not any(word in secret for word in ("password", "postgres", "://")))
    for text in (
        f"host=a password={secret} port=1",
        f"host=a password='{secret}' port=1",
        f"postgres://user:{secret}@host/db",
        f"x Bearer {secret}",
    ):
        assert secret not in redact(text.encode(), size=size).decode()


@given(text=st.binary(max_size=300), size=st.integers(1, 310))
def test_any_bytes(text: bytes, size: int) -> None:
    """Any bytes give something shorter than the buffer."""
    assert len(redact(text, size=size)) < size
