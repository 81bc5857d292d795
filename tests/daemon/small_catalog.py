"""A stand-in for what the listeners ask of Postgres, which remembers what it was asked."""

from collections.abc import AsyncGenerator, Mapping, Sequence

from compute_common.errors import ComputeError, RequestError


class SmallCatalog:
    """A server with one database, which refuses what is called "bad"."""

    def __init__(self) -> None:
        self.granted: list[tuple[str, str, str, tuple[str, ...]]] = []
        self.closed = False

    async def dbs_and_roles(self) -> Mapping[str, object]:
        """Return one of each."""
        return {"roles": [{"name": "r"}], "databases": [{"name": "d"}]}

    async def insights(self) -> Mapping[str, object]:
        """Return no statement."""
        return {"pg_stat_statements": []}

    async def check_writability(self) -> None:
        """Write nothing."""

    async def database_schema(self, database: str) -> AsyncGenerator[bytes, None]:
        """Yield two pieces, or break off after the first."""
        if database == "missing":
            raise RequestError(404, "database does not exist")
        try:
            yield b"CREATE TABLE t ();\n"
            if database == "bad":
                raise ComputeError("the server went away")
            yield b"-- end\n"
        finally:
            self.closed = True

    async def install_extension(self, *, extension: str, database: str, version: str) -> None:
        """Install what is not bad."""
        if extension == "bad":
            raise ComputeError("no such extension")

    async def grant(
        self, *, database: str, schema: str, role: str, privileges: Sequence[str]
    ) -> None:
        """Remember it."""
        self.granted.append((database, schema, role, tuple(privileges)))
