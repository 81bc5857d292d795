"""Why something is not measured."""


class UnavailableError(Exception):
    """A tool is missing; the text says which."""
