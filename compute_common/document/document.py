"""The document that says how a compute should run: read, hashed and kept. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import msgspec
from msgspec import Struct

from compute_common.document.json_text import malformed, refuse_duplicates
from compute_common.document.spec import ComputeCtlConfig, ComputeSpec, Static
from compute_common.document.spec_errors import refusal
from compute_common.document.versions import Version, version_of
from compute_common.errors import SpecError, SyntaxSpecError

MAX_DOCUMENT_BYTES: Final = 4 * 1024 * 1024
"""A longer document is refused, since reading it would block the daemon."""
NOT_CONTENT: Final = frozenset({"operation_uuid", "generation", "timestamp"})
"""Fields of the spec that say which document it is, not what it wants."""


class Wire(Struct, frozen=True):
    """The outermost object."""

    spec: ComputeSpec
    compute_ctl_config: ComputeCtlConfig


# Built now: threads that build the tables of these types at the same time crash msgspec.
msgspec.json.Decoder(Wire)


@dataclass(frozen=True, kw_only=True, slots=True)
class Document:
    """A document that could be read."""

    spec: ComputeSpec
    compute_ctl_config: ComputeCtlConfig
    content_sha256: str
    """Of what it wants: equal for documents that differ only in version or operation."""
    version: Version | None
    operation_uuid: str | None
    mode: str | None
    """What it says of its mode (`Primary`, `Replica`, `Static`); None where it says nothing."""
    json: bytes
    """The whole document to keep on disk; `decode_document` reads it back."""
    ignored: tuple[str, ...] = ()
    """Members of the outermost object that mean nothing."""


def decode_document(raw: bytes) -> Document:
    """Read a document from JSON.

    Raises:
        SyntaxSpecError: it is no JSON, or no object.
        SpecError: it is no document; the path names the field.
    """
    parts: dict[str, Any] = {}
    try:
        parts, ignored = _parts(raw)
        wire = msgspec.convert(parts, Wire)
        content_sha256 = content_hash(parts)
        kept = msgspec.json.encode(parts)
    except msgspec.ValidationError as error:
        raise refusal(error, parts, Wire) from error
    except RecursionError as error:
        raise SpecError("", "nested too deeply") from error
    return Document(
        spec=wire.spec,
        compute_ctl_config=wire.compute_ctl_config,
        content_sha256=content_sha256,
        version=version_of(wire.spec),
        operation_uuid=wire.spec.operation_uuid,
        mode=_mode(wire.spec) if "mode" in parts["spec"] else None,
        json=kept,
        ignored=ignored,
    )


def content_hash(parts: Mapping[str, Any]) -> str:
    """Return the SHA-256 of what a decoded document wants.

    *parts*: `spec` and `compute_ctl_config`, no more.
    """
    spec = {key: value for key, value in parts["spec"].items() if key not in NOT_CONTENT}
    content = msgspec.json.encode({**parts, "spec": spec}, order="sorted")
    return hashlib.sha256(content).hexdigest()


def _mode(spec: ComputeSpec) -> str:
    return "Static" if isinstance(spec.mode, Static) else spec.mode


def _parts(raw: bytes) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Return the two members that make a document, as they came, and the names of unknown ones."""
    if len(raw) > MAX_DOCUMENT_BYTES:
        raise SpecError("", f"the document is longer than {MAX_DOCUMENT_BYTES} bytes")
    try:
        whole = msgspec.json.decode(raw)
        refuse_duplicates(raw)
    except ValueError as error:  # msgspec.DecodeError or UnicodeDecodeError
        found = malformed(raw, error)
        reason = f"not valid JSON: {found.reason}"
        raise SyntaxSpecError(reason, line=found.line, column=found.column) from error
    if not isinstance(whole, dict):
        raise SyntaxSpecError(f"expected a JSON object, got {type(whole).__name__}")
    if whole.get("spec") is None:
        raise SpecError("spec", "missing", hint="The document must hold a spec.")
    config = whole.get("compute_ctl_config")
    parts = {
        "spec": whole["spec"],
        "compute_ctl_config": {"jwks": {"keys": []}} if config is None else config,
    }
    return parts, tuple(name for name in whole if name not in (*parts, "status"))
