import pytest
from hypothesis import given
from hypothesis import strategies as st

from pg_hook import HookError, ffi, lib, parse_shard_map, shard_of_block
from tests.core import model

UINT32 = st.integers(0, 2**32 - 1)
# what a list entry may hold: anything but the separator and control characters
ENTRY = st.text(
    st.characters(codec="utf-8", exclude_characters=",\x7f", exclude_categories=("Cc", "Cs")),
    min_size=1,
    max_size=60,
)


@pytest.mark.parametrize(
    ("text", "endpoints"),
    [
        ("", ()),
        ("host=a", ("host=a",)),
        ("host=a,", ("host=a",)),
        ("postgres://u@a:6400,postgres://u@b:6400", ("postgres://u@a:6400", "postgres://u@b:6400")),
        (" a , b ,", (" a ", " b ")),
        ("x" * 255, ("x" * 255,)),
        (",".join(["e"] * 128), ("e",) * 128),
        (",".join(["e"] * 128) + ",", ("e",) * 128),
    ],
)
def test_parse(text: str, endpoints: tuple[str, ...]) -> None:
    """The list gives its entries in order; one trailing comma is ignored."""
    parsed = parse_shard_map(text, stripe_size=7)
    assert parsed.endpoints == endpoints
    assert 7 == parsed.stripe_size
    assert parsed.text == ",".join(endpoints)


@pytest.mark.parametrize(
    ("text", "name", "entry"),
    [
        (",", "ENTRY_EMPTY", 0),
        (",a", "ENTRY_EMPTY", 0),
        ("a,,", "ENTRY_EMPTY", 1),
        ("a,,b", "ENTRY_EMPTY", 1),
        ("a," + "x" * 256, "ENTRY_TOO_LONG", 1),
        ("a,b\nc", "CONTROL_CHARACTER", 1),
        ("a\x7f", "CONTROL_CHARACTER", 0),
        (",".join(["e"] * 129), "TOO_MANY_SHARDS", 128),
    ],
)
def test_refused(text: str, name: str, entry: int) -> None:
    """A bad list is refused, and the offending entry is named."""
    with pytest.raises(HookError) as caught:
        parse_shard_map(text)
    assert (caught.value.name, caught.value.detail) == (name, f"entry {entry}")


def test_refused_leaves_nothing_behind() -> None:
    """A refused list gives an all-zero map, even if its beginning was good."""
    parsed = ffi.new("struct pgh_shard_map *")
    ffi.memmove(parsed, b"\xff" * ffi.sizeof(parsed[0]), ffi.sizeof(parsed[0]))
    assert lib.pgh_shard_map_parse(b"a,b,,", 8, parsed, ffi.NULL) == lib.PGH_ERR_ENTRY_EMPTY
    assert bytes(ffi.buffer(parsed)) == bytes(ffi.sizeof(parsed[0]))


def test_stripe_size_zero_is_refused() -> None:
    """A stripe of no pages would divide by zero."""
    with pytest.raises(HookError) as caught:
        parse_shard_map("a", stripe_size=0)
    assert "STRIPE_SIZE" == caught.value.name


def test_maps_compare_by_bytes() -> None:
    """A shorter list over the memory of a longer one gives the same bytes as on fresh memory."""
    reused, fresh = ffi.new("struct pgh_shard_map *"), ffi.new("struct pgh_shard_map *")
    lib.pgh_shard_map_parse(b"long-one,long-two", 9, reused, ffi.NULL)
    lib.pgh_shard_map_parse(b"s,", 8, reused, ffi.NULL)
    lib.pgh_shard_map_parse(b"s", 8, fresh, ffi.NULL)
    assert bytes(ffi.buffer(reused)) == bytes(ffi.buffer(fresh))


@pytest.mark.parametrize(("size", "expected"), [(4, 0), (3, 1), (2, 1), (1, 1)])
def test_text_needs_room_for_the_nul(size: int, expected: int) -> None:
    """The canonical text is written whole or refused."""
    parsed = ffi.new("struct pgh_shard_map *")
    lib.pgh_shard_map_parse(b"a,b", 8, parsed, ffi.NULL)
    out = ffi.new("char[]", size)
    code = lib.pgh_shard_map_text(parsed, out, size, ffi.NULL)
    assert code == (lib.PGH_ERR_BUFFER_TOO_SMALL if expected else lib.PGH_OK)


def test_longest_list_fits_its_buffer() -> None:
    """PGH_SHARD_LIST_SIZE is exactly enough for the longest list."""
    text = ",".join(["x" * 255] * 128)
    assert len(text) + 1 == lib.PGH_SHARD_LIST_SIZE
    assert parse_shard_map(text).text == text


@pytest.mark.parametrize(
    ("shard", "same"), [(0, True), (1, False), (2, False), (3, False), (4000, False)]
)
def test_endpoint_same(shard: int, same: bool) -> None:
    """A shard is kept only if both maps have it with the same endpoint."""
    old, new = ffi.new("struct pgh_shard_map *"), ffi.new("struct pgh_shard_map *")
    lib.pgh_shard_map_parse(b"a,b,c", 8, old, ffi.NULL)
    lib.pgh_shard_map_parse(b"a,B", 8, new, ffi.NULL)
    assert lib.pgh_shard_endpoint_same(old, new, shard) is same
    assert lib.pgh_shard_endpoint_same(new, old, shard) is same


@pytest.mark.parametrize(
    ("rel", "block", "count", "stripe", "shard"),
    [
        (0x400C, 0x7D06, 10, 32768, 8),
        (16384, 0, 4, 2048, 0),
        (16384, 2047, 4, 2048, 0),
        (16384, 2048, 4, 2048, 3),
        (16385, 10000, 8, 2048, 6),
        (16385, 10000, 0, 2048, 0),
        (16385, 10000, 1, 2048, 0),
    ],
)
def test_shard_vectors(rel: int, block: int, count: int, stripe: int, shard: int) -> None:
    """The known vectors of client and pageserver."""
    assert shard_of_block(rel, block, shard_count=count, stripe_size=stripe) == shard
    assert model.shard_of_block(rel, block, count, stripe) == shard


def test_hash_combine_vector_of_the_model() -> None:
    """The model itself agrees with the pageserver's own test vector."""
    assert 0xFB7923C9 == model.hash_combine(0xB1FF3B40, 0)


@given(rel=UINT32, block=UINT32, count=st.integers(0, 128), stripe=st.integers(1, 2**32 - 1))
def test_shard_model(rel: int, block: int, count: int, stripe: int) -> None:
    """The shard is the model's for every relation, block, count and stripe."""
    expected = model.shard_of_block(rel, block, count, stripe)
    assert shard_of_block(rel, block, shard_count=count, stripe_size=stripe) == expected


@given(entries=st.lists(ENTRY, max_size=128), trailing=st.booleans())
def test_list_round_trip(entries: list[str], trailing: bool) -> None:
    """Any list of good entries comes back as it was."""
    entries = [entry for entry in entries if len(entry.encode()) <= 255]
    text = ",".join(entries) + ("," if trailing and entries else "")
    assert parse_shard_map(text).endpoints == tuple(entries)
    assert parse_shard_map(text).text == ",".join(entries)


@pytest.mark.parametrize(
    ("kind", "fork", "shard"),
    [
        ("PGH_REQUEST_GET_PAGE", 0, 3),
        ("PGH_REQUEST_GET_PAGE", 2, 3),
        ("PGH_REQUEST_GET_PAGE", 3, 0),
        ("PGH_REQUEST_EXISTS", 0, 0),
        ("PGH_REQUEST_NBLOCKS", 0, 0),
        ("PGH_REQUEST_DB_SIZE", 0, 0),
        ("PGH_REQUEST_GET_SLRU_SEGMENT", 0, 0),
    ],
)
def test_shard_of_request(kind: str, fork: int, shard: int) -> None:
    """Pages go by their hash, init forks and metadata to shard 0."""
    parsed = ffi.new("struct pgh_shard_map *")
    lib.pgh_shard_map_parse(b"a,b,c,d", 2048, parsed, ffi.NULL)
    request = ffi.new(
        "struct pgh_request *",
        {"type": getattr(lib, kind), "fork": fork, "rel_number": 16384, "block": 2048},
    )
    assert lib.pgh_shard_of_request(parsed, request) == shard
