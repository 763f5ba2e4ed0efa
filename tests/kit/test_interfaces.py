import ipaddress
import subprocess
import sys

import pytest

from edged.kit.interfaces import _addresses, _messages, multicast_interfaces, networks, own_addresses


def test_no_loopback_and_no_duplicates() -> None:
    found = own_addresses(ipv6=True)
    assert len(found) == len(set(found))
    assert not any(ipaddress.ip_address(host).is_loopback for host in found)
    assert set(own_addresses(ipv6=False)) == {host for host in found if ":" not in host}


@pytest.mark.root
@pytest.mark.tool("ip")
def test_the_addresses_of_a_namespace() -> None:
    script = """
set -e
ip link add one type veth peer name two
ip addr add 10.9.8.7/24 dev one
ip addr add 10.9.8.6/32 dev one
ip addr add 169.254.96.16/32 dev one
ip addr add fd00::5/64 dev one nodad
ip link set one up
exec "$0" -c 'from edged.kit.interfaces import own_addresses as o; print(sorted(o(ipv6=False)), sorted(o(ipv6=True)))'
"""
    run = subprocess.run(
        ["unshare", "--net", "sh", "-c", script, sys.executable], capture_output=True, text=True, timeout=60, check=True
    )
    assert run.stdout.strip() == "['10.9.8.6', '10.9.8.7'] ['10.9.8.6', '10.9.8.7', 'fd00::5']"


@pytest.mark.root
@pytest.mark.tool("ip")
def test_interfaces_that_carry_multicast() -> None:
    script = """
set -e
for name in one two three four; do ip link add $name type veth peer name far-$name; done
ip addr add 10.9.8.7/24 dev one
ip addr add 10.9.8.6/32 dev one
ip addr add 10.9.7.7/24 dev two
ip addr add 10.9.6.7/24 dev three
ip addr add 169.254.96.16/32 dev four
ip link set one up multicast on
ip link set two up multicast off
ip link set four up multicast on
exec "$0" -c 'from edged.kit.interfaces import multicast_interfaces as m; print(sorted(m().values()))'
"""
    run = subprocess.run(
        ["unshare", "--net", "sh", "-c", script, sys.executable], capture_output=True, text=True, timeout=60, check=True
    )
    assert run.stdout.strip() == "[['10.9.8.7', '10.9.8.6']]"


def test_what_is_sent_on_is_among_our_addresses() -> None:
    addresses = {address for found in multicast_interfaces().values() for address in found}
    assert addresses <= set(own_addresses(ipv6=False))


def test_networks_by_interface() -> None:
    found = networks()
    assert ipaddress.IPv4Interface("127.0.0.1/8") in found["lo"]
    hosts = {str(each.ip) for addresses in found.values() for each in addresses}
    assert set(own_addresses(ipv6=False)) <= hosts


def test_cut_answers_of_the_kernel_are_left_out() -> None:
    assert list(_messages(b"\x00" * 15)) == []
    assert list(_addresses(b"\x00" * 8 + b"\x08\x00\x02\x00\x0a\x00\x00\x01")) == [ipaddress.ip_address("10.0.0.1")]
    assert list(_addresses(b"\x00" * 11)) == []


@pytest.mark.root
@pytest.mark.tool("ip")
def test_routes_and_the_way_out() -> None:
    script = """
set -e
mount -t sysfs none /sys
ip link add one type veth peer name two
ip addr add 10.9.8.7/24 dev one
ip link set one up
ip link set two up
"$0" -c 'from edged.kit.interfaces import *; print(way_out_mtu())'
ip link set one mtu 1428
ip route add 10.42.0.0/16 via 10.9.8.1
ip route add default via 10.9.8.1
ip route add blackhole 10.43.0.0/16
ip route add local 240.42.0.0/16 dev one table local
exec "$0" -c 'from edged.kit.interfaces import *; print(sorted(f"{n} {i}" for n, i in routes()), way_out_mtu())'
"""
    run = subprocess.run(
        ["unshare", "--net", "--mount", "sh", "-c", script, sys.executable],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert run.stdout.splitlines() == ["1500", "['0.0.0.0/0 one', '10.42.0.0/16 one', '10.9.8.0/24 one'] 1428"]
