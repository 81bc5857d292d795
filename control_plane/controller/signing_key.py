"""The key that signs the tokens with which the control plane logs in at Neon's daemon."""

from __future__ import annotations

import logging
from hashlib import sha256
from pathlib import Path
from typing import Final

import jwt
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from jwt.algorithms import OKPAlgorithm

from compute_common.errors import SettingsError
from compute_common.system.atomic_file import ReplacedFile, read_regular

logger = logging.getLogger(__name__)

TOKEN_S: Final = 300
"""How long a token is valid: one request, and a clock that is wrong by some minutes."""
MAX_BYTES: Final = 16 * 1024


class SigningKey:
    """An Ed25519 key: Neon's daemon accepts EdDSA where no key of it is for RS256."""

    def __init__(self, private: Ed25519PrivateKey) -> None:
        self._private = private
        public = OKPAlgorithm.to_jwk(private.public_key(), as_dict=True)
        self._id = sha256(public["x"].encode()).hexdigest()[:16]
        # Neon's daemon panics on a key without kid.
        self.jwks: dict[str, list[dict[str, str]]] = {
            "keys": [{**public, "kid": self._id, "alg": "EdDSA", "use": "sig"}]
        }
        """The public half, for ``compute_ctl_config.jwks`` of documents."""

    def __repr__(self) -> str:
        return f"SigningKey({self._id})"

    @classmethod
    def load_or_create(cls, path: Path) -> SigningKey:
        """Read the key in the PEM file *path*, which is made with mode 0600 when absent.

        Raises:
            SettingsError: it cannot be read or made, or is no Ed25519 key.
        """
        try:
            return cls.read(path)
        except FileNotFoundError:
            key = Ed25519PrivateKey.generate()
        except OSError as error:
            raise SettingsError(f'could not read key "{path}": {_words(error)}') from error
        pem = key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        file = ReplacedFile(path)
        try:
            file.replace(pem)
            file.sync()
        except OSError as error:
            raise SettingsError(
                f'could not make key "{path}": {_words(error)}',
                hint="The folder must exist and be writable by the user of the control plane.",
            ) from error
        return cls(key)

    @classmethod
    def read(cls, path: Path) -> SigningKey:
        """Read the key in the PEM file *path*. Raises OSError, SettingsError."""
        pem = read_regular(path, max_bytes=MAX_BYTES)
        if path.stat().st_mode & 0o077:
            logger.warning('key "%s" can be read by other users: chmod 600', path)
        try:
            key = serialization.load_pem_private_key(pem, password=None)
        except (ValueError, TypeError, UnsupportedAlgorithm):  # their texts may quote the file
            raise SettingsError(f'"{path}" has no private key in PEM without password') from None
        if not isinstance(key, Ed25519PrivateKey):
            raise SettingsError(
                f'the key in "{path}" is not an Ed25519 key',
                hint="Make one: openssl genpkey -algorithm ed25519; or remove the file.",
            )
        return cls(key)

    def token(self, *, compute_id: str, now_s: float) -> str:
        """Return a token for one compute. *now_s*: seconds since 1970."""
        claims = {"compute_id": compute_id, "aud": ["compute"], "exp": int(now_s) + TOKEN_S}
        return jwt.encode(claims, self._private, algorithm="EdDSA", headers={"kid": self._id})


def _words(error: OSError) -> str:
    return error.strerror or str(error)
