"""A document becomes a file that Postgres reads as it was meant."""

from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from compute_common.document.document import decode_document
from compute_ctl.document.body import Body
from compute_ctl.document.render import RenderContext, render
from compute_ctl.settings import worker_endpoint
from tests.unit.document.rendering import ATTACH, SUPERVISE, A, B, made

TENANT, TIMELINE = "9f" * 16, "0a" * 16


def test_whole_file_attached() -> None:
    """Attached: text, settings and ids as asked for, the daemon's own settings, then upstream."""
    context = RenderContext(attach=True, internal_port=3081, token_file="/state/token")

    rendered = made(
        {"work_mem": "8MB", "neon.safekeepers": "c:1", "primary_conninfo": "host=p password=x"},
        context=context,
        text="wal_level = logical",
        tenant_id=TENANT.upper(),
        timeline_id=TIMELINE,
        branch_id="br-main",
        pageserver_connstring=f"{A},{B},",
        shard_stripe_size=16,
        safekeeper_connstrings=["s:1", "t:1"],
        safekeepers_generation=4,
    )

    assert rendered.rest == (
        "wal_level = logical\n"
        "# settings\n"
        "neon.compute_mode = 'primary'\n"
        "work_mem = '8MB'\n"
        f"neon.tenant_id = '{TENANT}'\n"
        f"neon.timeline_id = '{TIMELINE}'\n"
        "neon.branch_id = 'br-main'\n"
        "neon.extension_server_port = '3081'\n"
    )
    assert rendered.upstream == (
        "# upstream: the servers that this one depends on\n"
        "neon.stripe_size = '16'\n"
        f"neon.pageserver_connstring = '{A},{B}'\n"
        "neon.safekeepers = 'g#4:s:1,t:1'\n"
        "primary_conninfo = 'host=p password=x'\n"
    )
    assert (A, B) == Body.read(rendered.body).shards
    assert rendered.names >= {"wal_level", "work_mem", "neon.safekeepers", "primary_conninfo"}
    assert (
        'spec.cluster.settings[1].value: setting "neon.safekeepers" contradicts its dedicated '
        "field: ignored",
    ) == rendered.warnings


@pytest.mark.parametrize(
    "where",
    [{"settings": {"neon.max_cluster_size": "512"}}, {"text": "neon.max_cluster_size = 5"}],
)
def test_limited_server_reads_what_lifts_the_limit(where: dict[str, Any]) -> None:
    """A document with a size limit has its override included behind it; others have not."""
    expected = "include_if_exists = 'compute_ctl_temp_override.conf'"
    lines = made(**where).rest.splitlines()
    limit = next(n for n, line in enumerate(lines) if line.startswith("neon.max_cluster_size"))
    assert lines.index(expected) > limit
    assert expected not in made({"work_mem": "1MB"}).rest


@pytest.mark.parametrize(
    ("fields", "context", "held"),
    [
        ({}, SUPERVISE, True),
        ({}, ATTACH, False),
        ({"skip_pg_catalog_updates": True}, SUPERVISE, False),
        ({"mode": "Replica"}, SUPERVISE, False),
        ({"drop_subscriptions_before_start": False}, SUPERVISE, False),
    ],
)
def test_subscribers_wait_where_subscriptions_are_dropped(
    fields: dict[str, Any], context: RenderContext, held: bool
) -> None:
    """A server that we start reads the file that holds them; others have the setting's default."""
    rest = made(context=context, **{"drop_subscriptions_before_start": True, **fields}).rest
    assert held == ("include_if_exists = 'compute_ctl_subscribers.conf'\n" in rest)
    setting = "neon.disable_logical_replication_subscribers"
    expected = [] if held or context is ATTACH else [f"{setting} = 'false'"]
    assert expected == [line for line in rest.splitlines() if line.startswith(setting)]


def test_privileged_role_is_told_to_the_server() -> None:
    """Neon's library learns which role the daemon makes the privileged one."""
    context = RenderContext(attach=False, internal_port=3081, privileged_role="my_superuser")
    assert "neon.privileged_role_name = 'my_superuser'\n" in made(context=context).rest


def test_whole_file_supervised() -> None:
    """Supervised: the reference's own settings come first, and the document may override them."""
    rendered = made(
        {"lc_messages": "C", "shared_preload_libraries": "neon"},
        context=SUPERVISE,
        mode={"Static": "0/03a1f00b8"[:10]},
        audit_log_level="Full",
        logs_export_host="logs:514",
        features=["tls_experimental"],
        config={"tls": {"key_path": "/k", "cert_path": "/c"}},
    )

    assert [
        "# settings",
        "lc_messages = 'C'",
        "lc_monetary = 'C.UTF-8'",
        "lc_time = 'C.UTF-8'",
        "lc_numeric = 'C.UTF-8'",
        "neon.privileged_role_name = 'neon_superuser'",
        "neon.disable_logical_replication_subscribers = 'false'",
        "ssl = 'on'",
        "ssl_cert_file = '/c'",
        "ssl_key_file = '/k'",
        "dynamic_shared_memory_type = 'mmap'",
        "neon.compute_mode = 'static'",
        "hot_standby = 'on'",
        "recovery_target_lsn = '0/3A1F00B'",
        "shared_preload_libraries = 'neon,pgaudit,pgauditlogtofile'",
        "pgaudit.log_parameter = 'on'",
        "pgaudit.log = 'all'",
        "log_rotation_age = '5'",
        "pgaudit.log_catalog = 'off'",
        "log_destination = 'stderr,syslog'",
        "neon.extension_server_port = '3081'",
    ] == rendered.rest.splitlines()
    assert "# upstream: the servers that this one depends on\n" == rendered.upstream


def test_stock_server_needs_nothing() -> None:
    """A document without pageservers says nothing about them; the map is empty."""
    rendered = made({"work_mem": "8MB", "neon.stripe_size": "5"})

    assert ("# settings\nwork_mem = '8MB'\nneon.extension_server_port = '3081'\n") == rendered.rest
    assert 1 == rendered.upstream.count("\n")
    assert () == Body.read(rendered.body).shards
    assert () == rendered.warnings


@pytest.mark.parametrize(
    "fields",
    [
        {"tenant_id": TENANT},
        {"settings": {"neon.tenant_id": TENANT}},
        {"pageserver_connstring": A},
    ],
)
def test_primary_of_neon_needs_safekeepers(fields: dict[str, Any]) -> None:
    """Only a server that has Neon's storage is missed something there."""
    assert ("a primary without safekeepers",) == made(**fields).warnings


def test_same_document_same_bytes() -> None:
    """Rendering is deterministic."""
    assert made({"a": "1", "b": "2"}).body == made({"a": "1", "b": "2"}).body


def test_last_of_two_settings_wins() -> None:
    """As in Postgres; names do not differ by case."""
    options = [{"name": "Work_Mem", "value": "1MB"}, {"name": "work_mem", "value": "2MB"}]
    document = msgspec.json.encode({"spec": {"cluster": {"settings": options}, "mode": "Replica"}})

    rendered = render(decode_document(document), ATTACH)

    assert "\nwork_mem = '2MB'\n" in rendered.rest
    assert "1MB" not in rendered.body
    assert (
        'spec.cluster.settings[1]: setting "work_mem" stands there twice: the last counts',
    ) == rendered.warnings


@pytest.mark.parametrize("vartype", ["string", "bool", "integer", "enum", "x'; fsync=off"])
def test_every_type_is_quoted(vartype: str) -> None:
    """The type of an option decides nothing: nothing is written raw."""
    options = [{"name": "a.b", "value": "1' # x", "vartype": vartype}]
    document = msgspec.json.encode({"spec": {"cluster": {"settings": options}}})

    assert "\na.b = '1'' # x'\n" in render(decode_document(document), ATTACH).rest


def test_text_keeps_its_bytes() -> None:
    """Comments, includes and odd spacing in the text stay as they are."""
    text = "# hello\n include_if_exists 'x.conf'\n\nwork_mem=1MB # x\n"

    rendered = made(text=text)

    assert rendered.rest.startswith(text)
    assert {"work_mem", "neon.extension_server_port"} == rendered.names


def test_text_that_names_servers_is_reported() -> None:
    """In the text a server's address is out of the upstream part's protection."""
    assert (
        'spec.cluster.postgresql_conf: "primary_conninfo" (line 2) belongs in settings',
    ) == made(text="a=1\nprimary_conninfo='host=x'", mode="Replica").warnings


@pytest.mark.parametrize(
    ("fields", "token", "warned"),
    [
        ({"pageserver_connstring": A}, None, 0),
        ({"pageserver_connstring": A, "storage_auth_token": "t"}, "t", 0),
        ({"pageserver_connstring": "postgresql://u:p%20w@a:6400"}, "p w", 1),
        ({"pageserver_connstring": "postgresql://u:t@a", "storage_auth_token": "t"}, "t", 1),
        ({"pageserver_connstring": "postgresql://u:p@a", "storage_auth_token": "t"}, "t", 2),
        (
            {"pageserver_connstring": "host=a password=p,host=b password=q"},
            "p",
            2,
        ),
    ],
)
def test_passwords_leave_the_file(fields: dict[str, Any], token: str | None, warned: int) -> None:
    """Postgres logs changed values, so a pageserver's password becomes the storage token."""
    rendered = made(**fields, shard_stripe_size=1, mode="Replica")

    assert rendered.storage_token == token
    assert len(rendered.warnings) == warned
    assert "p%20w" not in rendered.body
    assert "password" not in rendered.body
    assert ":t@" not in rendered.body


def test_login_goes_with_the_servers() -> None:
    """The token file is named beside the servers, only where there is a token, and wins."""
    context = RenderContext(attach=True, internal_port=3081, token_file="/state/token")
    settings: dict[str, str | None] = {"neon_refresh.auth_token_file": "/mine"}
    fields = {"pageserver_connstring": A, "mode": "Replica"}

    without = made(settings, context=context, **fields)
    having = made(settings, context=context, storage_auth_token="t", **fields)

    line = "neon_refresh.auth_token_file = "
    assert f"{line}'/mine'\n" in without.rest
    assert line not in without.upstream
    assert () == without.warnings
    assert line not in having.rest
    assert f"{line}'/state/token'\n" in having.upstream
    assert "neon_refresh.auth_token_file" in having.names
    assert (
        'setting "neon_refresh.auth_token_file" contradicts its dedicated field: ignored',
    ) == having.warnings


VALUES = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=30)


@given(st.dictionaries(st.from_regex(r"[a-z]{1,5}\.[a-z]{1,5}", fullmatch=True), VALUES))
def test_settings_survive(settings: dict[str, str]) -> None:
    """Whatever the values are, exactly these settings stand in the file."""
    names = Body.read(made(dict(settings)).body).names

    assert names == {*settings, "neon.extension_server_port"}


def test_worker_is_sent_to_the_socket() -> None:
    """What the document says itself wins, wherever it says so."""
    context = RenderContext(attach=True, internal_port=3081, endpoint="unix:/state/ctl.sock")
    own: dict[str, str | None] = {"neon_refresh.endpoint": "http://127.0.0.1:3081"}

    assert "neon_refresh.endpoint = 'unix:/state/ctl.sock'\n" in made({}, context=context).rest
    rendered = made(own, context=context)
    assert "neon_refresh.endpoint = 'http://127.0.0.1:3081'\n" in rendered.rest
    assert "unix:" not in rendered.rest
    text = "neon_refresh.endpoint = 'http://127.0.0.1:3081'"
    assert "unix:" not in made({}, context=context, text=text).rest
    assert "neon_refresh.endpoint" not in made({}, context=ATTACH).rest


@pytest.mark.parametrize(("length", "expected"), [(107, True), (108, False)])
def test_path_that_is_too_long_leaves_the_worker_the_port(length: int, expected: bool) -> None:
    """A client cannot name more than 107 bytes (unix(7)); the daemon itself can."""
    folder = Path("/" + "d" * (length - 1 - len("/ctl.sock")))

    assert expected == (worker_endpoint(folder) == f"unix:{folder}/ctl.sock")
