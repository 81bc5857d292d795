"""Takes credentials out of what people and programs may see. A leaf, pure.

Where it cannot be told how far a secret reaches, rather too much is hidden than too little.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

HIDDEN: Final = "********"

_QUOTED: Final = r"''(?:[^'\\]|\\.)*''|'(?:[^'\\]|\\.|'')*'|\"(?:[^\"\\]|\\.)*\""
_KEY: Final = r"[a-z_]*(?:password|passwd|secret|_token)"
_KEY_VALUE: Final = re.compile(rf"(?is)\b({_KEY})([\"']?\s*[=:]\s*)(?:{_QUOTED}|(?:\\.|\S)+)")
_SQL_PASSWORD: Final = re.compile(r"(?i)\b(password)(\s+)(?:'(?:[^']|'')*'|\"[^\"]*\")")
_USERINFO: Final = re.compile(r"(?i)(\b[a-z][a-z0-9+.-]{0,19}://[^\s:/@]*):(?:[^\s/@]|/(?!/))*@")
_HEADER: Final = re.compile(r"(?i)\b(authorization[\"']?\s*[:=]\s*[\"']?)(\w+)\s+[^\s\"']+")
_BEARER: Final = re.compile(r"(?i)\b(bearer)\s+[a-z0-9._~+/=-]+")
_JWT: Final = re.compile(r"\beyJ[\w-]{5,8000}\.[\w-]+\.[\w-]*")
_VERIFIER: Final = re.compile(r"SCRAM-SHA-256\$[^\s\"',]+|\bmd5[0-9a-f]{32}\b")
_MARKER: Final = re.compile(r"\b([0-9]{1,18})\.[0-9a-f]{32}\.[0-9a-f]{64}\b")
_SUSPECT: Final = re.compile(
    r"(?i)pass|secret|token|://|bearer|authorization|eyJ|scram|md5|\.[0-9a-f]{32}\."
)
_SECRET_NAME: Final = re.compile(rf"(?i)(?:.*\.)?{_KEY}")


def redact(text: str) -> str:
    """Return *text* with passwords, tokens and the nonces of markers replaced by asterisks."""
    if _SUSPECT.search(text) is None:
        return text
    text = _USERINFO.sub(rf"\1:{HIDDEN}@", text)
    text = _VERIFIER.sub(HIDDEN, text)
    text = _HEADER.sub(rf"\1\2 {HIDDEN}", text)
    text = _KEY_VALUE.sub(rf"\1\2{HIDDEN}", text)
    text = _SQL_PASSWORD.sub(rf"\1\2'{HIDDEN}'", text)
    text = _BEARER.sub(rf"\1 {HIDDEN}", text)
    text = _MARKER.sub(rf"\1.{HIDDEN}", text)
    return _JWT.sub(HIDDEN, text)


def redact_document(value: object) -> object:
    """Return a copy of a decoded JSON *value* that can be shown: a spec, or a part of one.

    Hidden are the values of fields, and of settings and options, whose name says that they are
    secret; all other texts are redacted as free text.
    """
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, Mapping):
        name = value.get("name")
        secret_option = "value" in value and isinstance(name, str) and is_secret(name)
        return {
            key: HIDDEN
            if item is not None and (is_secret(str(key)) or (secret_option and key == "value"))
            else redact_document(item)
            for key, item in value.items()
        }
    if isinstance(value, list | tuple):
        return [redact_document(item) for item in value]
    return value


def is_secret(name: str) -> bool:
    """Return whether the name of a field or setting says that its value is a secret."""
    return _SECRET_NAME.fullmatch(name) is not None
