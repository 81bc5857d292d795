"""The page: hostile text stays text, trouble comes first, large fleets stay small."""

from dataclasses import replace
from html.parser import HTMLParser

import pytest
from msgspec.structs import replace as changed

from control_plane.decisions.compute_view import compute_view
from control_plane.decisions.fleet import Condition
from control_plane.decisions.fleet_views import fleet_view
from control_plane.decisions.model import HistoryEvent, PendingHook
from control_plane.decisions.overview import Overview
from control_plane.decisions.view_state import FleetState
from control_plane.decisions.views import ServiceView
from control_plane.http.compute_page import compute_page, missing_page
from control_plane.http.html import Markup, join, tag
from control_plane.http.page import fleet_page
from control_plane.http.page_frame import HEADERS, SCRIPT, STYLE
from control_plane.http.page_parts import lasting
from tests.support.fleet_state import NOW, WALL, fleet, heard, node, record, report, suspicion

HOSTILE = """"><script>alert(1)</script><img src=x onerror='alert(2)'>&amp;"""
SERVICE = ServiceView(store="state.db", storage_controller="http://sc:1234")


def page(state: FleetState, query: str = "", wanted: Condition | None = None) -> str:
    """The fleet's page for *state*."""
    return fleet_page(fleet_view(Overview(state, NOW), SERVICE, query=query, wanted=wanted))


class Elements(HTMLParser):
    """Collects elements, their attributes and the text between them."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note an element."""
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        """Note a text."""
        self.texts.append(data)

    def names(self) -> set[str]:
        """Every element that is there."""
        return {name for name, _ in self.elements}


def hostile_state() -> FleetState:
    """A state in which each text that comes from outside is hostile."""
    trouble = changed(suspicion(), source=HOSTILE, endpoint=HOSTILE, text=HOSTILE, sqlstate=HOSTILE)
    said = changed(
        report(6, trouble, outcome="rejected", reason=HOSTILE),
        daemon=HOSTILE,
        version=HOSTILE,
        status=HOSTILE,
        pending_restart=(HOSTILE,),
    )
    return replace(
        fleet(30),
        computes={HOSTILE: record(HOSTILE, tenant=HOSTILE)},
        heard={HOSTILE: changed(heard(said), push_error=HOSTILE)},
        history=(
            HistoryEvent(at=WALL, kind=HOSTILE, text=HOSTILE, compute_id=HOSTILE),
            HistoryEvent(at=WALL, kind=HOSTILE, text=HOSTILE, tenant_id=HOSTILE),
        ),
        pending_hooks=(
            PendingHook(kind=HOSTILE, tenant_id=HOSTILE, since=1.0, waits_for=(HOSTILE,)),
        ),
        store_failure=HOSTILE,
    )


@pytest.mark.parametrize("query", ["", HOSTILE])
def test_hostile_text_stays_text(query: str) -> None:
    """No element and no attribute comes from outside, on neither page."""
    harmless = Elements(page(fleet(30)))
    state = hostile_state()
    texts = (
        page(state, query),
        compute_page(compute_view(Overview(state, NOW), HOSTILE)),
        missing_page(HOSTILE),
    )
    for text in texts:
        found = Elements(text)
        assert found.names() <= harmless.names() | {"dl", "dt", "dd"}
        assert [] == [name for name, attributes in found.elements if "onerror" in attributes]
        assert 1 >= sum(name == "script" for name, _ in found.elements)
        assert HOSTILE in "".join(found.texts)


def test_links_to_hostile_names_stay_on_the_page() -> None:
    """A name cannot leave the path that it belongs to."""
    name = "../..//evil?x#y"
    state = FleetState(computes={name: record(name)})

    links = [attributes["href"] for name, attributes in Elements(page(state)).elements
             if name == "a"]  # fmt: skip

    assert "/computes/..%2F..%2F%2Fevil%3Fx%23y" in links


def test_builder_escapes_all_but_markup() -> None:
    """Text and attributes are escaped, markup is not; None is omitted."""
    assert '<a href="&lt;&quot;">&lt;b&gt;</a>' == tag("a", "<b>", href='<"', title=None)
    assert "<i>1</i>&amp;" == join(Markup("<i>1</i>"), None, "&")
    assert '<p hidden aria-label="x"></p>' == tag("p", hidden=True, aria_label="x", id=False)


def test_policy_allows_only_this_style_and_this_script() -> None:
    """What the policy allows by digest is what the page has; there is nothing else inline."""
    found = Elements(page(fleet(30)))
    policy = HEADERS["Content-Security-Policy"]

    assert STYLE in found.texts
    assert SCRIPT in found.texts
    assert "unsafe" not in policy
    assert 2 == policy.count("'sha256-")
    inline = [
        key
        for _, attributes in found.elements
        for key in attributes
        if key.startswith("on") or key == "style"
    ]
    assert [] == inline
    assert {"data:,"} == {
        attributes.get("href") for name, attributes in found.elements if name == "link"
    }


def test_laggards_stand_before_nodes_and_everything_else() -> None:
    """Numbers, laggards, nodes, then the rest."""
    text = page(fleet(1000))
    places = [
        text.index(part)
        for part in ('class="counts"', 'id="behind"', "compute-00998", "compute-00999",
                     'id="nodes"', 'id="hooks"', 'id="computes"')
    ]  # fmt: skip

    assert sorted(places) == places
    assert "<title>3 behind · 1 node bad · compute control plane</title>" in text


def test_a_search_stands_before_the_laggards() -> None:
    """Who searches wants to see what was found."""
    text = page(fleet(1000), "compute-00500")

    assert text.index('id="computes"') < text.index('id="behind"')
    assert "1 of 1000" in text
    assert 'value="compute-00500"' in text


def test_a_condition_can_be_chosen() -> None:
    """Each number leads to its computes; the chosen one leads back."""
    text = page(fleet(1000), "", Condition.SILENT)

    assert "computes: silent" in text
    assert '<a href="/" aria-current="true"><b>12</b>silent</a>' in text


def test_ten_thousand_computes_make_no_larger_page() -> None:
    """Lists are cut, with a count."""
    few, many = page(fleet(1000)), page(fleet(10_000))

    assert len(many) < len(few) + 500
    assert len(many) < 64 * 1024
    assert "10000, the first 50 are shown" in many


def test_many_laggards_are_cut_and_counted() -> None:
    """The rest of them is told as a number."""
    names = [f"c{number}" for number in range(300)]
    state = FleetState(
        computes={name: record(name) for name in names},
        heard={name: heard(report(6)) for name in names},
    )

    text = page(state)

    assert "300 of 300, longest first" in text
    assert "and 275 more" in text


def test_an_empty_fleet_and_a_calm_one_say_so() -> None:
    """No trouble is said in words; what is not used is not shown."""
    empty = page(FleetState())
    calm = page(FleetState(computes={"a": record("a")}, heard={"a": heard(report(7))}))

    assert "there are no computes yet" in empty
    assert "every compute alive runs with what is published" in calm
    assert "<title>compute control plane</title>" in calm
    for text in (empty, calm):
        assert 'id="nodes"' not in text
        assert 'id="hooks"' not in text


def test_a_failing_store_is_told_first() -> None:
    """It stands above the numbers, and in the title."""
    text = page(replace(fleet(30), store_failure="disk full"))

    assert text.index("disk full") < text.index('class="counts"')
    assert "<title>store does not answer" in text


def test_a_node_that_drains_is_shown_so() -> None:
    """Scheduling is shown where it is not the usual one."""
    nodes = changed(fleet(30).nodes, nodes=(changed(node(1), scheduling="Draining"),))

    assert "Active, Draining" in page(replace(fleet(30), nodes=nodes))


@pytest.mark.parametrize(
    ("expected", "seconds"),
    [("0 s", -1.0), ("0 s", 0.4), ("119 s", 119.4), ("2 min", 120), ("119 min", 7140),
     ("2 h", 7200), ("3 d", 3 * 86400)],
)  # fmt: skip
def test_durations_have_one_unit(expected: str, seconds: float) -> None:
    """Short enough to be read at a glance."""
    assert expected == lasting(seconds)
