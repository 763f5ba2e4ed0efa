import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from build import lab as module
from build.lab import NAT, RELAY, SITE, Lab, Lan, Places

ROOT = Path(__file__).parents[2]

pytestmark = [pytest.mark.root, pytest.mark.tool("nft"), pytest.mark.tool("ip")]

ECHO = """
import socket, sys
served = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
served.bind(("0.0.0.0", 7777))
print("ready", flush=True)
while True:
    data, sender = served.recvfrom(2048)
    served.sendto(repr(sender).encode(), sender)
"""
ASK = """
import socket, sys
asking = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
asking.bind(("0.0.0.0", 4000))
asking.settimeout(float(sys.argv[2]))
try:
    asking.sendto(b"where am I", (sys.argv[1], 7777))
    print(asking.recv(2048).decode())
except OSError as error:
    print(type(error).__name__)
"""


def served(lab: Places, place: str) -> subprocess.Popen[bytes]:
    server = lab.popen(place, [sys.executable, "-c", ECHO], stdout=subprocess.PIPE)
    assert server.stdout is not None
    assert server.stdout.readline() == b"ready\n"
    return server


def ended(server: subprocess.Popen[bytes]) -> None:
    server.terminate()
    server.wait()
    assert server.stdout is not None
    server.stdout.close()


def ask(lab: Places, place: str, address: str, seconds: float = 10) -> str:
    return lab.run(place, [sys.executable, "-c", ASK, address, str(seconds)]).stdout.strip()


def test_both_sites_reach_the_public_network_from_their_nats_address(lab: Lab) -> None:
    server = served(lab, "public")
    try:
        for site in ("a", "b"):
            assert ask(lab, site, RELAY) == repr((NAT[site], 4000))  # an easy NAT keeps the port
    finally:
        ended(server)


def test_no_site_is_reached_from_outside(lab: Lab) -> None:
    server = served(lab, "b")
    try:
        assert ask(lab, "b", SITE["b"]) == repr((SITE["b"], 4000))  # it does answer at home
        assert ask(lab, "a", SITE["b"], 1) in ("TimeoutError", "OSError")
        assert ask(lab, "a", NAT["b"], 1) in ("TimeoutError", "OSError")
        assert ask(lab, "public", NAT["b"], 1) in ("TimeoutError", "OSError")
    finally:
        ended(server)


def test_a_symmetric_nat_hides_the_port() -> None:
    with Lab(symmetric=True) as lab:
        server = served(lab, "public")
        try:
            seen = [ask(lab, "a", RELAY) for _ in range(2)]
            assert all(NAT["a"] in answer for answer in seen)
            assert seen != [repr((NAT["a"], 4000))] * 2
        finally:
            ended(server)


def test_the_cables_carry_1500_bytes(lab: Lab) -> None:
    shown = lab.run("a", ["ip", "-o", "link", "show", "eth0"]).stdout
    assert "mtu 1500" in shown


def test_a_place_has_a_resolver_of_its_own(lab: Lab) -> None:
    lab.set_resolver("a", "169.254.96.16")
    assert "nameserver 169.254.96.16\n" in lab.run("a", ["cat", "/etc/resolv.conf"]).stdout
    assert "169.254.96.16" not in lab.run("b", ["cat", "/etc/resolv.conf"]).stdout


@pytest.mark.tool("busybox")
def test_a_connection_begins_in_a_place(lab: Lab) -> None:
    server = lab.popen("public", ["busybox", "nc", "-l", "-p", "7000", "-e", "busybox", "echo", "welcome"])
    deadline = time.monotonic() + 10
    while True:
        try:
            with lab.connect("a", RELAY, 7000) as connection:
                assert connection.recv(100) == b"welcome\n"
            break
        except ConnectionRefusedError:
            assert time.monotonic() < deadline
            time.sleep(0.05)
    server.wait()


def test_nothing_is_left_and_programs_inside_end() -> None:
    with Lab() as lab:
        lab.set_resolver("b", "127.0.0.1")
        sleeper = lab.popen("b", ["sleep", "1000"])
        name = lab.name("b")
    assert sleeper.wait(10) != 0
    assert name not in module.names()
    assert not (module.ETC / name).exists()


def test_what_a_killed_owner_left_is_removed_by_the_next() -> None:
    script = "import time; from build.lab import Lab; Lab().__enter__(); print('made', flush=True); time.sleep(1000)"
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, cwd=ROOT) as owner:
        assert owner.stdout is not None
        assert owner.stdout.readline() == b"made\n"
        left = [name for name in module.names() if name.startswith(f"edged-{owner.pid}-")]
        assert len(left) == 5
        owner.kill()
    with Lab():
        assert not set(left) & set(module.names())
    assert not [name for name in module.names() if name.startswith(f"edged-{os.getpid()}-")]


def test_nodes_of_a_lan_reach_each_other_while_they_are_plugged_in() -> None:
    with Lan(3) as lan:
        assert lan.nodes == ["n1", "n2", "n3"]
        server = served(lan, "n3")
        try:
            for node in ("n1", "n2"):
                assert ask(lan, node, lan.address("n3")) == repr((lan.address(node), 4000))
            lan.plug("n3", plugged=False)
            assert ask(lan, "n1", lan.address("n3"), 1) in ("TimeoutError", "OSError")
            lan.plug("n3", plugged=True)
            assert ask(lan, "n1", lan.address("n3")) == repr((lan.address("n1"), 4000))
        finally:
            ended(server)


def test_a_lan_has_as_many_nodes_as_its_network_has_addresses() -> None:
    for nodes in (0, 251):
        with pytest.raises(ValueError, match="expected 1 to 250"):
            Lan(nodes)
