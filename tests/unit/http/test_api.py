"""The table of routes, its OpenAPI document and the docs say the same."""

import json
import re
from pathlib import Path

import click
import pytest

from compute_ctl.cli.commands import cli
from compute_ctl.cli.run import RunOptions, parse
from compute_ctl.cli.run_flags import UNUSED, UNUSED_SWITCHES
from compute_ctl.http.api import Listener, Route
from compute_ctl.http.openapi import document, document_json
from compute_ctl.http.routes import NOT_OURS, ROUTES, find
from compute_ctl.monitoring.metrics import Metrics
from tests.unit.snapshots import NOTHING

DOCS = Path(__file__).parents[3] / "docs"
HTTP_API = (DOCS / "http-api.md").read_text()
CLI = (DOCS / "cli.md").read_text()


@pytest.mark.parametrize("route", ROUTES, ids=lambda one: f"{one.method} {one.path}")
def test_every_route_is_described(route: Route) -> None:
    """A route is in the OpenAPI document with its listeners and answers, and in the docs' table."""
    operation = document(ROUTES)["paths"][route.path][route.method.lower()]
    assert set(operation["x-doors"]) == route.listeners
    assert set(operation["responses"]) >= {str(code) for code in route.answers}
    rows = [
        line
        for line in HTTP_API.splitlines()
        if line.startswith(f"| `{route.method} {route.path}`")
    ]
    assert 1 == len(rows)
    assert {name.strip() for name in rows[0].split("|")[2].split(",")} == route.listeners
    assert ("No token" in rows[0]) == route.open


def test_docs_name_no_route_that_does_not_exist() -> None:
    """The docs' table has no more rows than the table in the code."""
    rows = re.findall(r"(?m)^\| `(GET|POST|PUT|DELETE) (/\S+)` \|", HTTP_API)
    assert sorted(rows) == sorted((route.method, route.path) for route in ROUTES)


def test_every_key_of_the_status_is_described() -> None:
    """The docs name each key of /status, however deep it stands."""
    schemas = document(ROUTES)["components"]["schemas"]
    names = ["StatusBody"]
    for name in names:
        inner = re.findall(r"#/components/schemas/(\w+)", json.dumps(schemas[name]))
        names += [one for one in dict.fromkeys(inner) if one not in names]
    keys = {key for name in names for key in schemas[name].get("properties", {})}
    section = HTTP_API.partition("### GET /status")[2].partition("\n## ")[0]
    assert len(keys) > 50
    assert set() == keys - set(re.findall(r"`(\w+)`", section))


def test_openapi_is_whole() -> None:
    """The document is JSON, and every reference in it leads somewhere."""
    raw = document_json(ROUTES)
    schemas = json.loads(raw)["components"]["schemas"]
    for name in re.findall(rb'"#/components/schemas/(\w+)"', raw):
        assert name.decode() in schemas


def test_the_socket_serves_everything() -> None:
    """Whoever owns the data directory needs no other listener."""
    assert all(Listener.SOCKET in route.listeners for route in ROUTES)


def test_loopback_serves_exactly_what_harms_nobody() -> None:
    """What any local process may ask for is this list; a longer one needs a decision."""
    served = {route.path for route in ROUTES if Listener.LOOPBACK in route.listeners}
    assert {
        "/refresh_configuration",
        "/configuration_ack",
        "/status",
        "/metrics",
        "/livez",
        "/readyz",
        "/syncz",
        "/openapi.json",
    } == served


def test_without_a_token_nothing_is_shown_but_health_and_metrics() -> None:
    """What anybody on the network may ask for is this list; a longer one needs a decision."""
    assert {
        "/metrics",
        "/livez",
        "/readyz",
        "/syncz",
    } == {route.path for route in ROUTES if route.open}


def test_no_route_is_both_ours_and_not() -> None:
    """What is served is not answered with 501."""
    assert not {route.path for route in ROUTES} & NOT_OURS


def test_head_is_get() -> None:
    """HEAD finds the route of GET, and none where there is only POST."""
    assert isinstance(find("HEAD", "/status", Listener.LOOPBACK), Route)
    assert not isinstance(find("HEAD", "/configuration_ack", Listener.LOOPBACK), Route)


def test_every_metric_is_documented() -> None:
    """The families shown and the docs' table are the same."""
    metrics = Metrics()
    text = metrics.exposition(NOTHING).decode()
    shown = {line.split()[2] for line in text.splitlines() if line.startswith("# HELP")}
    table = HTTP_API.partition("## Metrics")[2]
    cells = re.findall(r"(?m)^\| (`[^|]*`) \|", table)
    documented = {name for cell in cells for name in re.findall(r"`(\w+)`", cell)}
    later = {"compute_ctl_last_apply_successful", "pg_cctl_attached"}  # not before there was one
    later |= {f"compute_ctl_lsn_lease_{one}" for one in ("valid_until_seconds", "failing")}
    assert documented - shown == later
    assert shown - documented == set()


def test_every_flag_is_documented(capsys: pytest.CaptureFixture[str]) -> None:
    """What `run --help` lists stands in the docs."""
    with pytest.raises(SystemExit):
        parse(["--help"], {})
    flags = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", capsys.readouterr().out)) - {"--help"}
    assert flags >= {names[-1] for names in UNUSED} | set(UNUSED_SWITCHES)
    assert {flag for flag in flags if f"{flag}" not in CLI} == set()


def test_every_command_is_documented() -> None:
    """What `--help` lists stands in the docs, with its options."""
    context = click.Context(cli)
    for name in cli.list_commands(context):
        assert re.search(rf"(?m)^(\| `{name}|## {name})", CLI), name
        command = cli.get_command(context, name)
        assert command is not None
        for option in command.params:
            long = [text for text in option.opts if text.startswith("--")]
            assert not long or long[0] in CLI, (name, long)


def test_run_options_are_documented_as_parsed() -> None:
    """Defaults in the docs are those of the code."""
    options: RunOptions = parse(["-D", "d", "-C", "host=a", "-c", "f"], {})
    settings = options.settings
    assert f"| `--internal-http-port PORT` | {settings.internal_http_port} |" in CLI
    assert f"| `--external-http-port PORT` | {settings.external_http_port} |" in CLI
    assert f"| `--reconcile-interval SECONDS` | {settings.reconcile_interval:g} |" in CLI
    assert f"| `--refresh-min-interval SECONDS` | {settings.refresh_min_interval:g} |" in CLI
