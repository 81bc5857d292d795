"""Reading the server's complaints about a candidate."""

from compute_ctl.store.conf_check import findings, line_of

OUTPUT = """\
LOG:  unrecognized configuration parameter "foo" in file "/d/cand.conf" line 4
LOG:  invalid value for parameter "log_statement": "nope"
HINT:  Available values: none, ddl, mod, all.
LOG:  syntax error in file "/d/cand.conf" line 2, near token "'"
LOG:  1 kB is outside the valid range for parameter "work_mem" (64 .. 2147483647)
LOG:  invalid value for parameter "primary_conninfo": "a
\tb"
FATAL:  configuration file "/d/cand.conf" contains errors
"""


def test_each_message_is_one_finding() -> None:
    """Name, place and reason are taken apart; hints and continuation lines join their message."""
    found = [(f.name, f.file, f.line, f.reason) for f in findings(OUTPUT)]
    assert [
        ("foo", "/d/cand.conf", 4, 'unrecognized configuration parameter "foo"'),
        (
            "log_statement",
            None,
            None,
            'invalid value for parameter "log_statement": "nope"'
            " (Available values: none, ddl, mod, all)",
        ),
        (None, "/d/cand.conf", 2, 'syntax error, near token "\'"'),
        (
            "work_mem",
            None,
            None,
            '1 kB is outside the valid range for parameter "work_mem" (64 .. 2147483647)',
        ),
        (
            "primary_conninfo",
            None,
            None,
            'invalid value for parameter "primary_conninfo": "a b"',
        ),
    ] == found


def test_no_complaint_no_finding() -> None:
    """An empty output and one of other programs say nothing."""
    assert [] == findings("")
    assert [] == findings("5432\nsh: something else\n")
    assert [] == findings('FATAL:  could not open file "x"\n')


def test_missing_optional_file_is_harmless() -> None:
    """An include_if_exists without a file is mentioned by the server, and no fault."""
    skipped = 'LOG:  skipping missing configuration file "/d/x.conf"\n'
    assert len(findings(skipped + OUTPUT)) == len(findings(OUTPUT))


def test_last_line_that_sets_a_name_is_found() -> None:
    """The last assignment counts, in any case and with or without the equals sign."""
    text = "work_mem = 1\n# work_mem = 2\n  Work_Mem 3\nwork_mem_x = 4\n"
    assert 3 == line_of("work_mem", text)
    assert line_of("absent", text) is None
