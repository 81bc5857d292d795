"""The ports of the API that are not open."""


class ClosedPorts:
    """Why each of them is not open, by address; who wants one tries again."""

    def __init__(self) -> None:
        self._reasons: dict[str, str] = {}

    @property
    def reasons(self) -> tuple[str, ...]:
        """One for each port that is not open."""
        return tuple(self._reasons.values())

    def port_closed(self, address: str, reason: str) -> None:
        """Show why the port at *address* is not open."""
        self._reasons[address] = reason

    def port_opened(self, address: str) -> None:
        """The port at *address* is open now."""
        self._reasons.pop(address, None)
