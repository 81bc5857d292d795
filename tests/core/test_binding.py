from enum import IntEnum

import pytest

import pg_hook
from pg_hook import HookError, ffi, lib

ENUMS: list[tuple[str, str, type[IntEnum]]] = [
    ("enum pgh_request_type", "PGH_REQUEST_", pg_hook.RequestType),
    ("enum pgh_response_type", "PGH_RESPONSE_", pg_hook.ResponseType),
    ("enum pgh_source", "PGH_SOURCE_", pg_hook.Source),
    ("enum pgh_phase", "PGH_PHASE_", pg_hook.Phase),
    ("enum pgh_cause", "PGH_CAUSE_", pg_hook.Cause),
    ("enum pgh_trouble", "PGH_TROUBLE_", pg_hook.Trouble),
    ("enum pgh_certainty", "PGH_CERTAINTY_", pg_hook.Certainty),
]


@pytest.mark.parametrize(("c_name", "prefix", "python"), ENUMS)
def test_enums_are_those_of_the_header(c_name: str, prefix: str, python: type[IntEnum]) -> None:
    """Each Python enum has the members and numbers of the C enum."""
    declared = {
        name.removeprefix(prefix): number
        for number, name in ffi.typeof(c_name).elements.items()
        if not name.endswith("_COUNT")
    }
    assert {member.name: member.value for member in python} == declared


def test_every_result_has_a_text_of_its_own() -> None:
    """No two results read alike, none is unknown, and they follow the message style."""
    texts = [ffi.string(lib.pgh_result_text(code)).decode() for code in range(lib.PGH_RESULT_COUNT)]
    assert len(set(texts)) == lib.PGH_RESULT_COUNT
    assert "unknown result" not in texts
    assert not [text for text in texts if text.endswith(".") or text.startswith("Could")]


@pytest.mark.parametrize("code", [-1, 31, 1000])
def test_result_outside_the_enum(code: int) -> None:
    """A number that is no result still has a text."""
    result = ffi.cast("enum pgh_result", code)
    assert b"unknown result" == ffi.string(lib.pgh_result_text(result))


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (lib.pgh_source_text, ["pageserver", "safekeeper", "primary", "unknown"]),
        (lib.pgh_phase_text, ["connect", "startup", "pagestream", "response", "unknown"]),
        (lib.pgh_trouble_text, ["none", "dead", "silent", "wrong", "nonsense", "unknown"]),
        (lib.pgh_certainty_text, ["none", "suspect", "certain", "unknown"]),
    ],
)
def test_words(function: "object", words: list[str]) -> None:
    """Views and JSON show these words."""
    assert callable(function)
    assert [ffi.string(function(i)).decode() for i in range(len(words))] == words


def test_error_carries_code_name_and_reason() -> None:
    """An exception says what was attempted, why it failed and where."""
    with pytest.raises(HookError) as caught:
        pg_hook.parse_shard_map("host=a,,host=b")
    assert "ENTRY_EMPTY" == caught.value.name
    assert str(caught.value) == (
        "could not parse list of shards: connection string is empty (entry 1)"
    )


def test_nul_in_text_is_refused() -> None:
    """A NUL would make C see a shorter text than Python."""
    with pytest.raises(HookError, match="text contains a NUL"):
        pg_hook.parse_shard_map("host=a\0,host=b")
