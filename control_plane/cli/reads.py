"""The commands that look: status, computes, show, nodes, verdicts, history."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import click

from compute_common.cli.exit_codes import EXIT_FAILED
from compute_common.cli.output import WATCH_S, as_json, print_json
from control_plane.cli.client import Body, Target, ask, fetch, target_options
from control_plane.cli.exit_codes import EPILOG
from control_plane.decisions.fleet import Condition
from control_plane.decisions.views import (
    ComputesView,
    ComputeView,
    HistoryView,
    NodesView,
    StatusView,
    VerdictsView,
)

if TYPE_CHECKING:
    from rich.console import RenderableType

watch_option = click.option(
    "--watch", is_flag=True, help="Show it again every second, until interrupted."
)
limit_option = click.option(
    "--limit", type=click.IntRange(1, 10_000), default=100, show_default=True, help="Rows at most."
)


@click.command(epilog=EPILOG, short_help="Show the fleet in numbers.")
@target_options
@as_json
@watch_option
def status(as_json: bool, watch: bool, **where: Any) -> int:
    """Show the fleet in numbers; exit status 1 if the store does not answer."""
    target = Target.of(**where)
    view = _show(target, StatusView, "/v1/status", "status", as_json=as_json, watch=watch)
    return EXIT_FAILED if view.store_failure else 0


@click.command(epilog=EPILOG, short_help="List computes, laggards first.")
@click.argument("query", default="")
@click.option(
    "--condition",
    type=click.Choice([one.value for one in Condition]),
    help="Only computes in this condition.",
)
@limit_option
@target_options
@as_json
@watch_option
def computes(
    query: str, condition: str | None, limit: int, as_json: bool, watch: bool, **where: Any
) -> None:
    """List computes: those that do not run with what is published first.

    QUERY is a part of their names, or a whole tenant ID.
    """
    asked = {"q": query, "condition": condition, "limit": limit}
    target = Target.of(**where)
    _show(target, ComputesView, "/v1/computes", "computes", asked, as_json=as_json, watch=watch)


@click.command(epilog=EPILOG, short_help="Show everything about a compute.")
@click.argument("compute_id", metavar="ID")
@click.option("--document", is_flag=True, help="Print its document as it was put, with secrets.")
@target_options
@as_json
@watch_option
def show(compute_id: str, document: bool, as_json: bool, watch: bool, **where: Any) -> None:
    """Show a compute: what is published, what it runs with, whom it suspects, its timeline."""
    target, path = Target.of(**where), f"/v1/computes/{quote(compute_id, safe='')}"
    if document:
        print_json(fetch(target, "GET", f"{path}/document", headers={}))
        return
    _show(target, ComputeView, path, "compute", as_json=as_json, watch=watch)


@click.command(epilog=EPILOG, short_help="List pageservers, trouble first.")
@target_options
@as_json
@watch_option
def nodes(as_json: bool, watch: bool, **where: Any) -> None:
    """List pageservers, and whoever else is suspected; those with trouble first."""
    _show(Target.of(**where), NodesView, "/v1/nodes", "nodes", as_json=as_json, watch=watch)


@click.command(epilog=EPILOG, short_help="List verdicts on nodes.")
@limit_option
@target_options
@as_json
@watch_option
def verdicts(limit: int, as_json: bool, watch: bool, **where: Any) -> None:
    """List the verdicts that a node is down, newest first, with their evidence."""
    target, asked = Target.of(**where), {"limit": limit}
    _show(target, VerdictsView, "/v1/verdicts", "verdicts", asked, as_json=as_json, watch=watch)


@click.command(epilog=EPILOG, short_help="Show what has happened.")
@click.option("--compute", help="Of this compute.")
@click.option("--tenant", help="Of this tenant.")
@click.option("--node", type=click.IntRange(0), help="Of this node.")
@limit_option
@target_options
@as_json
@watch_option
def history(
    *,
    compute: str | None,
    tenant: str | None,
    node: int | None,
    limit: int,
    as_json: bool,
    watch: bool,
    **where: Any,
) -> None:
    """Show what has happened, newest first, about all that is named."""
    asked = {"compute": compute, "tenant": tenant, "node": node, "limit": limit}
    target = Target.of(**where)
    _show(target, HistoryView, "/v1/history", "history", asked, as_json=as_json, watch=watch)


def _show(
    target: Target,
    kind: type[Body],
    path: str,
    table: str,
    query: Mapping[str, object] | None = None,
    *,
    as_json: bool,
    watch: bool,
) -> Body:
    """Print a view once, or every second; *table* is the function of `tables` that makes it."""
    while True:
        view, body = ask(target, kind, "GET", path, query=query)
        if as_json:
            print_json(body, compact=watch)
        else:
            from compute_common.cli.tables import show as print_table
            from control_plane.cli import tables

            make: Callable[[Body], RenderableType] = getattr(tables, table)
            if watch:
                click.clear()
            print_table(make(view))
        if not watch:
            return view
        time.sleep(WATCH_S)
