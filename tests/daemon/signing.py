"""Tokens for the external listener, and the keys that it trusts."""

import json
import time
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ed25519
from jwt.algorithms import OKPAlgorithm

from tests.daemon.api import Served

KEY = ed25519.Ed25519PrivateKey.generate()
OTHER = ed25519.Ed25519PrivateKey.generate()


def token(key: ed25519.Ed25519PrivateKey = KEY, **claims: Any) -> str:
    """Sign a token for the compute of these tests."""
    return jwt.encode({"compute_id": "test", "exp": time.time() + 60} | claims, key, "EdDSA")


def trust(served: Served, *keys: ed25519.Ed25519PrivateKey) -> None:
    """Make *keys* those of the newest document."""
    jwks = tuple(json.loads(OKPAlgorithm.to_jwk(key.public_key())) for key in keys)
    served.trust(*jwks)
