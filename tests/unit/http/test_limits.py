"""What a listener may log."""

from compute_common.http.request_log import LogLimit, shown_path


def test_a_flood_is_not_logged() -> None:
    """A burst is, then a few a second; what was left out is counted once."""
    limit = LogLimit(burst=10, per_second=2.0)

    assert 10 == sum(limit.take(100.0) for _ in range(1000))
    assert 990 == limit.told()
    assert [True, True, False] == [limit.take(101.0) for _ in range(3)]
    assert (1, 0) == (limit.told(), limit.told())


def test_long_paths_are_cut() -> None:
    """What is usual is shown whole."""
    assert "/status" == shown_path("/status")
    assert f"/{'x' * 199}... (8000 characters)" == shown_path("/" + "x" * 7999)
