import socket

import pytest
import trio

from edged.errors import UnreachableError
from edged.mesh import udp


async def test_datagrams_come_whole_with_their_sender_until_it_is_closed(nursery: trio.Nursery) -> None:
    heard: list[tuple[bytes, tuple[str, int]]] = []
    done, two = trio.Event(), trio.Event()
    sock = udp.bound("127.0.0.1", 0)

    def handle(data: bytes, sender: tuple[str, int]) -> None:
        heard.append((data, sender))
        if len(heard) == 2:
            two.set()

    async def run() -> None:
        await udp.receive(sock, handle)
        done.set()

    nursery.start_soon(run)
    with trio.fail_after(60):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.connect(sock.getsockname())
            for data in (b"x" * 65507, b""):
                client.send(data)
            await two.wait()
            assert heard == [(b"x" * 65507, client.getsockname()), (b"", client.getsockname())]
        udp.close(sock)
        await done.wait()
    udp.close(sock)


async def test_a_pod_that_refuses_ends_the_reading(nursery: trio.Nursery) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    sock = udp.connected("127.0.0.1", port)
    sock.send(b"x")
    with trio.fail_after(60):
        await udp.receive(sock, lambda data, sender: None)
    udp.close(sock)


async def test_no_way_there_is_said() -> None:
    with pytest.raises(UnreachableError, match=r"255\.255\.255\.255:9/UDP: "):
        udp.connected("255.255.255.255", 9)
