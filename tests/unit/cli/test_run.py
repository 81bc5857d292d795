"""The command line of the daemon: what it takes, and what it refuses."""

from pathlib import Path

import pytest

from compute_common.errors import SettingsError
from compute_ctl.cli.run import RunOptions, parse
from compute_ctl.cli.run_flags import UNUSED
from compute_ctl.settings import Settings

BASE = [
    "-D",
    "/data",
    "-C",
    "postgresql://cloud_admin@localhost/postgres",
    "-c",
    "/etc/config.json",
]


def read(*arguments: str, **environment: str) -> RunOptions:
    """Parse *arguments* after the base ones."""
    return parse([*BASE, *arguments], environment)


def refused(arguments: list[str], **environment: str) -> SettingsError:
    """The error that *arguments* end in."""
    with pytest.raises(SettingsError) as raised:
        parse(arguments, environment)
    return raised.value


def test_defaults() -> None:
    """Ports, intervals and binary are the reference's or the documented ones."""
    assert read().settings == Settings(
        pgdata=Path("/data"),
        connstr="postgresql://cloud_admin@localhost/postgres",
        compute_id="local",
        config_path=Path("/etc/config.json"),
    )


def test_flags_of_the_reference() -> None:
    """Long, short and `=` spellings mean what they mean there."""
    options = parse(
        [
            "--pgdata=/data",
            "--connstr",
            "postgresql://h/d",
            "-p",
            "http://cp:9898",
            "-i",
            "compute-1",
            "-b",
            "/pg/bin/postgres",
            "--external-http-port=13080",
            "--internal-http-port",
            "13081",
        ],
        {"NEON_CONTROL_PLANE_TOKEN": "t0"},
    )
    settings = options.settings
    assert "http://cp:9898" == settings.control_plane_uri
    assert "compute-1" == settings.compute_id
    assert "t0" == settings.control_plane_token
    assert (13080, 13081) == (settings.external_http_port, settings.internal_http_port)
    assert ("/pg/bin/postgres", True) == (settings.pgbin, options.pgbin_given)
    assert "t0" not in repr(options)


def test_flags_that_open_more() -> None:
    """What is safe by default is opened one by one."""
    usual, opened = (
        read().settings,
        read("--allow-tokens-without-exp", "--extensions-on-loopback").settings,
    )
    assert (True, False) == (usual.tokens_need_exp, usual.extensions_on_loopback)
    assert (False, True) == (opened.tokens_need_exp, opened.extensions_on_loopback)


def test_privileged_role() -> None:
    """The role that the others join can be named."""
    assert "neon_superuser" == read().settings.privileged_role
    assert "mine" == read("--privileged-role-name", "mine").settings.privileged_role
    assert [False, True] == [
        read("--lakebase-mode", value).settings.lakebase_mode for value in ("false", "true")
    ]


def test_interval_of_the_extension_count() -> None:
    """Any whole number of seconds, as in the reference."""
    option = "--installed-extensions-collection-interval"
    assert 3600 == read().settings.installed_extensions_interval
    assert 604800 == read(option, "604800").settings.installed_extensions_interval
    assert "not a whole number" in str(refused([*BASE, option, "1.5"]))


def test_flags_without_effect_are_named_once() -> None:
    """Everything the reference takes is taken; what means nothing here is told in one line."""
    arguments = []
    for names in UNUSED:
        arguments += [names[0], "x"]
    options = read(*arguments, "--dev", "--resize-swap-on-bind", "--lakebase-mode", "true")
    expected = (
        "these options have no effect here: --remote-ext-base-url, "
        "--cgroup, --filecache-connstr, --vm-monitor-addr, --set-disk-quota-for-fs, "
        "--pg-init-timeout, --resize-swap-on-bind, "
        "--dev"
    )
    assert options.warnings == (expected,)
    assert () == read().warnings


def test_http_port() -> None:
    """`--http-port` sets both ports in lakebase mode only, as in the reference."""
    both = read("--http-port", "4000", "--lakebase-mode", "true")
    assert (4000, 4001) == (both.settings.external_http_port, both.settings.internal_http_port)
    ignored = read("--http-port", "4000")
    assert 3081 == ignored.settings.internal_http_port
    assert ("these options have no effect here: --http-port",) == ignored.warnings
    error = refused([*BASE, "--http-port", "4000", "--internal-http-port", "1"])
    assert "--http-port excludes" in str(error)


def test_environment() -> None:
    """The environment stands in for flags that are missing, and a flag wins."""
    options = parse(BASE[2:], {"PGDATA": "/env", "POSTGRES_PATH": "/env/postgres"})
    assert options.settings.pgdata == Path("/env")
    assert "/env/postgres" == options.settings.pgbin
    assert "/flag" == read("-b", "/flag", POSTGRES_PATH="/env/postgres").settings.pgbin
    assert "debug" == read(RUST_LOG="debug").settings.log_level
    assert "info" == read(RUST_LOG="compute_tools=debug").settings.log_level
    assert "INSTANCE_ID" in read(INSTANCE_ID="x").warnings[0]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-C", "host=a", "-c", "f"], "option -D (data directory) is missing"),
        (["-D", "d", "-c", "f"], "option -C (connection string) is missing"),
        (["-D", "d", "-C", "host=a"], "no source of configuration"),
        ([*BASE, "-p", "http://x", "-i", "i"], "options -c and -p exclude each other"),
        (["-D", "d", "-C", "host=a", "-p", "http://x"], "option -p needs -i (compute id)"),
        (["-D", "d", "-C", "h=a", "--patroni", "http://x"], "no source of configuration"),
        (
            ["-D", "d", "-C", "host=a", "-p", "http://x", "-i", "i", "--patroni", "http://x"],
            "option --patroni needs -c (a template)",
        ),
        ([*BASE, "--internal-http-port", "65536"], "is not between 0 and 65535"),
        ([*BASE, "--internal-http-port", "-1"], "is not between 0 and 65535"),
        ([*BASE, "--internal-http-port", "x"], "is not between 0 and 65535"),
        ([*BASE, "--reconcile-interval", "0"], "is not a number of seconds"),
        ([*BASE, "--refresh-min-interval", "nan"], "is not a number of seconds"),
        ([*BASE, "--lakebase-mode", "yes"], "is neither true nor false"),
        ([*BASE, "--privileged-role-name", "Bad"], "lower-case letters"),
        ([*BASE, "--log-format", "xml"], "invalid choice"),
        ([*BASE, "--no-such-flag"], "unrecognized arguments: --no-such-flag"),
        ([*BASE, "surplus"], "unrecognized arguments: surplus"),
        ([*BASE, "--pg"], "unrecognized arguments: --pg"),
    ],
)
def test_bad_command_lines(arguments: list[str], message: str) -> None:
    """Each mistake is named in one line with a hint."""
    error = refused(arguments)
    assert message in str(error)
    assert "\n" not in str(error)
    assert error.hint
