"""Verifies JSON web tokens against a set of public keys. Pure.

The rules are stricter than Neon's: each key verifies only with its own algorithm, an unusable key
is skipped and logged, `exp` is required unless the operator allows tokens without it, and a wrong
audience is refused in every token. PyJWT only verifies the signature, since it would read the
clock for the rest; here time is an argument. It is imported with the first key, since it takes
9 MB.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

import msgspec
from msgspec import Struct

from compute_common.errors import RequestError

LEEWAY_S: Final = 60.0
"""How much the clocks of issuer and compute may differ."""
AUDIENCE: Final = "compute"
ADMIN: Final = "compute_ctl:admin"
MIN_RSA_BITS: Final = 2048
NOT_VERIFIED: Final = "failed to verify authorization token"

_ALGORITHMS: Final[Mapping[tuple[str, str], tuple[str, ...]]] = {
    ("OKP", "Ed25519"): ("EdDSA",),
    ("RSA", ""): ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"),
    ("EC", "P-256"): ("ES256",),
    ("EC", "P-384"): ("ES384",),
    ("EC", "P-521"): ("ES512",),
}
"""The algorithms of each key type; the first is the default."""
_PUBLIC: Final = ("kty", "crv", "x", "y", "n", "e")


class Claims(Struct, frozen=True, kw_only=True):
    """The claims of a token; others are ignored."""

    compute_id: str | None = None
    scope: Literal["compute_ctl:admin"] | None = None
    aud: str | tuple[str, ...] | None = None
    """One audience may come as a string (RFC 7519, 4.1.3)."""
    exp: float | None = None
    nbf: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class _Key:
    """A public key and the one algorithm it verifies."""

    algorithm: str
    public: Any


class _UnusableError(Exception):
    """A key cannot be used."""


@dataclass(frozen=True, kw_only=True, slots=True)
class KeySet:
    """The public keys that may sign tokens."""

    keys: tuple[_Key, ...] = ()
    unusable: tuple[str, ...] = ()
    """Skipped keys, one line each."""

    @classmethod
    def of(cls, jwks: Iterable[Mapping[str, Any]]) -> KeySet:
        """Return the keys of a JWKS; imports PyJWT if there are any."""
        keys, unusable = [], []
        for number, jwk in enumerate(jwks):
            try:
                keys.append(_read(jwk))
            except _UnusableError as error:
                unusable.append(f"keys[{number}] is not used: {error}")
        return cls(keys=tuple(keys), unusable=tuple(unusable))

    def payload(self, token: str) -> bytes | None:
        """Return the payload of *token* if one of the keys has signed it."""
        if not self.keys:
            return None
        from jwt import PyJWS, PyJWTError

        for key in self.keys:
            try:
                found = PyJWS().decode_complete(token, key.public, algorithms=[key.algorithm])
            except (PyJWTError, ValueError, TypeError, RecursionError):
                continue
            # No critical extension is implemented here.
            if "crit" not in found["header"] and isinstance(found["payload"], bytes):
                return found["payload"]
        return None


def _read(jwk: Mapping[str, Any]) -> _Key:
    from jwt import PyJWK

    kty, crv = jwk.get("kty"), jwk.get("crv", "")
    known = _ALGORITHMS.get((kty, crv)) if isinstance(kty, str) and isinstance(crv, str) else None
    if known is None:
        raise _UnusableError("its type is not known")
    algorithm = jwk.get("alg") or known[0]
    if algorithm not in known:
        raise _UnusableError(f"its algorithm must be one of {', '.join(known)}")
    if jwk.get("use") not in (None, "sig"):
        raise _UnusableError("its use is not to sign")
    operations = jwk.get("key_ops")
    if operations is not None and not (isinstance(operations, list) and "verify" in operations):
        raise _UnusableError("its operations do not include verify")
    try:
        public = PyJWK({name: jwk[name] for name in _PUBLIC if name in jwk}, algorithm).key
    except Exception as error:  # libraries raise anything for a bad key
        raise _UnusableError(f"it cannot be read ({type(error).__name__})") from error
    if kty == "RSA" and public.key_size < MIN_RSA_BITS:
        raise _UnusableError(f"it has less than {MIN_RSA_BITS} bits")
    return _Key(algorithm=algorithm, public=public)


def authorize(
    token: str, keys: KeySet, *, compute_id: str, now: float, exp_required: bool = True
) -> Claims:
    """Return the claims of a token that is valid for this compute.

    *now* is the time in seconds since 1970.

    Raises:
        RequestError: 401 it is not valid, 403 it is for another compute.
    """
    payload = keys.payload(token)
    if payload is None:
        raise RequestError(401, NOT_VERIFIED)
    try:
        claims = msgspec.json.decode(payload, type=Claims)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise RequestError(401, NOT_VERIFIED, hint=f"Its claims are wrong: {error}.") from error
    _check_times(claims, now, exp_required=exp_required)
    _check_audience(claims)
    if claims.scope is None:
        if claims.compute_id is None:
            raise RequestError(403, "missing compute_id in authorization token claims")
        if claims.compute_id != compute_id:
            raise RequestError(403, "invalid compute ID in authorization token claims")
    return claims


def _check_times(claims: Claims, now: float, *, exp_required: bool) -> None:
    hint = None
    if claims.exp is None:
        if exp_required:
            hint = "It has no exp, see the flag --allow-tokens-without-exp."
    elif not math.isfinite(claims.exp) or claims.exp + LEEWAY_S < now:
        hint = "It has expired."
    if claims.nbf is not None and not claims.nbf - LEEWAY_S <= now:
        hint = "It is not valid yet."
    if hint is not None:
        raise RequestError(401, NOT_VERIFIED, hint=hint)


def _check_audience(claims: Claims) -> None:
    if claims.aud is None:
        if claims.scope is not None:
            raise RequestError(401, "missing audience in authorization token claims")
    elif AUDIENCE not in ((claims.aud,) if isinstance(claims.aud, str) else claims.aud):
        raise RequestError(401, "invalid audience in authorization token claims")
