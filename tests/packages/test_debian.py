"""Install, run, upgrade and purge the Debian packages, in this order, on one machine."""

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from devstack.installation import major
from tests.packages.machine import ROOT, Machine, booted

DEBS = os.environ.get("DEBS", "")
"""The folder with the packages: `make test-deb` sets it."""
DAEMONS: Final = "compute-ctl compute-control-plane compute-refresh-python"
CLUSTER = "main"
WORK_MEM = "8MB\n"
"""As the example of the README sets it."""
PSQL = "psql -XAtqc"

pytestmark = [
    pytest.mark.skipif(not DEBS, reason="run by make test-deb"),
    pytest.mark.skipif(os.geteuid() != 0, reason="a machine to install on needs root"),
]


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """A machine with all packages, and a cluster of PostgreSQL that has nothing of them."""
    with booted(tmp_path_factory.mktemp("machine"), Path(DEBS).resolve()) as started:
        started.run("install -d -o postgres -g postgres /run/postgresql")
        started.run("echo 'APT::Get::Assume-Yes \"1\";' >/etc/apt/apt.conf.d/assume-yes")
        started.run("mkdir -p /checkout/build && ln -s /debs /checkout/build/deb")
        cluster = f"{major()} {CLUSTER}"
        started.run(f"! pg_lsclusters -h {cluster} | grep . || pg_dropcluster {cluster}")
        started.run(f"pg_createcluster {cluster} -p 5432 && pg_ctlcluster {cluster} start")
        started.run("dpkg --install $(ls /debs/*.deb | grep -v dbgsym)")
        yield started


def library() -> str:
    """The package of the library."""
    return f"postgresql-{major()}-neon-refresh"


def unit() -> str:
    """What the unit of an attached daemon runs for the cluster, as a script of its user."""
    name = f"{major()}/{CLUSTER}"
    text = (ROOT / "deploy" / "systemd" / "compute_ctl@.service").read_text()
    text = text.replace("%I", name).replace("%i", name.replace("/", "-"))
    text = text.replace("/opt/compute_ctl/bin/", "/usr/bin/").replace("/15/", f"/{major()}/")
    environment = re.findall(r'^Environment=([A-Z_]+)="?(.*?)"?$', text, re.MULTILINE)
    exports = "".join(f'export {name}="{value}"\n' for name, value in environment)
    (command,) = re.findall(r"^ExecStart=((?:.*\\\n)*.*)$", text, re.MULTILINE)
    return f"{exports}exec {command}"


def readme() -> list[str]:
    """The commands of the README's section on a stock server, a script for each of its steps."""
    text = (ROOT / "README.md").read_text()
    section = text.partition("## With a stock PostgreSQL\n")[2].partition("\nWithout Debian")[0]
    steps = re.findall(r"^\d\. .*\n((?: {3,}.*\n|\n)+)", section, re.MULTILINE)
    return ["".join(re.findall(r"^ {7}(.*\n)", step, re.MULTILINE)) for step in steps]


def test_no_compiler_is_needed(machine: Machine) -> None:
    """The packages ask for an interpreter and libraries, not for what builds them."""
    needed = machine.run(f"dpkg-query -W -f '${{Depends}}\\n' {DAEMONS} {library()}")
    assert not re.search(r"\b(gcc|make|pip|venv)\b|-dev", needed), needed


def test_a_server_gets_less_than_90_mb(machine: Machine) -> None:
    """All that daemon and library bring, compiled Python included."""
    listed = "$(dpkg -L compute-ctl compute-refresh-python " + library() + " | sort -u)"
    files = f"for path in {listed} /usr/lib/compute-refresh; do [ -d $path ] || echo $path; done"
    size = machine.run(f"du -cm $({files}) /usr/lib/compute-refresh | tail -1")
    assert 10 < int(size.split()[0]) < 90


@pytest.mark.parametrize("command", ["compute_ctl", "compute_control_plane"])
def test_a_command_takes_nothing_from_its_caller(machine: Machine, command: str) -> None:
    """A package that the caller's environment names is not imported; it may run as root."""
    machine.run("mkdir -p /tmp/foreign && echo 'raise SystemExit(9)' >/tmp/foreign/click.py")
    said = machine.run(f"cd /tmp/foreign && PYTHONPATH=/tmp/foreign {command} --version")
    assert f"{command}, version " in said


@pytest.mark.parametrize("command", ["compute_ctl", "compute_control_plane"])
def test_a_command_has_a_manual_page_and_completion(machine: Machine, command: str) -> None:
    """As people expect of a command in /usr/bin."""
    page = machine.run(f"zcat /usr/share/man/man1/{command}.1.gz")
    assert ".SH NAME" in page
    assert "complete" in machine.run(f"cat /usr/share/bash-completion/completions/{command}")


def test_the_readme_leads_to_a_daemon_that_applies(machine: Machine) -> None:
    """Its commands as written, except that the unit is started without systemd."""
    install, preload, publish, run, look = readme()
    machine.run(f"dpkg --purge {DAEMONS} {library()}")
    machine.run(f"cd /checkout && {install.replace('make deb', 'true')}")
    machine.run(preload)
    machine.run(publish)
    assert "systemctl enable --now compute_ctl@15-main" == run.strip()
    machine.start(unit(), user="postgres")
    listening = f"test -S /var/lib/postgresql/{major()}/{CLUSTER}/compute_ctl/ctl.sock"
    machine.run(f"until {listening}; do sleep 0.1; done", timeout=60)
    assert "applied" in machine.run(look)
    assert WORK_MEM == machine.run(f"{PSQL} 'SHOW work_mem'", user="postgres")
    machine.run(f"{PSQL} 'CREATE EXTENSION neon_refresh'", user="postgres")


def test_an_upgrade_disturbs_no_running_server(machine: Machine) -> None:
    """Server and daemon go on with what they have loaded, and start again with what is new."""
    cluster = f"{major()} {CLUSTER}"
    pid = machine.run(f"head -1 /var/lib/postgresql/{major()}/{CLUSTER}/postmaster.pid")
    machine.run(
        "mkdir /tmp/newer && cd /tmp/newer && for deb in $(ls /debs/*.deb | grep -v dbgsym); do "
        "dpkg-deb -R $deb content && sed -i 's/1\\.2-1/1.2-2/' content/DEBIAN/control && "
        "dpkg-deb -b content $(basename $deb) && rm -r content; done && dpkg --install *.deb"
    )
    version = machine.run(f"dpkg-query -W -f '${{Version}} ' {DAEMONS} {library()}")
    assert "1.2-2 1.2-2 1.2-2 1.2-2 " == version
    status = f"compute_ctl status --json -D /var/lib/postgresql/{major()}/{CLUSTER}"
    assert '"running"' in machine.run(status, user="postgres")
    assert WORK_MEM == machine.run(f"{PSQL} 'SHOW work_mem'", user="postgres")
    assert pid == machine.run(f"head -1 /var/lib/postgresql/{major()}/{CLUSTER}/postmaster.pid")
    machine.run(f"pg_ctlcluster {cluster} restart")
    assert WORK_MEM == machine.run(f"{PSQL} 'SHOW work_mem'", user="postgres")


def test_purge_leaves_the_server_and_the_documents(machine: Machine) -> None:
    """What the packages brought is gone; what people wrote is there, and the server runs."""
    brought = machine.run(f"dpkg -L {DAEMONS} {library()}").split()
    owned = [path for path in brought if "refresh" in path or "compute" in path]
    assert len(owned) > 100
    machine.run(f"{PSQL} 'ALTER SYSTEM RESET shared_preload_libraries'", user="postgres")
    machine.run(f"dpkg --purge {DAEMONS} {library()}")
    left = machine.run(f"for path in {' '.join(owned)}; do [ ! -e $path ] || echo $path; done")
    assert "/etc/compute_ctl\n" == left
    machine.run(f"test -s /etc/compute_ctl/{major()}-{CLUSTER}.json")
    machine.run(f"pg_ctlcluster {major()} {CLUSTER} restart")
    assert WORK_MEM == machine.run(f"{PSQL} 'SHOW work_mem'", user="postgres")
