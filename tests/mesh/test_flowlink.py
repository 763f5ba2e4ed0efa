import pytest
import trio
import trio.testing

from edged.errors import ProtocolError
from edged.mesh.flowlink import MAX_QUEUED, FlowLink
from edged.wire.codec import framed
from edged.wire.peer import FLOWS, MAX_DATAGRAM, Datagram, Ended, Flow, Said


async def test_words_go_both_ways_in_their_order() -> None:
    here, there = trio.testing.memory_stream_pair()
    heard: dict[str, list[Said]] = {"near": [], "far": []}
    near, far = FlowLink(heard["near"].append), FlowLink(heard["far"].append)
    words: list[Said] = [Flow(1, "default", "dns", 53, "dns-0"), Datagram(1, b"x" * MAX_DATAGRAM), Datagram(1, b""), Ended(1)]
    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(near.run, here)
            nursery.start_soon(far.run, there)
            for word in words:
                near.send(word)
            far.send(Ended(2, "why"))
            await trio.testing.wait_all_tasks_blocked()
            assert heard == {"near": [Ended(2, "why")], "far": words}
            nursery.cancel_scope.cancel()


async def test_a_full_queue_drops_the_oldest() -> None:
    link = FlowLink(lambda said: None)
    for number in range(40):
        link.send(Datagram(number, b"x" * MAX_DATAGRAM))
    assert link.dropped == 40 - MAX_QUEUED // len(framed(FLOWS.encode(Datagram(39, b"x" * MAX_DATAGRAM))))
    here, there = trio.testing.memory_stream_pair()
    heard: list[Said] = []
    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(link.run, here)
            nursery.start_soon(FlowLink(heard.append).run, there)
            await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
    assert [said.flow for said in heard] == list(range(link.dropped, 40))


@pytest.mark.parametrize("data", [b"\xff\xff\xff\xff", framed(b"nonsense"), framed(b"")])
async def test_nonsense_ends_it(data: bytes) -> None:
    here, there = trio.testing.memory_stream_pair()
    await there.send_all(data)
    with trio.fail_after(60), pytest.RaisesGroup(ProtocolError):
        await FlowLink(lambda said: None).run(here)
