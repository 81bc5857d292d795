import pytest
from hypothesis import given
from hypothesis import strategies as st

from pg_hook import ffi, jitter_us, lib, reconnect_delay_us

RANDOM = st.integers(0, 2**64 - 1)
MS = 1000


def test_random_is_splitmix64() -> None:
    """The generator gives the published sequence of seed 1234567."""
    seed = ffi.new("uint64_t *", 1234567)
    assert [lib.pgh_random(seed) for _ in range(3)] == [
        6457827717110365317,
        3203168211198807973,
        9817491932198370423,
    ]


@pytest.mark.parametrize(
    ("attempt", "ceiling"),
    [(0, 50), (1, 100), (2, 200), (6, 3200), (7, 5000), (8, 5000), (2**32 - 1, 5000)],
)
def test_jitter_reaches_its_ceiling(attempt: int, ceiling: int) -> None:
    """The smallest and the largest random number give the ends of the range."""
    low = jitter_us(50 * MS, 5000 * MS, attempt=attempt, random=0)
    assert 50 * MS == low
    span = (ceiling - 50) * MS + 1
    high = jitter_us(50 * MS, 5000 * MS, attempt=attempt, random=span - 1)
    assert high == ceiling * MS


@given(
    low=st.integers(0, 2**64 - 1),
    high=st.integers(0, 2**64 - 1),
    attempt=st.integers(0, 2**32 - 1),
    random=RANDOM,
)
def test_jitter_stays_in_range(low: int, high: int, attempt: int, random: int) -> None:
    """For any settings, even swapped ones, the delay never exceeds the maximum."""
    delay = jitter_us(low, high, attempt=attempt, random=random)
    assert min(low, high) <= delay <= high


def test_jitter_is_spread() -> None:
    """Many that failed together do not come back together: each tenth gets its share."""
    seed = ffi.new("uint64_t *", 1)
    tenths = [0] * 10
    for _ in range(10_000):
        delay = jitter_us(0, 1000, attempt=20, random=lib.pgh_random(seed))
        tenths[min(delay // 100, 9)] += 1
    assert min(tenths) > 850
    assert max(tenths) < 1150


@pytest.mark.parametrize(
    ("failures", "longest"),
    [(1, 1), (2, 2), (3, 4), (10, 512), (11, 1000), (12, 1000), (2**32 - 1, 1000)],
)
def test_reconnect_delay(failures: int, longest: int) -> None:
    """The delay grows from 1 ms to 1 s."""
    assert MS == reconnect_delay_us(failures, random=0)
    assert reconnect_delay_us(failures, random=(longest - 1) * MS) == longest * MS


@given(failures=st.integers(1, 2**32 - 1), random=RANDOM)
def test_reconnect_delay_range(failures: int, random: int) -> None:
    """No failed shard is tried more often than once a millisecond or less than once a second."""
    assert MS <= reconnect_delay_us(failures, random=random) <= 1000 * MS


def test_no_failure_no_delay() -> None:
    """A shard that has not failed since its last useful answer is connected to at once."""
    assert 0 == reconnect_delay_us(0, random=2**64 - 1)
