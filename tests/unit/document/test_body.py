"""The body of a configuration file tells its parts."""

import pytest

from compute_ctl.document.body import Body, log_is_elsewhere, split_body
from compute_ctl.document.candidates import Candidates
from tests.unit.document.rendering import A, B, made


def test_parts_combine() -> None:
    """The rest of one and the upstream part of another make a body that splits again."""
    good = made({"work_mem": "1MB"}, pageserver_connstring=A)
    new = made({"work_mem": "nonsense"}, pageserver_connstring=B)

    body = good.rest + new.upstream

    assert split_body(body) == (good.rest, new.upstream)
    assert split_body(new.body) == (new.rest, new.upstream)
    assert 1 == body.count("pageserver_connstring")


def test_text_cannot_pretend_to_be_the_upstream_part() -> None:
    """A comment like ours in the text does not split the body there."""
    rendered = made(text="a=1\n# upstream: the servers that this one depends on\nwork_mem = 1\n")

    assert split_body(rendered.body) == (rendered.rest, rendered.upstream)


def test_foreign_body_has_no_upstream_part() -> None:
    """A file written by somebody else is all rest."""
    assert ("work_mem = 1\n", "") == split_body("work_mem = 1\n")


def test_body_tells_what_it_says() -> None:
    """Names and shard map can be read from a body alone, as of a fallback or an old generation."""
    rendered = made(
        {"work_mem": "1MB"}, text="a.b = 1\n", pageserver_connstring=f"{A},{B}", shard_stripe_size=7
    )

    body = Body.read(rendered.body)

    assert body == Body(
        rest=rendered.rest,
        upstream=rendered.upstream,
        candidates=Candidates((A, B), ((A,), (B,))),
        stripe_size=7,
        names=rendered.names,
        servers=rendered.servers,
    )
    assert Body.read("x\n'").names == frozenset()


@pytest.mark.parametrize(
    ("text", "attach", "elsewhere"),
    [
        ("neon.safekeepers = 'a:1'\nshared_preload_libraries = 'neon,x'\n", False, True),
        ("neon.safekeepers = 'a:1'\nshared_preload_libraries = 'x, \"neon\"'\n", True, True),
        ("neon.safekeepers = 'a:1'\nshared_preload_libraries = 'neon_refresh'\n", True, False),
        ("neon.safekeepers = 'a:1'\n", False, False),
        ("neon.safekeepers = 'a:1'\n", True, True),
        ("shared_preload_libraries = 'neon'\n", False, False),
    ],
)
def test_who_keeps_the_log(text: str, attach: bool, elsewhere: bool) -> None:
    """Neon's library with safekeepers; what a file beside others does not say is left open."""
    assert elsewhere == log_is_elsewhere(text, attach=attach)
