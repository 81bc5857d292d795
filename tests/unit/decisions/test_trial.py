"""Which settings may be judged by a session, and which only by the server's binary."""

import pytest

from compute_ctl.decisions.trial import MAX_SETTINGS, settings_to_try
from compute_ctl.document.quoting import setting_line

HEAD = "port = 6000 # as somebody wrote it\ninclude_if_exists = 'more.conf'\n# settings\n"


def rest(**settings: str) -> str:
    """Return a text with *settings*, `__` for a dot in a name."""
    lines = (setting_line(name.replace("__", "."), value) for name, value in settings.items())
    return HEAD + "".join(lines)


PROVEN = rest(work_mem="4MB", neon__tenant_id="a", jit="on")


@pytest.mark.parametrize(
    ("candidate", "tried"),
    [
        (PROVEN, {}),
        (rest(work_mem="5MB", neon__tenant_id="a", jit="on"), {"work_mem": "5MB"}),
        (
            rest(work_mem="it's", neon__tenant_id="a", jit="", lc_time="C"),
            {"work_mem": "it's", "jit": "", "lc_time": "C"},
        ),
        # The binary loads no library, and takes anything.
        (rest(work_mem="4MB", neon__tenant_id="b", jit="on", my__own="x"), {}),
        # The last one counts.
        (PROVEN + "jit = 'nonsense'\njit = 'off'\n", {"jit": "off"}),
    ],
    ids=["none", "one", "several", "of libraries", "twice"],
)
def test_what_is_tried(candidate: str, tried: dict[str, str]) -> None:
    """What is new or changed, with the value that counts."""
    assert tried == settings_to_try(PROVEN, candidate)


@pytest.mark.parametrize(
    "candidate",
    [
        rest(work_mem="4MB", neon__tenant_id="a"),
        PROVEN + "include = 'other.conf'\n",
        PROVEN.replace("more.conf", "other.conf"),
        PROVEN.replace("port = 6000", "port = 6001"),
        PROVEN + "work_mem = 5MB\n",
        PROVEN + "Work_Mem = '5MB'\n",
        PROVEN + "work_mem = '5MB' # more\n",
        PROVEN + "# a comment\n",
        PROVEN + "no setting at all\n",
        PROVEN + "work_mem = '5MB\n",
        PROVEN + "my.own.setting = 'x'\n",
        PROVEN + "search_path = 'é'\n",
        PROVEN + setting_line("search_path", "x" * 2000),
        PROVEN + "".join(setting_line(f"setting_{number}", "x") for number in range(99)),
        *(
            PROVEN + setting_line(name, "on")
            for name in (
                "role",
                "session_authorization",
                "transaction_read_only",
                "transaction_timeout",
                "seed",
                "client_encoding",
                "log_statement_stats",
                "log_parser_stats",
                "default_tablespace",
                "temp_tablespaces",
                "default_text_search_config",
            )
        ),
    ],
)
def test_what_only_the_binary_can_judge(candidate: str) -> None:
    """Anything but a plain line of ours, and settings that mean more than their value."""
    assert None is settings_to_try(PROVEN, candidate)


def test_number_of_settings() -> None:
    """As many as there may be are tried."""
    many = "".join(setting_line(f"setting_{number}", "x") for number in range(MAX_SETTINGS))
    tried = settings_to_try(PROVEN, PROVEN + many)
    assert tried is not None
    assert MAX_SETTINGS == len(tried)
