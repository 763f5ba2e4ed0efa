from collections.abc import Sequence

import pytest

from edged.kit.direct import Direct, Take


class Loop(Direct):
    """Gives back what it took, at most `room` bytes at a time."""

    def __init__(self, room: int) -> None:
        self.held, self.room = b"", room

    def take(self, pieces: Sequence[bytes | memoryview]) -> int:
        taken = b"".join(pieces)[: self.room - len(self.held)]
        self.held += taken
        return len(taken)

    async def forward(self, take: Take) -> bytes:
        data, self.held = self.held, b""
        return data[take((data,)) :]

    def end(self) -> None:
        self.room = 0

    def close(self) -> None:
        self.room = 0

    def abort(self) -> None:
        self.room = 0


async def test_what_does_not_fit_is_left_over() -> None:
    one, other = Loop(10), Loop(4)
    assert one.take((b"all of ", memoryview(b"it"))) == 9
    assert await one.forward(other.take) == b"of it"
    assert other.held == b"all "
    other.abort()
    assert other.take((b"more",)) == 0


def test_a_stream_must_have_all_of_it() -> None:
    class Half(Direct):
        def abort(self) -> None:
            pass

    with pytest.raises(TypeError, match=r"forward.*take|take.*forward"):
        Half()  # type: ignore[abstract]
