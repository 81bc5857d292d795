"""Login tokens (NeonJWT): EdDSA signature, no expiry wanted, scope `tenant` or `pageserverapi`."""

from dataclasses import dataclass

import jwt


class TokenError(Exception):
    """The token is not good enough; the client only learns that much."""


@dataclass(frozen=True, kw_only=True)
class Claims:
    """What a token allows; `tenant_id` None means every tenant."""

    tenant_id: str | None

    def allow(self, tenant: str) -> bool:
        """Whether the holder may read the tenant."""
        return self.tenant_id is None or self.tenant_id == tenant


ANYBODY = Claims(tenant_id=None)


def check_token(token: str, public_key: str) -> Claims:
    """Verify signature and scope. Raises TokenError."""
    try:
        claims = jwt.decode(
            token,
            public_key,
            algorithms=["EdDSA"],
            options={"verify_aud": False, "verify_iat": False},
        )
    except jwt.PyJWTError as error:
        raise TokenError(str(error)) from error
    scope, tenant = claims.get("scope"), claims.get("tenant_id")
    if scope == "pageserverapi":
        return ANYBODY
    if scope != "tenant":
        raise TokenError(f'scope "{scope}" does not open a page stream')
    if not isinstance(tenant, str):
        raise TokenError("a token of scope tenant needs a tenant_id")
    return Claims(tenant_id=tenant.lower())
