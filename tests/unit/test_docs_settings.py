"""The check that compares docs/settings.md with the extension's source."""

from pathlib import Path

import pytest

from tools.check_settings import MANUAL, ROOT, Setting, defined, differences, documented, truth_of

CALLS = """
static const struct config_enum_entry options[] = {
    { "red", RED, false }, { "green", GREEN, true }, { NULL, 0, false } };
DefineCustomBoolVariable("neon_refresh.on", "Text, with (brackets).", NULL, &on, true, PGC_SIGHUP,
                         0, NULL, NULL, NULL);
DefineCustomStringVariable("neon_refresh.secret", "x", "More." /* why */, &secret, "",
                           PGC_SIGHUP, SUPERUSER_ONLY | GUC_LIST_INPUT, check, NULL, NULL);
DefineCustomIntVariable("neon.pages", "x", NULL, &pages, SOME, 1, INT_MAX, PGC_POSTMASTER,
                        GUC_UNIT_BLOCKS, NULL, NULL, NULL);
DefineCustomEnumVariable("neon.colour", "x", NULL, &colour, GREEN, options, PGC_USERSET, 0, NULL,
                         NULL, NULL);
define_ms("neon_refresh.pause", "x", NULL, &pause, 3000, 10, 600000, NULL);
"""
ROWS = """
| setting | type | default | range | changed by | meaning |
|---|---|---|---|---|---|
| `neon_refresh.on` | bool | `on` | | reload | it |
| `neon_refresh.secret` | list, hidden | `''` | | reload | it |
| `neon.pages` | pages | 77 | from 1 | restart | it |
| `neon.colour` | enum | `green` | | anyone | it |
| `neon_refresh.pause` | ms | 3 s | 10 ms to 10 min | reload | it |
"""


def read_calls(source: str = CALLS) -> dict[str, Setting]:
    """What the definitions in *source* say."""
    return dict(defined(source, {"SOME": "77", "INT_MAX": str(2**31 - 1)}))


def test_definitions_are_understood() -> None:
    """Type, default, range, context and secrecy come out of each kind of call."""
    expected = {
        "neon_refresh.on": Setting(
            kind="bool", default="on", range="", changed_by="reload", hidden=False
        ),
        "neon_refresh.secret": Setting(
            kind="list", default="", range="", changed_by="reload", hidden=True
        ),
        "neon.pages": Setting(
            kind="pages", default="77", range="from 1", changed_by="restart", hidden=False
        ),
        "neon.colour": Setting(
            kind="enum", default="green", range="", changed_by="anyone", hidden=False
        ),
        "neon_refresh.pause": Setting(
            kind="ms", default="3000", range="10 to 600000", changed_by="reload", hidden=False
        ),
    }

    assert expected == read_calls()


def test_manual_that_agrees() -> None:
    """A manual that says the same in people's units has no differences."""
    assert [] == list(differences(read_calls(), dict(documented(ROWS))))


@pytest.mark.parametrize(
    ("old", "new", "difference"),
    [
        ("| 77 |", "| 78 |", "setting neon.pages: default is '77', not '78'"),
        ("3 s", "4 s", "setting neon_refresh.pause: default is '3000', not '4000'"),
        ("from 1", "from 2", "setting neon.pages: range is 'from 1', not 'from 2'"),
        ("restart", "reload", "setting neon.pages: changed_by is 'restart', not 'reload'"),
        (", hidden", "", "setting neon_refresh.secret: hidden is True, not False"),
        ("| bool |", "| enum |", "setting neon_refresh.on: kind is 'bool', not 'enum'"),
    ],
)
def test_each_difference_is_found(old: str, new: str, difference: str) -> None:
    """One wrong cell is one line."""
    assert old in ROWS

    assert [difference] == list(
        differences(read_calls(), dict(documented(ROWS.replace(old, new, 1))))
    )


def test_missing_on_either_side() -> None:
    """A setting that only one side knows is told."""
    truth = read_calls(CALLS.replace("neon.colour", "neon.taste"))

    assert ["setting neon.colour does not exist", "setting neon.taste is missing"] == list(
        differences(truth, dict(documented(ROWS)))
    )


def test_definition_in_an_unknown_form(tmp_path: Path) -> None:
    """A setting that the source names without a call that is understood is an error, no silence."""
    (tmp_path / "core.h").write_text("#define SOME 77\n")
    (tmp_path / "guc.c").write_text(CALLS + 'define_colour("neon.other", RED);')

    with pytest.raises(ValueError, match=r"no definition was understood of neon\.other"):
        truth_of(tmp_path, tmp_path)


def test_our_manual() -> None:
    """docs/settings.md says what the source says."""
    truth = truth_of(ROOT / "extension", ROOT / "pg_hook/pgh")

    assert [] == list(differences(truth, dict(documented(MANUAL.read_text()))))
