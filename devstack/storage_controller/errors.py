"""Refusals, as HTTP tells them."""


class RefusedError(Exception):
    """Nothing was changed; `status` is the HTTP status."""

    status = 500


class NotFoundError(RefusedError):
    """There is no such node, tenant or timeline."""

    status = 404


class ConflictError(RefusedError):
    """It exists already, or is being changed."""

    status = 409


class PreconditionError(RefusedError):
    """Not now: a background operation is under way, or the node is in the wrong state."""

    status = 412


class UnavailableError(RefusedError):
    """A pageserver that is needed for it does not answer."""

    status = 503
