"""Publication: generations that never fall, content that the daemon counts alike, speed."""

from __future__ import annotations

import time
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compute_common.document.document import decode_document
from compute_common.document.edit import with_setting
from compute_common.errors import SpecError
from compute_ctl.document import spec_sources
from control_plane.decisions import documents
from tests.unit.control_plane.records import NOW, composed, nodes, placed, record, text


def test_the_same_content_is_published_once() -> None:
    """A change raises the generation by one, no change raises nothing."""
    first = documents.publish(record(), composed(record(), placed(1)), at=NOW)
    assert first is not None
    assert None is documents.publish(first, composed(first, placed(1)), at=NOW)
    second = documents.publish(first, composed(first, placed(2)), at=NOW)
    assert second is not None
    assert (1, 2) == (first.generation, second.generation)
    assert documents.etag(first) != documents.etag(second)


@pytest.mark.parametrize(("floor", "generation"), [(0, None), (4, None), (5, 6), (41, 42)])
def test_what_a_compute_has_taken_is_the_floor(floor: int, generation: int | None) -> None:
    """The store was restored: the same content again, above what the compute has."""
    old = documents.publish(record(generation=4), composed(record(generation=4), placed(1)), at=NOW)
    assert old is not None
    new = documents.publish(old, composed(old, placed(1)), at=NOW, floor=floor)
    assert generation == (new.generation if new else None)


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(1, 4), st.integers(0, 40)), max_size=30))
def test_the_generation_never_falls(moves: list[tuple[int, int]]) -> None:
    """Wherever the tenant goes and whatever computes report; each change has its own."""
    now = record()
    seen: dict[int, bytes] = {}
    for number, floor in moves:
        new = documents.publish(now, composed(now, placed(number)), at=NOW, floor=floor)
        if new is None:
            assert now.generation > floor or floor == 0
            continue
        assert new.generation > max(now.generation, floor)
        now = new
        assert new.published is not None
        seen[new.generation] = bytes(new.published)
        assert new.generation == msgspec.json.decode(new.published)["spec"]["generation"]
    assert len(seen) == len(set(seen.values()))


@settings(deadline=None)
@given(
    st.lists(st.integers(1, 4), min_size=1, max_size=5),
    st.dictionaries(st.text(max_size=5), st.integers() | st.floats(allow_nan=False) | st.text()),
)
def test_the_daemon_counts_the_same_content(places: list[int], unknown: dict[str, Any]) -> None:
    """Composing is deterministic, and our daemon reads what was meant, with the hash we stored."""
    raw = text(**{f"x{name}": value for name, value in unknown.items()})
    it, tenant = record(raw), placed(*places, stripe_size=8 if len(places) > 1 else None)
    assert composed(it, tenant) == composed(it, tenant)
    new = documents.publish(it, composed(it, tenant), at=NOW)
    assert new is not None
    assert new.published is not None
    document = decode_document(bytes(new.published))
    assert new.content_sha256 == document.content_sha256
    found = spec_sources.pageservers(document.spec)
    assert found is not None
    legacy = msgspec.structs.replace(document.spec, pageserver_connection_info=None)
    assert found == spec_sources.pageservers(legacy)
    assert [f"postgresql://no_user@ps-{it}:6400" for it in places] == list(found.shards)


def test_settings_are_set_replaced_and_removed() -> None:
    """By name, whatever its case, at its place."""
    raw = text(cluster={"settings": [{"name": "A", "value": "1", "vartype": "x"}, {"name": "b"}]})

    def settings(document: bytes) -> list[tuple[str, str | None]]:
        found = msgspec.json.decode(document)["spec"]["cluster"]["settings"]
        return [(one["name"], one.get("value")) for one in found]

    assert [("A", "2"), ("b", None)] == settings(with_setting(raw, "a", "2"))
    assert [("A", "1"), ("b", None), ("c.d", "3")] == settings(with_setting(raw, "c.d", "3"))
    assert [("b", None)] == settings(with_setting(raw, "a", None))
    new = with_setting(b"", "primary_conninfo", "host=a")
    assert [("primary_conninfo", "host=a")] == settings(new)
    assert () == documents.read_operator_text(new, managed=True).warnings
    with pytest.raises(SpecError, match="not a name of a setting"):
        with_setting(raw, "a b", "1")


def test_many_documents_are_published_quickly() -> None:
    """3,333 of 3 KB; the bound is that of a loaded machine, three times the goal."""
    settings = [{"name": f"some.setting_{it}", "value": "a value"} for it in range(45)]
    it, known = record(text(cluster={"settings": settings})), nodes(*range(1, 100))
    assert 3000 < len(it.document)
    began = time.process_time()
    for number in range(3333):
        found = composed(it, placed(1 + number % 99), known)
        assert documents.publish(it, found, at=NOW) is not None
    assert 1.5 > time.process_time() - began
