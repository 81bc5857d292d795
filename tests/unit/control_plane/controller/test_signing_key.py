"""The key of tokens: made once, kept, and refused where it is none."""

import stat
from pathlib import Path

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from compute_common.errors import SettingsError
from control_plane.controller.signing_key import SigningKey
from tests.support.files import names
from tests.support.small_disk import Disk


def test_it_is_made_once(tmp_path: Path) -> None:
    """The file is for its owner only; the next start has the same key."""
    path = tmp_path / "key.pem"
    first = SigningKey.load_or_create(path)
    assert 0o600 == stat.S_IMODE(path.stat().st_mode)
    assert ["key.pem"] == names(tmp_path)
    text = path.read_bytes()
    assert first.jwks == SigningKey.load_or_create(path).jwks
    assert text == path.read_bytes()


def test_tokens_are_verified_with_its_jwks(tmp_path: Path) -> None:
    """Claims and header are those that Neon's daemon checks; only the public key is published."""
    key = SigningKey.load_or_create(tmp_path / "key.pem")
    (public,) = key.jwks["keys"]
    token = key.token(compute_id="compute-1", now_s=1_800_000_000.9)
    claims = jwt.decode(
        token,
        jwt.PyJWK(public),
        algorithms=["EdDSA"],
        audience="compute",
        options={"verify_exp": False},
    )
    assert {"compute_id": "compute-1", "aud": ["compute"], "exp": 1_800_000_300} == claims
    assert {"alg": "EdDSA", "typ": "JWT", "kid": public["kid"]} == jwt.get_unverified_header(token)
    assert {"kty", "crv", "x", "kid", "alg", "use"} == set(public)
    assert f"SigningKey({public['kid']})" == repr(key)


@pytest.mark.parametrize("kind", ["empty", "text", "rsa", "password", "folder", "large"])
def test_what_is_no_key_is_refused(tmp_path: Path, kind: str) -> None:
    """The file is named and stays as it is; nothing of it is quoted."""
    path = tmp_path / "key.pem"
    secret = "SECRETSECRET"
    if kind == "folder":
        path.mkdir()
    elif kind in ("rsa", "password"):
        private = rsa.generate_private_key(65537, 2048)
        cipher: serialization.KeySerializationEncryption = serialization.NoEncryption()
        if kind == "password":
            cipher = serialization.BestAvailableEncryption(b"x")
        pem = serialization.Encoding.PEM
        path.write_bytes(private.private_bytes(pem, serialization.PrivateFormat.PKCS8, cipher))
    else:
        path.write_text({"empty": "", "text": secret, "large": secret * 10_000}[kind])
    before = None if kind == "folder" else path.read_bytes()

    with pytest.raises(SettingsError, match=r"key\.pem") as caught:
        SigningKey.load_or_create(path)

    assert secret not in str(caught.value)
    assert before is None or before == path.read_bytes()


def test_a_key_that_cannot_be_made(tmp_path: Path, disk: Disk) -> None:
    """A missing folder or a full disk is a line with a hint, and leaves no half file."""
    disk.fill()
    for folder in (tmp_path / "missing", disk.folder):
        with pytest.raises(SettingsError, match="could not make key") as caught:
            SigningKey.load_or_create(folder / "key.pem")
        assert caught.value.hint
    assert ["filler"] == names(disk.folder)


def test_a_key_others_can_read(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """It works, with a warning."""
    path = tmp_path / "key.pem"
    SigningKey.load_or_create(path)
    path.chmod(0o640)
    SigningKey.load_or_create(path)
    assert [f'key "{path}" can be read by other users: chmod 600'] == caplog.messages
