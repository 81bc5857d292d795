"""No view of the control plane shows a secret."""

from msgspec.structs import replace as changed

from control_plane.decisions.compute_view import compute_view
from control_plane.decisions.fleet_views import fleet_view
from control_plane.decisions.model import HistoryEvent, Verdict, VerdictState
from control_plane.decisions.overview import Overview
from control_plane.decisions.view_state import FleetState
from control_plane.decisions.views import ServiceView
from tests.support.fleet_state import NOW, WALL, heard, record, report, suspicion


def test_texts_from_outside_are_redacted() -> None:
    """Texts from outside are redacted, wherever they stand."""
    secret = "hunter2"
    leak = f"host=db password={secret}"
    trouble = changed(suspicion(), text=leak, endpoint=f"postgres://u:{secret}@db")
    state = FleetState(
        computes={"a": changed(record("a"), push_url=f"http://u:{secret}@host/")},
        heard={
            "a": changed(
                heard(report(6, trouble, outcome="rejected", reason=leak)), push_error=leak
            )
        },
        history=(HistoryEvent(at=WALL, kind="document", text=leak, compute_id="a"),),
        verdicts=(
            Verdict(
                node_id=1,
                at=WALL,
                suspected_by=(),
                users=0,
                probes=(leak,),
                state=VerdictState.REFUSED,
                reason=leak,
            ),
        ),
        store_failure=leak,
    )
    overview = Overview(state, NOW)

    assert secret not in str(fleet_view(overview, ServiceView()))
    assert secret not in str(compute_view(overview, "a"))
