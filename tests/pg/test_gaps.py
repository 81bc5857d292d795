"""What Neon's own pageserver client does wrong, and the test that shows that ours does not."""

from importlib import import_module

import pytest

from tests.pg.situations import HANDSHAKE, RESPONSE

# the flaw: module, test, and for test_failures' table a row of it
GAPS = {
    "G1 silence of a stream is reported to nobody": (
        "test_failures.test_trouble_in_every_phase",
        "silent response",
    ),
    "G2 the handshake has no deadline": (
        "test_failures.test_trouble_in_every_phase",
        "silent pagestream",
    ),
    "G3 a refused query counts as success and loops each millisecond": (
        "test_failures.test_a_server_that_logs_us_in_and_says_no_is_asked_with_pauses",
        "refuse_query",
    ),
    "G4 errors inside the stream are reported to nobody": (
        "test_failures.test_trouble_in_every_phase",
        "error Not found: Timeline 1/2 was not found",
    ),
    "G5 after max_reconnect_attempts it asks no more": (
        "test_worker.test_requests_go_on_while_the_trouble_lasts",
        None,
    ),
    "G6 an idle close and a rolling restart are alarms": (
        "test_failures.test_an_idle_connection_that_ends_is_no_trouble",
        None,
    ),
    "G7 a misrouted read is hardly throttled": (
        "test_failures.test_a_server_that_logs_us_in_and_says_no_is_asked_with_pauses",
        "reconnect",
    ),
    "G8 the reason of an end is not read": (
        "test_failures.test_trouble_in_every_phase",
        "not_found",
    ),
    "G9 a reload does not reach who waits": (
        "test_waits.test_a_new_map_rescues_the_wait",
        None,
    ),
    "G10 one failure asks twice": (
        "test_failures.test_trouble_in_every_phase",
        "close response",
    ),
    "G11 an empty list divides by zero": (
        "test_pages.test_an_empty_list_is_not_configured",
        None,
    ),
    "G12 a dead daemon never starts the clock of the suffering": (
        "test_waits.test_the_limit_needs_no_daemon",
        None,
    ),
    "G13 a misrouted read loops for ever": (
        "test_waits.test_the_limit_needs_no_daemon",
        None,
    ),
    "G14 a failure to send is reported to nobody": (
        "test_failures.test_an_idle_connection_that_cannot_be_made_again_is_trouble",
        None,
    ),
    "G15 asking the daemon holds up the query": (
        "test_waits.test_fast_stop_is_not_held_up",
        None,
    ),
    "G16 name resolution blocks": (
        "test_name_resolution.test_a_silent_resolver_is_bounded",
        None,
    ),
}


@pytest.mark.parametrize("gap", GAPS)
def test_each_gap_has_its_test(gap: str) -> None:
    """The test, and the row of its table, are there."""
    path, row = GAPS[gap]
    module, _, function = path.partition(".")
    test = getattr(import_module(f"tests.pg.{module}"), function)
    assert callable(test)
    rows = {str(situation) for situation in HANDSHAKE + RESPONSE}
    assert row is None or row in rows
