"""Keys and login tokens for a pageserver that asks for them. For tests; the keys are throw-away."""

from dataclasses import dataclass
from pathlib import Path
from typing import Self

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey


@dataclass(frozen=True, kw_only=True)
class KeyPair:
    """An Ed25519 key whose public half lies in `public_path` as PEM."""

    private: Ed25519PrivateKey
    public_path: Path

    @classmethod
    def create(cls, folder: Path) -> Self:
        """Make a pair and write its public half into `folder`."""
        private = Ed25519PrivateKey.generate()
        path = folder / "auth_public_key.pem"
        path.write_bytes(
            private.public_key().public_bytes(
                serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
            )
        )
        return cls(private=private, public_path=path)

    def token(self, tenant: str | None = None, *, scope: str = "tenant") -> str:
        """A token without expiry for one tenant, or with another scope."""
        claims: dict[str, str] = {"scope": scope}
        if tenant is not None:
            claims["tenant_id"] = tenant
        return jwt.encode(claims, self.private, algorithm="EdDSA")
