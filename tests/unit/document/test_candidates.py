"""The pageservers of a shard: read from a document, kept in the file, one of them in use."""

from typing import Any

import pytest

from compute_common.errors import SpecError
from compute_ctl.document.body import Body
from compute_ctl.document.candidates import Candidates
from tests.unit.document.rendering import A, B, made

C = "postgresql://no_user:secret@c:6400"
PLAIN_C = "postgresql://no_user@c:6400"
NAMED = ((A, B), (B,))


def info(*shards: tuple[str | None, ...]) -> dict[str, Any]:
    """Return pageserver_connection_info for these pageservers of each shard."""
    count = len(shards) if len(shards) > 1 else 0
    return {
        "shard_count": count,
        "stripe_size": 8 if count else None,
        "shards": {
            f"{number:02x}{count:02x}": {"pageservers": [{"libpq_url": url} for url in urls]}
            for number, urls in enumerate(shards)
        },
    }


def test_the_file_lists_them() -> None:
    """The first of each shard is in use; no password and no double gets into the file."""
    rendered = made(pageserver_connection_info=info((A, None, C, A), (B,)))
    assert rendered.upstream == (
        "# upstream: the servers that this one depends on\n"
        f"# pageservers of shard 0: {A},{PLAIN_C}\n"
        "neon.stripe_size = '8'\n"
        f"neon.pageserver_connstring = '{A},{B}'\n"
    )
    assert "secret" == rendered.storage_token
    assert Candidates((A, B), ((A, PLAIN_C), (B,))) == Body.read(rendered.body).candidates


@pytest.mark.parametrize(
    ("live", "in_use"),
    [
        (None, (A, B)),
        (Candidates((B, B), NAMED), (B, B)),
        (Candidates((B, B), ((B, A), (B,))), (A, B)),
        (Candidates((B,), ((A, B),)), (A, B)),
    ],
)
def test_what_is_in_use_stays_while_the_list_is_the_same(
    live: Candidates | None, in_use: tuple[str, ...]
) -> None:
    """A document that prefers another one, or has other shards, begins with the first."""
    assert Candidates(in_use, NAMED) == Candidates.choose(NAMED, live)


def test_another_one_is_written() -> None:
    """The file differs in the list of those in use, and reads back."""
    rendered = made({"work_mem": "1MB"}, pageserver_connection_info=info((A, B), (B,)))
    candidates = Body.read(rendered.body).candidates
    assert ((B,), ()) == (candidates.others(0), candidates.others(1))

    moved = candidates.using({0: B})
    body = rendered.rest + moved.written_to(rendered.upstream)

    assert body == rendered.body.replace(f"= '{A},{B}'", f"= '{B},{B}'")
    assert moved == Body.read(body).candidates
    assert (A,) == moved.others(0)


def test_an_edited_list_counts_as_none() -> None:
    """Where it does not name what is in use."""
    rendered = made(pageserver_connection_info=info((A, B)))
    body = rendered.body.replace(f"= '{A}'", "= 'host=x'")
    assert Candidates(("host=x",), (("host=x",),)) == Body.read(body).candidates


@pytest.mark.parametrize(
    ("urls", "path", "reason"),
    [
        ((A, "host=b,c"), "[1].libpq_url", "comma"),
        ((None, None), "[0].libpq_url", "missing"),
        ((A,) * 17, "", "17 pageservers exceed the limit of 16"),
    ],
)
def test_bad_lists_are_refused(urls: tuple[str | None, ...], path: str, reason: str) -> None:
    """With the field and the reason."""
    where = f"spec.pageserver_connection_info.shards.0000.pageservers{path}"
    with pytest.raises(SpecError) as caught:
        made(pageserver_connection_info=info(urls))
    assert where == caught.value.path
    assert reason in str(caught.value)
