"""The control plane's state: documents and nodes, in one JSON file that is replaced, never edited.

Every change is on disk before it is answered, so a crash loses nothing that a client has seen.
"""

import asyncio
import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from devstack.control_plane import documents
from devstack.control_plane.documents import Attachment, Document


class StateError(Exception):
    """The state file cannot be used."""


@dataclass(kw_only=True)
class Compute:
    """One compute: its document, the one before, and an event for those who wait for the next."""

    document: Document
    previous: Document | None = None
    changed: asyncio.Event = field(default_factory=asyncio.Event, repr=False)
    etag: str = field(init=False)
    text: str = field(init=False, repr=False)
    """The document as JSON; made before anybody asks, so that an answer costs nothing."""

    def __post_init__(self) -> None:
        """Make what is sent."""
        self.etag = documents.etag(self.document)
        self.text = json.dumps(self.document)


class Store:
    """All computes and nodes. `load` first."""

    def __init__(self, path: Path) -> None:
        self.computes: dict[str, Compute] = {}
        self.nodes: dict[int, str] = {}  # node id -> libpq URL
        self._path = path

    def load(self) -> None:
        """Read the file; a missing one is an empty state. Raises StateError."""
        try:
            state = json.loads(self._path.read_bytes())
            self.nodes = {int(number): url for number, url in state["nodes"].items()}
            self.computes = {
                name: Compute(document=entry["document"], previous=entry["previous"])
                for name, entry in state["computes"].items()
            }
        except FileNotFoundError:
            self._save()
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise StateError(f'cannot read state file "{self._path}": {error}') from error

    def put_node(self, number: int, libpq_url: str) -> None:
        """Set where a node is; documents that name it change with its next notification."""
        self.nodes[number] = libpq_url
        self._save()

    def put(self, name: str, document: Document) -> Compute:
        """Set a compute's document and wake those who wait for it."""
        old = self.computes.get(name)
        if old is not None and old.document == document:
            return old
        new = Compute(document=document, previous=old.document if old else None)
        self.computes[name] = new
        self._save()
        if old is not None:
            old.changed.set()
        return new

    def delete(self, name: str) -> None:
        """Forget a compute. Raises KeyError."""
        old = self.computes.pop(name)
        self._save()
        old.changed.set()

    def attach(self, attachment: Attachment) -> int:
        """Move a tenant's computes to its new pageservers; how many computes it has.

        Raises ConflictError, with nothing changed, for a node that nobody has named.
        """
        info = documents.connection_info(attachment, self.nodes)
        tenant = attachment.tenant_id
        mine = [
            name
            for name, compute in self.computes.items()
            if (compute.document["spec"] or {}).get("tenant_id") == tenant
        ]
        for name in mine:
            self.put(name, documents.attach(self.computes[name].document, info))
        return len(mine)

    def _save(self) -> None:
        state: dict[str, Any] = {
            "nodes": {str(number): url for number, url in self.nodes.items()},
            "computes": {
                name: {"document": compute.document, "previous": compute.previous}
                for name, compute in self.computes.items()
            },
        }
        replace_file(self._path, json.dumps(state, indent=1).encode())


def replace_file(path: Path, data: bytes) -> None:
    """Put `data` in the place of `path`, whole or not at all, also after a power cut."""
    temporary = path.with_name(f"{path.name}.tmp")
    with temporary.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
