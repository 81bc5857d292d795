"""Tokens: who signed them, for which compute, for how long."""

import base64
import json
from collections.abc import Callable
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

from compute_common.errors import RequestError
from compute_common.http.bearer import bearer
from compute_ctl.http.tokens import KeySet, authorize

ED = ed25519.Ed25519PrivateKey.generate()
RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
SHORT_RSA = rsa.generate_private_key(public_exponent=65537, key_size=1024)
EC = ec.generate_private_key(ec.SECP256R1())
STRANGER = ed25519.Ed25519PrivateKey.generate()

ED_JWK: dict[str, Any] = json.loads(OKPAlgorithm.to_jwk(ED.public_key()))
RSA_JWK: dict[str, Any] = json.loads(RSAAlgorithm.to_jwk(RSA.public_key()))
EC_JWK: dict[str, Any] = json.loads(ECAlgorithm.to_jwk(EC.public_key()))
SHORT_JWK: dict[str, Any] = json.loads(RSAAlgorithm.to_jwk(SHORT_RSA.public_key()))

NOW = 1_800_000_000.0
GOOD = {"compute_id": "c1", "exp": NOW + 60}
ADMIN = {"scope": "compute_ctl:admin", "aud": ["compute"], "exp": NOW + 60}


def token(claims: dict[str, Any], key: Any = ED, algorithm: str = "EdDSA", **headers: Any) -> str:
    """Sign *claims*."""
    return jwt.api_jws.encode(json.dumps(claims).encode(), key, algorithm, headers=headers)


def refused(
    claims: dict[str, Any], *, exp_required: bool = True, jwks: Any = (ED_JWK,)
) -> tuple[int, str] | None:
    """Return code and text by which a token with *claims* is refused, None if it is not."""
    try:
        authorize(
            token(claims), KeySet.of(jwks), compute_id="c1", now=NOW, exp_required=exp_required
        )
    except RequestError as error:
        return error.code, str(error)
    return None


NOT_VERIFIED = (401, "failed to verify authorization token")


@pytest.mark.parametrize(
    ("claims", "expected"),
    [
        (GOOD, None),
        (ADMIN, None),
        (ADMIN | {"aud": ["other", "compute"], "compute_id": "c2"}, None),
        (GOOD | {"aud": ["compute"]}, None),
        (GOOD | {"sub": 5, "iss": "x", "unknown": [1]}, None),
        (GOOD | {"aud": ["other"]}, (401, "invalid audience in authorization token claims")),
        ({"exp": NOW + 1}, (403, "missing compute_id in authorization token claims")),
        (GOOD | {"compute_id": "c2"}, (403, "invalid compute ID in authorization token claims")),
        (ADMIN | {"aud": []}, (401, "invalid audience in authorization token claims")),
        (ADMIN | {"aud": None}, (401, "missing audience in authorization token claims")),
        (ADMIN | {"aud": "compute"}, None),
        (GOOD | {"aud": "compute"}, None),
        (GOOD | {"aud": "compute_ctl"}, (401, "invalid audience in authorization token claims")),
        (GOOD | {"aud": ""}, (401, "invalid audience in authorization token claims")),
        (ADMIN | {"aud": 7}, NOT_VERIFIED),
        (GOOD | {"scope": "other"}, NOT_VERIFIED),
        (GOOD | {"compute_id": 5}, NOT_VERIFIED),
        ({"compute_id": "c1"}, NOT_VERIFIED),
        (GOOD | {"exp": None}, NOT_VERIFIED),
        (GOOD | {"exp": str(NOW + 60)}, NOT_VERIFIED),
        (GOOD | {"exp": True}, NOT_VERIFIED),
        (GOOD | {"exp": float("nan")}, NOT_VERIFIED),
        (GOOD | {"exp": NOW - 59}, None),
        (GOOD | {"exp": NOW - 61}, NOT_VERIFIED),
        (GOOD | {"nbf": NOW + 59}, None),
        (GOOD | {"nbf": NOW + 61}, NOT_VERIFIED),
        (GOOD | {"nbf": "x"}, NOT_VERIFIED),
    ],
)
def test_claims(claims: dict[str, Any], expected: tuple[int, str] | None) -> None:
    """Each rule has its answer, in the reference's words."""
    assert expected == refused(claims)


def test_exp_may_be_waived() -> None:
    """With the flag a token may be for ever; one that has an end still has it."""
    assert refused({"compute_id": "c1"}, exp_required=False) is None
    assert NOT_VERIFIED == refused(GOOD | {"exp": NOW - 61}, exp_required=False)


def test_refusal_says_how_to_go_on() -> None:
    """What is wrong with a genuine token is told beside the reference's text."""
    with pytest.raises(RequestError) as caught:
        authorize(token(GOOD | {"exp": 1}), KeySet.of([ED_JWK]), compute_id="c1", now=NOW)
    assert "It has expired." == caught.value.hint


@pytest.mark.parametrize(
    ("jwk", "key", "algorithm"),
    [
        (ED_JWK, ED, "EdDSA"),
        (RSA_JWK | {"alg": "RS256"}, RSA, "RS256"),
        ({name: RSA_JWK[name] for name in ("kty", "n", "e")}, RSA, "RS256"),
        (RSA_JWK | {"alg": "PS256"}, RSA, "PS256"),
        (EC_JWK, EC, "ES256"),
    ],
)
def test_each_key_has_its_own_algorithm(jwk: dict[str, Any], key: Any, algorithm: str) -> None:
    """Keys of several kinds stand side by side, and none switches another off."""
    keys = KeySet.of([RSA_JWK | {"alg": "RS512"}, EC_JWK, ED_JWK, jwk])
    claims = authorize(token(GOOD, key, algorithm), keys, compute_id="c1", now=NOW)

    assert "c1" == claims.compute_id


def test_key_verifies_by_no_other_algorithm() -> None:
    """A key for RS256 takes no PS256, and nobody signs with the public key as a password."""
    keys = KeySet.of([RSA_JWK | {"alg": "RS256"}, ED_JWK])
    assert keys.payload(token(GOOD, RSA, "RS256")) is not None
    assert keys.payload(token(GOOD, RSA, "PS256")) is None
    head = base64.urlsafe_b64encode(b'{"alg":"none","typ":"JWT"}').rstrip(b"=").decode()
    assert keys.payload(f"{head}.{token(GOOD).split('.')[1]}.") is None
    assert keys.payload(token(GOOD, ED_JWK["x"] + "0" * 32, "HS256")) is None


@pytest.mark.parametrize(
    "forge",
    [
        lambda: token(GOOD, STRANGER),
        lambda: token(GOOD)[:-4] + "AAAA",
        lambda: token(GOOD, crit=["exp"], exp=1),
        lambda: "a.b.c",
        lambda: "x",
        lambda: token(GOOD) + ".x",
    ],
)
def test_forgeries(forge: Callable[[], str]) -> None:
    """What no key has signed, or asks for what is not understood, proves nothing."""
    with pytest.raises(RequestError) as caught:
        authorize(forge(), KeySet.of([ED_JWK]), compute_id="c1", now=NOW)
    assert NOT_VERIFIED == (caught.value.code, str(caught.value))


def test_payload_that_is_no_object() -> None:
    """A signed text that is no set of claims is refused, not stumbled over."""
    for payload in (b"5", b"[]", b"\xff", b"", b"[" * 100_000):
        signed = jwt.api_jws.encode(payload, ED, "EdDSA")
        with pytest.raises(RequestError) as caught:
            authorize(signed, KeySet.of([ED_JWK]), compute_id="c1", now=NOW)
        assert 401 == caught.value.code


@pytest.mark.parametrize(
    ("jwk", "why"),
    [
        ({}, "its type is not known"),
        ({"kty": "oct", "k": "c2VjcmV0"}, "its type is not known"),
        ({"kty": ["RSA"], "crv": {}}, "its type is not known"),
        ({"kty": "OKP", "crv": "X25519", "x": ED_JWK["x"]}, "its type is not known"),
        ({"kty": "OKP", "crv": "Ed25519"}, "it cannot be read (InvalidKeyError)"),
        (
            {"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA"},
            "it cannot be read (InvalidKeyError)",
        ),
        (ED_JWK | {"alg": "HS256"}, "its algorithm must be one of EdDSA"),
        (ED_JWK | {"alg": 5}, "its algorithm must be one of EdDSA"),
        (ED_JWK | {"use": "enc"}, "its use is not to sign"),
        (ED_JWK | {"key_ops": ["sign"]}, "its operations do not include verify"),
        (ED_JWK | {"key_ops": 5}, "its operations do not include verify"),
        (SHORT_JWK, "it has less than 2048 bits"),
    ],
)
def test_keys_that_cannot_be_used(jwk: dict[str, Any], why: str) -> None:
    """A bad key is skipped and named, and the good one beside it works, kid or none."""
    keys = KeySet.of([jwk, ED_JWK])
    assert keys.unusable == (f"keys[0] is not used: {why}",)
    assert keys.payload(token(GOOD, kid="no-such-key")) is not None


def test_no_keys_let_nobody_in() -> None:
    """An empty key set lets nobody in."""
    assert NOT_VERIFIED == refused(GOOD, jwks=())


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        (["Bearer abc"], "abc"),
        (["bearer  abc"], "abc"),
        ([], None),
        (["abc"], None),
        (["Basic abc"], None),
        (["Bearer "], None),
        (["Bearer a b"], None),
        (["Bearer abc", "Bearer abc"], None),
    ],
)
def test_header(headers: list[str], expected: str | None) -> None:
    """One header with one bearer token; the scheme in any case."""
    if expected is not None:
        assert expected == bearer(headers)
        return
    with pytest.raises(RequestError) as caught:
        bearer(headers)
    assert (400, "invalid authorization token") == (caught.value.code, str(caught.value))
