"""What it takes to push to daemons that do not poll, made when the first of them is known.

The libraries for keys and tokens are a fifth of the start, and few fleets need them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

from compute_common.errors import SettingsError
from control_plane.errors import PushError

if TYPE_CHECKING:
    from control_plane.controller.configure import ConfigurePusher
    from control_plane.controller.signing_key import SigningKey

JsonWebKey = Mapping[str, Any]


class LatePusher:
    """A `ports.Pusher` that reads its signing key, or makes it, at the first use."""

    def __init__(self, key_path: Path) -> None:
        self._key_path = key_path
        self.keys = LateKeys(self)
        """The public keys by which daemons know it."""

    @cached_property
    def key(self) -> SigningKey:
        """The signing key. Raises SettingsError."""
        from control_plane.controller.signing_key import SigningKey

        return SigningKey.load_or_create(self._key_path)

    @cached_property
    def _pusher(self) -> ConfigurePusher:
        from control_plane.controller.configure import ConfigurePusher

        return ConfigurePusher(self.key)

    async def push(self, url: str, document: bytes, *, compute_id: str) -> None:
        """POST the document; see `ports.Pusher`."""
        try:
            pusher = self._pusher
        except SettingsError as error:
            raise PushError(str(error)) from error
        await pusher.push(url, document, compute_id=compute_id)

    async def close(self) -> None:
        """Close the connections, if there are any."""
        if "_pusher" in self.__dict__:
            await self._pusher.close()


class LateKeys(Sequence[JsonWebKey]):
    """The public keys of a pusher."""

    def __init__(self, pusher: LatePusher) -> None:
        self._pusher = pusher

    @property
    def _keys(self) -> Sequence[JsonWebKey]:
        return self._pusher.key.jwks["keys"]

    @overload
    def __getitem__(self, index: int) -> JsonWebKey: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[JsonWebKey]: ...

    def __getitem__(self, index: int | slice) -> JsonWebKey | Sequence[JsonWebKey]:
        return self._keys[index]

    def __len__(self) -> int:
        return len(self._keys)

    def __iter__(self) -> Iterator[JsonWebKey]:
        return iter(self._keys)
