from typing import Any

import pytest
import trio
import trio.testing

from edged.hub.peer import Peer


class Link:
    """As much of a connection as a Peer asks for."""

    def __init__(self, *, wanted: bool | None) -> None:
        self.wanted = wanted


@pytest.mark.parametrize(
    ("here", "there", "neighbour"),
    [(True, None, True), (True, False, True), (False, True, True), (False, False, False), (False, None, False)],
)
def test_a_neighbour_is_linked_and_one_end_wants_it(here: bool, there: bool | None, neighbour: bool) -> None:
    link: Any = Link(wanted=there)
    assert Peer("gw-b", (), wanted=here, connection=link).neighbour is neighbour
    assert not Peer("gw-b", (), wanted=here).neighbour


async def test_who_waits_is_woken_at_each_change() -> None:
    peer = Peer("gw-b", (), wanted=True)
    for _ in range(2):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(peer.changed.wait)
            await trio.testing.wait_all_tasks_blocked()
            peer.change()
