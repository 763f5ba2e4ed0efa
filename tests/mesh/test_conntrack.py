import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edged.mesh import conntrack

ROOT = Path(__file__).parents[2]
SPACE = f"edged-conntrack-{os.getpid()}"
RULES = (
    "table ip x { chain o { type nat hook output priority -100; ip daddr 127.9.9.9 udp dport 53 dnat to 127.0.0.5:5353; }; }"
)
SEND = "import socket; socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', ('127.9.9.9', 53))"
FORGET = """
from edged.mesh.conntrack import forget
door, pod, other = ("127.9.9.9", 53), ("127.0.0.5", 5353), ("127.0.0.6", 5353)
print(forget({("127.9.9.9", 54): []}), forget({door: [pod, other]}), forget({door: [other]}), forget({door: [other]}))
"""


CALLED = """
import socket
from edged.mesh.conntrack import called
here, other, stranger = ("127.0.0.5", 5353), ("127.0.0.5", 5354), ("127.0.0.9", 1)
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as proxy, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
    proxy.bind(here)
    client.sendto(b"x", ("127.9.9.9", 53))
    _, sender = proxy.recvfrom(1)
    print(called(here, sender), called(other, sender), called(here, stranger))
"""


@pytest.mark.root
@pytest.mark.tool("nft")
def test_whom_a_client_called(space: list[str]) -> None:
    subprocess.run([*space, "nft", RULES], check=True, timeout=60)
    argv = [*space, sys.executable, "-c", CALLED]
    done = subprocess.run(argv, check=True, capture_output=True, text=True, timeout=60, cwd=ROOT)
    assert done.stdout == "('127.9.9.9', 53) None None\n"


@pytest.fixture
def space() -> Iterator[list[str]]:
    """Runs a program in a network namespace of the test's own."""
    subprocess.run(["ip", "netns", "add", SPACE], check=True, timeout=60)
    try:
        subprocess.run(["ip", "-n", SPACE, "link", "set", "lo", "up"], check=True, timeout=60)
        yield ["ip", "netns", "exec", SPACE]
    finally:
        subprocess.run(["ip", "netns", "delete", SPACE], check=True, timeout=60)


def run(*argv: str) -> str:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(argv, capture_output=True, text=True, check=True, timeout=60, env=environment).stdout


@pytest.mark.root
@pytest.mark.tool("nft")
def test_flows_to_who_is_gone_are_forgotten_and_no_others(space: list[str]) -> None:
    run(*space, "nft", RULES)
    run(*space, sys.executable, "-W", "ignore", "-c", SEND)
    assert run(*space, sys.executable, "-c", FORGET).split() == ["0", "0", "1", "0"]


def flow(protocol: int = 17) -> bytes:
    def one(which: int, source: bytes, destination: bytes, ports: tuple[int, int]) -> bytes:
        a = conntrack._attribute
        ip = a(1, source) + a(2, destination)
        proto = a(1, bytes([protocol])) + a(2, ports[0].to_bytes(2, "big")) + a(3, ports[1].to_bytes(2, "big"))
        return a(which | conntrack.NESTED, a(1 | conntrack.NESTED, ip) + a(2 | conntrack.NESTED, proto))

    client, door, pod = b"\x0a\x00\x00\x01", b"\x09\xfb\x01\x02", b"\xac\x11\x00\x02"
    return one(1, client, door, (4000, 53)) + one(2, pod, client, (5353, 4000))


def test_a_flow_is_read() -> None:
    found = conntrack.tracked(flow())
    assert found is not None
    assert (found.called, found.answers) == (("9.251.1.2", 53), ("172.17.0.2", 5353))
    assert flow().startswith(found.raw)
    assert conntrack.tracked(flow(6)) is None


@given(st.one_of(st.binary(max_size=120), st.tuples(st.integers(0, 119), st.integers(0, 255))))
def test_whatever_the_kernel_says_is_no_error(damage: bytes | tuple[int, int]) -> None:
    if isinstance(damage, bytes):
        conntrack.tracked(damage)
    else:
        data = bytearray(flow())
        data[damage[0] % len(data)] = damage[1]
        conntrack.tracked(bytes(data))
