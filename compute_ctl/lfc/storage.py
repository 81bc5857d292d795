"""The endpoint storage: where the state of the file cache is kept, by HTTP."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import quote

from compute_common.document.spec import ComputeSpec
from compute_common.errors import RequestError, SettingsError, SpecError
from compute_common.http.client import HttpAnswer, HttpClient, RefusedError, reason_in
from compute_ctl.document import spec_sources
from compute_ctl.errors import FileCacheError
from compute_ctl.lfc.compression import MAX_STATE_BYTES

KEY: Final = "lfc_state"
CONNECT_S: Final = 5.0
TRANSFER_S: Final = 60.0
MAX_ENDPOINT: Final = 255
_ADDRESS: Final = re.compile(r"(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\]):[0-9]{1,5}")


@dataclass(frozen=True, kw_only=True, slots=True)
class EndpointStorage:
    """Where the state of one endpoint is."""

    url: str
    token: str = field(repr=False)

    @classmethod
    def of(cls, spec: ComputeSpec | None, endpoint: str | None = None) -> EndpointStorage:
        """Return what *spec* names, for another *endpoint* of the same timeline if given.

        Raises:
            RequestError: 501, the document names no such storage; 400, no name of an endpoint.
        """
        if spec is None:
            raise RequestError(501, "no document has been accepted yet")
        try:
            tenant, timeline = spec_sources.tenant_id(spec), spec_sources.timeline_id(spec)
        except SpecError as error:
            raise RequestError(501, str(error)) from error
        address = spec.endpoint_storage_addr or _setting(spec, "endpoint_storage_addr")
        token = spec.endpoint_storage_token or _setting(spec, "endpoint_storage_token")
        named = endpoint if endpoint is not None else spec.endpoint_id
        found = {
            "endpoint_storage_addr": address,
            "endpoint_storage_token": token,
            "tenant_id": tenant,
            "timeline_id": timeline,
            "endpoint_id": named,
        }
        for name, value in found.items():
            if value is None:
                raise RequestError(501, f"the document has no spec.{name}")
        if _ADDRESS.fullmatch(address or "") is None:
            raise RequestError(501, "spec.endpoint_storage_addr: expected host:port")
        part = quote(named or "", safe="")
        if not part.strip(".") or len(part) > MAX_ENDPOINT:
            path = 'parameter "from_endpoint"' if endpoint is not None else "spec.endpoint_id"
            raise RequestError(400, f"{path} is not a name of an endpoint")
        return cls(url=f"http://{address}/{tenant}/{timeline}/{part}/{KEY}", token=token or "")

    async def get(self) -> bytes | None:
        """Return the compressed state, None where none is kept. Raises FileCacheError."""
        answer = await self._request("GET")
        if answer.status == 404:
            return None
        self._check(answer)
        return answer.body

    async def put(self, state: bytes) -> None:
        """Keep a compressed *state* in place of the last one. Raises FileCacheError."""
        self._check(await self._request("PUT", state))

    async def _request(self, method: str, body: bytes | None = None) -> HttpAnswer:
        try:
            client = HttpClient(
                peer="endpoint storage",
                token=self.token,
                connect_timeout_s=CONNECT_S,
                max_bytes=MAX_STATE_BYTES,
            )
        except SettingsError as error:
            raise FileCacheError(str(error)) from error
        try:
            return await client.request(
                method, self.url, rpc=KEY, total_s=TRANSFER_S, headers={}, body=body
            )
        except RefusedError as error:
            raise FileCacheError(f"could not reach the endpoint storage: {error.reason}") from error
        finally:
            await client.close()

    def _check(self, answer: HttpAnswer) -> None:
        if answer.status != 200:
            reason = reason_in(answer.body, token=self.token)
            raise FileCacheError(
                f"the endpoint storage answered {answer.status}{': ' if reason else ''}{reason}"
            )


def _setting(spec: ComputeSpec, name: str) -> str | None:
    found = spec_sources.setting(spec, f"neon.{name}")
    return found.value if found is not None else None
