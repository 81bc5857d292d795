"""What is deployed beside the control plane names only what it has."""

import re
from pathlib import Path

import pytest

from control_plane.decisions.model import VerdictState
from tests.unit import deployed
from tests.unit.control_plane.http.admin_door import Admin, admin_door
from tests.unit.deployed import DEPLOY, ROOT, Exposed, alert_expressions, panel_expressions, samples

RULES = DEPLOY / "prometheus/compute_control_plane.rules.yml"
ALERTS = alert_expressions(RULES)
PANELS = panel_expressions(DEPLOY / "grafana/compute_control_plane.json")
NAME = re.compile(r"\b(compute_control_plane_\w+)")
HOOK_CODES = (200, 400, 404, 409, 423, 499, 500, 503)


async def exposed(admin: Admin) -> Exposed:
    """Every sample that the control plane can show."""
    metrics = admin.door.parts.api.metrics
    for kind in ("notify-attach", "notify-safekeepers"):
        for code in HOOK_CODES:
            metrics.on_hook(kind, code)
    metrics.on_http("public", 200)
    metrics.on_dropped("public", "slow")
    found = samples(await admin.good("GET", "/metrics"))
    found["compute_control_plane_false_alarms_total"] = {}  # where there is a judge
    assert {one.value for one in VerdictState} == found["compute_control_plane_verdicts_total"][
        "state"
    ]
    return found


async def test_alerts_and_panels_ask_for_what_there_is(tmp_path: Path) -> None:
    """Each rests on metrics, labels and values that the control plane exposes."""
    async with admin_door(tmp_path) as admin:
        have = await exposed(admin)

    for name, expression in {**ALERTS, **PANELS}.items():
        assert [] == list(deployed.unknown(expression, have, NAME)), name


def test_a_wrong_name_is_found() -> None:
    """Else the test above shows nothing."""
    have: Exposed = {"compute_control_plane_hooks_total": {"code": {"200"}}}
    wrong = 'compute_control_plane_hooks_total{code="299"} + compute_control_plane_nothing'

    assert ["metric compute_control_plane_nothing", 'label code="299"'] == list(
        deployed.unknown(wrong, have, NAME)
    )


@pytest.mark.parametrize("alert", ALERTS)
def test_guide_says_what_to_do(alert: str) -> None:
    """The guide has an answer to each alert."""
    assert f"`{alert}`" in (ROOT / "docs/control-plane.md").read_text()
