"""A real server's own words are judged as what they mean."""

from dataclasses import dataclass, field
from datetime import UTC, datetime

import pytest

from compute_ctl.decisions.proof import Complaint, Proof, Verdict, judge
from compute_ctl.decisions.sql_report import PendingRestart
from compute_ctl.document.generation import MARKER_SETTING
from compute_ctl.sql.probe import PgSqlProbe
from devstack.installation import give_away
from devstack.postgres import Postgres
from devstack.wait import wait_until
from tests.support.fixtures import PostgresFactory


@dataclass
class Server:
    """A real server whose main file includes ours."""

    postgres: Postgres
    marker: int = field(default=0)

    def write(self, text: str) -> datetime:
        """Replace our file and reload; return the time before that."""
        now = datetime.now(UTC)
        self.marker += 1
        path = self.postgres.data / "compute_ctl.conf"
        path.write_text(f"{text}{MARKER_SETTING} = '{self.marker}'\n")
        give_away(path)
        if self.postgres.running:
            self.postgres.reload()
        return now

    async def judge(self, swapped_at: datetime) -> Verdict:
        """Look and judge, without a worker."""
        return judge(
            await PgSqlProbe(self.postgres.dsn()).look(deadline_s=10),
            None,
            our_file=str(self.postgres.data / "compute_ctl.conf"),
            marker=str(self.marker),
            swapped_at=swapped_at,
            names=frozenset({"work_mem", "max_connections"}),
        )

    def wait_loaded(self, swapped_at: datetime) -> None:
        """Wait until the postmaster has read its files."""
        wait_until(
            "the reload",
            lambda: self.postgres.value("SELECT pg_conf_load_time()") > swapped_at,
        )


@pytest.fixture
def server(make_postgres: PostgresFactory) -> Server:
    """A running server with an intact file of ours."""
    postgres = make_postgres(start=False)
    main = postgres.data / "postgresql.conf"
    main.write_text(f"{main.read_text()}include_if_exists = '{postgres.data}/compute_ctl.conf'\n")
    give_away(main)
    server = Server(postgres)
    server.write("work_mem = '1MB'\nmax_connections = 60\n")
    postgres.start()
    return server


async def test_applies(server: Server) -> None:
    """A good file is proven in full by load time and marker."""
    swapped_at = server.write("work_mem = '2MB'\nmax_connections = 60\n")
    server.wait_loaded(swapped_at)

    assert await server.judge(swapped_at) == Verdict(proof=Proof.FULL)


async def test_tells_bad_from_waiting(server: Server) -> None:
    """One reload with a bad value and a restart-only change gives one complaint and one wait."""
    swapped_at = server.write("work_mem = 'x'\nmax_connections = 61\n")
    server.wait_loaded(swapped_at)

    verdict = await server.judge(swapped_at)

    file = str(server.postgres.data / "compute_ctl.conf")
    assert verdict == Verdict(
        proof=Proof.NONE,
        bad=(
            Complaint(
                name="work_mem",
                reason='invalid value for parameter "work_mem": "x"',
                file=file,
                line=1,
            ),
        ),
        pending_restart=(
            PendingRestart(name="max_connections", old="60", new="61", file=file, line=2),
        ),
        waits=True,
    )


async def test_reports_a_removed_line(server: Server) -> None:
    """A restart-only line that is gone waits, it is no error."""
    swapped_at = server.write("work_mem = '1MB'\n")
    server.wait_loaded(swapped_at)

    verdict = await server.judge(swapped_at)

    assert verdict.proof is Proof.FULL
    assert [
        ("max_connections", "60", "50")  # what the file that includes ours says
    ] == [(item.name, item.old, item.new) for item in verdict.pending_restart]


@pytest.mark.parametrize(
    ("breaks", "problem"),
    [
        ("fsync on on", (None, "syntax error", 1)),
        ("nosuch = 1", ("nosuch", 'unrecognized configuration parameter "nosuch"', 1)),
        ("include 'nofile'", (None, "could not open file", 1)),
    ],
)
async def test_is_blocked(
    server: Server, breaks: str, problem: tuple[str | None, str, int]
) -> None:
    """An error in the main file is told with its place, and not held against ours."""
    main = server.postgres.data / "postgresql.conf"
    main.write_text(f"{breaks}\n{main.read_text()}")
    give_away(main)

    verdict = await server.judge(server.write("work_mem = '2MB'\n"))

    name, reason, line = problem
    assert (Proof.NONE, (), ()) == (verdict.proof, verdict.bad, verdict.shadowed)
    first = verdict.blocked[0]
    assert (first.name, first.file, first.line) == (name, str(main), line)
    assert first.reason.startswith(reason)


async def test_shows_drift(server: Server) -> None:
    """ALTER SYSTEM wins over our file: drift, with the file that wins."""
    server.postgres.query("ALTER SYSTEM SET work_mem = '3MB'")
    swapped_at = server.write("work_mem = '2MB'\nmax_connections = 60\n")
    server.wait_loaded(swapped_at)

    verdict = await server.judge(swapped_at)

    auto = str(server.postgres.data / "postgresql.auto.conf")
    assert verdict.proof is Proof.FULL
    assert [(item.name, item.file) for item in verdict.shadowed] == [("work_mem", auto)]
