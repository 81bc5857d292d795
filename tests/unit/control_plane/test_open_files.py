"""How many polls and connections the limit of open files allows."""

import pytest

from control_plane.app.open_files import Room, room_in


@pytest.mark.parametrize(
    ("files", "connections", "held"),
    [
        (21_400, 21_000, 20_000),
        (100_000, 99_600, 20_000),
        (20_000, 19_600, 18_600),
        (2_000, 1_600, 800),
        (1_024, 624, 312),
        (64, 64, 32),
    ],
)
def test_room(files: int, connections: int, held: int) -> None:
    """Some connections are kept for what is not held; of few, half are."""
    assert Room(connections=connections, held=held) == room_in(files, 20_000)
