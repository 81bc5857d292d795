"""Credentials do not get out."""

import time

import pytest

from compute_common.redact import HIDDEN, redact, redact_document

SECRET = "Hunter2Hunter2"
MARKER = f"12.{'ab' * 16}.{'cd' * 32}"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("postgresql://u:{}@h:1/db", f"postgresql://u:{HIDDEN}@h:1/db"),
        ("postgres://:{}@h", f"postgres://:{HIDDEN}@h"),
        ("a,postgres://u:{}@h,postgres://v@i", f"a,postgres://u:{HIDDEN}@h,postgres://v@i"),
        ("postgres://u:pa/{}@h", f"postgres://u:{HIDDEN}@h"),
        ("postgres://u:pa,'{}@h", f"postgres://u:{HIDDEN}@h"),
        ("postgres://h/db?password={}", f"postgres://h/db?password={HIDDEN}"),
        ("host=h password={} port=1", f"host=h password={HIDDEN} port=1"),
        ("password=a'b,{} port=1", f"password={HIDDEN} port=1"),
        (r"password=a\ {} port=1", f"password={HIDDEN} port=1"),
        ("password = 'a b{}' port=1", f"password = {HIDDEN} port=1"),
        (
            "primary_conninfo = 'host=h password=''x {}'' port=1'",
            f"primary_conninfo = 'host=h password={HIDDEN} port=1'",
        ),
        ("sslpassword={}", f"sslpassword={HIDDEN}"),
        ('{{"encrypted_password": "{}", "a": 1}}', f'{{"encrypted_password": {HIDDEN}, "a": 1}}'),
        ("storage_auth_token={}", f"storage_auth_token={HIDDEN}"),
        ("NEON_CONTROL_PLANE_TOKEN={}", f"NEON_CONTROL_PLANE_TOKEN={HIDDEN}"),
        ("ALTER ROLE a PASSWORD '{}' LOGIN", f"ALTER ROLE a PASSWORD '{HIDDEN}' LOGIN"),
        ("sent Authorization: Bearer {} ok", f"sent Authorization: Bearer {HIDDEN} ok"),
        ("Authorization: Basic {}", f"Authorization: Basic {HIDDEN}"),
        ("with bearer {}.x", f"with bearer {HIDDEN}"),
        ("got eyJhbGciOiJFZERTQSJ9.{}.sig-_ from", f"got {HIDDEN} from"),
        ("verifier SCRAM-SHA-256$4096:{}=$a:b!", f"verifier {HIDDEN}"),
    ],
)
def test_hides_the_secret_and_nothing_else(text: str, shown: str) -> None:
    """The secret is replaced, the text around it stays."""
    assert redact(text.format(SECRET)) == shown


def test_hides_the_nonce_of_a_marker() -> None:
    """Of a marker only the generation is shown: the nonce would let anybody acknowledge it."""
    text = f'parameter "neon_refresh.config_generation" changed to "{MARKER}"'

    shown = redact(text)

    assert shown == f'parameter "neon_refresh.config_generation" changed to "12.{HIDDEN}"'


@pytest.mark.parametrize(
    "text",
    [
        "",
        "postgresql://no_user@ps-1:6400,postgresql://ps-2:6400",
        "postgresql://ps-1:6400,postgresql://no_user@ps-2:6400",
        'password authentication failed for user "postgres"',
        "neon_refresh.auth_token_file = '/x/token'",
        "http://127.0.0.1:3081/refresh_configuration",
        "password_encryption = 'scram-sha-256'",
    ],
)
def test_leaves_harmless_text_alone(text: str) -> None:
    """Server addresses and words about passwords are no secrets."""
    assert redact(text) == text


@pytest.mark.parametrize("piece", ["a.", "x://", "eyJ-", "password", "'", "x://a:", "\\"])
def test_takes_linear_time(piece: str) -> None:
    """A long line that looks like secrets all over is done in a moment."""
    text = "://token " + piece * 20_000
    begin = time.process_time()

    redact(text)

    assert time.process_time() - begin < 2


def test_redacts_a_whole_document() -> None:
    """Secret fields, secret settings and passwords in connection strings are hidden."""
    document = {
        "spec": {
            "storage_auth_token": SECRET,
            "endpoint_storage_token": None,
            "pageserver_connstring": f"postgresql://u:{SECRET}@h:1",
            "cluster": {
                "roles": [{"name": "a", "encrypted_password": SECRET}],
                "settings": [
                    {"name": "neon.endpoint_storage_token", "value": SECRET, "vartype": "string"},
                    {"name": "primary_conninfo", "value": f"host=h password={SECRET}"},
                    {"name": "password_encryption", "value": "md5"},
                ],
            },
            "generation": 4,
        }
    }

    shown = redact_document(document)

    assert shown == {
        "spec": {
            "storage_auth_token": HIDDEN,
            "endpoint_storage_token": None,
            "pageserver_connstring": f"postgresql://u:{HIDDEN}@h:1",
            "cluster": {
                "roles": [{"name": "a", "encrypted_password": HIDDEN}],
                "settings": [
                    {"name": "neon.endpoint_storage_token", "value": HIDDEN, "vartype": "string"},
                    {"name": "primary_conninfo", "value": f"host=h password={HIDDEN}"},
                    {"name": "password_encryption", "value": "md5"},
                ],
            },
            "generation": 4,
        }
    }
