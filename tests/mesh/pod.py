"""A pod of its own address, run in its namespace: answers HTTP on TCP port 80 and datagrams on UDP port 53.

Each answer says who the pod saw. Prints "ready"; ends with its input.
"""

import sys
from functools import partial

import trio
from trio.abc import HalfCloseableStream

NAME, ADDRESS = sys.argv[1:3]


async def http(stream: trio.SocketStream) -> None:
    async with stream:
        client = stream.socket.getpeername()[0]
        await answer(f"{NAME} saw {client}\n".encode(), stream)


async def answer(body: bytes, stream: HalfCloseableStream) -> None:
    request = b""
    while b"\r\n\r\n" not in request:
        request += await stream.receive_some(4096) or b"\r\n\r\n"
    await stream.send_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
    await stream.send_eof()


async def datagrams(udp: trio.socket.SocketType) -> None:
    while True:
        data, client = await udp.recvfrom(65535)
        await udp.sendto(f"{NAME} saw {client[0]}:{client[1]} ".encode() + data if len(data) < 1000 else data, client)


async def main() -> None:
    with trio.socket.socket(trio.socket.AF_INET, trio.socket.SOCK_DGRAM) as udp:
        await udp.bind((ADDRESS, 53))
        async with trio.open_nursery() as nursery:
            await nursery.start(partial(trio.serve_tcp, http, 80, host=ADDRESS))
            nursery.start_soon(datagrams, udp)
            print("ready", flush=True)  # noqa: T201
            await trio.to_thread.run_sync(sys.stdin.read)
            nursery.cancel_scope.cancel()


trio.run(main)
