import subprocess
from ipaddress import IPv4Network
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edged.mesh.policy import BY_CHANCE, BY_HASH, BY_LEAST, BY_TURNS
from edged.mesh.rules import SLOTS, ByAddress, Target, removal, ruleset, slots
from edged.mesh.table import Door

PROXY = "169.254.96.16"
POD, OTHER = ("172.17.0.2", 8080), ("172.17.0.3", 8080)
WEB, DB, NODE_PORT = Door("9.251.1.2", "TCP", 80), Door("9.251.1.3", "UDP", 53), Door("", "TCP", 30080)

PODS = ByAddress(IPv4Network("10.42.0.0/16"), ["10.42.7.0/24", "10.42.9.0/24"], ["docker0", "pods10-42-7"], 4000, 10042)
ADDRESSES = st.tuples(st.ip_addresses(v=4).map(str), st.integers(1, 65535))


def rules(targets: dict[Door, Target], networks: tuple[str, ...] = ()) -> str:
    return ruleset(targets, PROXY, networks)


def block(text: str, what: str) -> str:
    """What stands between the braces of a map, a set or a chain."""
    return text.split(f"\n{what} {{\n")[1].split("\n}", maxsplit=1)[0]


def test_the_table_is_replaced_whole() -> None:
    assert rules({}).startswith("table ip edged\ndelete table ip edged\n\ntable ip edged {\n")
    assert removal() == "table ip edged\ndelete table ip edged\n"


def test_a_door_with_pods_here_leads_to_them_and_else_to_the_proxy() -> None:
    text = rules({WEB: Target(4000, (POD,)), DB: Target(4001)})
    assert "elements = { 9.251.1.2 . tcp . 80 : 172.17.0.2 . 8080 }" in block(text, "map one")
    proxied = "9.251.1.2 . tcp . 80 : 169.254.96.16 . 4000, 9.251.1.3 . udp . 53 : 169.254.96.16 . 4001"
    assert f"elements = {{ {proxied} }}" in block(text, "map proxied")


def test_a_node_port_leads_to_the_proxy_always() -> None:
    text = rules({NODE_PORT: Target(4000, (POD,))})
    assert "elements = { tcp . 30080 : 169.254.96.16 . 4000 }" in block(text, "map node_ports")
    assert "elements" not in block(text, "map one")


def test_several_pods_share_the_calls() -> None:
    text = rules({WEB: Target(4000, (POD, OTHER))})
    assert "9.251.1.2 . tcp . 80 : goto pods_0" in block(text, "map several")
    choice = "numgen random mod 2 map { 0 : 172.17.0.2 . 8080, 1 : 172.17.0.3 . 8080 }"
    assert block(text, "chain pods_0") == f"meta l4proto tcp dnat ip addr . port to {choice}"


def test_turns() -> None:
    assert " to numgen inc mod 2 map " in block(rules({WEB: Target(4000, (POD, OTHER), BY_TURNS)}), "chain pods_0")


def test_a_client_that_keeps_its_pod_is_hashed() -> None:
    text = rules({DB: Target(0, (POD, OTHER), BY_HASH)})
    chain = block(text, "chain pods_0")
    assert f"meta l4proto udp dnat ip addr . port to jhash ip saddr mod {SLOTS} " in chain
    assert chain.count(POD[0]) + chain.count(OTHER[0]) == SLOTS


def test_a_pod_that_calls_its_own_service_goes_by_the_proxy() -> None:
    text = rules({WEB: Target(4000, (POD, OTHER))}, ("172.17.0.0/16",))
    own = "172.17.0.2 . 9.251.1.2 . tcp . 80, 172.17.0.3 . 9.251.1.2 . tcp . 80"
    assert f"elements = {{ {own} }}" in block(text, "set own")


def test_nothing_is_an_element_of_nothing() -> None:
    text = rules({})
    for what in ("map one", "map several", "map proxied", "map node_ports", "set networks", "set hairpins"):
        assert "elements" not in block(text, what)
    assert "elements = { 9.251.0.0/16 }" in block(text, "set addresses")


def test_addresses_of_others_are_ours_too_when_a_service_has_them() -> None:
    text = rules({Door("203.0.113.7", "TCP", 80): Target(4000), WEB: Target(4000)})
    assert "elements = { 9.251.0.0/16, 203.0.113.7 }" in block(text, "set addresses")


def test_the_order_of_what_is_given_changes_nothing() -> None:
    targets = {WEB: Target(4000, (POD, OTHER)), DB: Target(4001), NODE_PORT: Target(4000)}
    networks = ("172.17.0.0/16", "10.0.0.0/8")
    assert rules(targets, networks) == rules(dict(reversed(targets.items())), networks[::-1])


@given(st.lists(ADDRESSES, min_size=2, max_size=6, unique=True), st.data())
def test_who_keeps_its_pod_loses_it_only_with_the_pod(pods: list[tuple[str, int]], data: st.DataObject) -> None:
    gone = data.draw(st.sampled_from(pods))
    before, after = slots(pods), slots([pod for pod in pods if pod != gone])
    assert all(was == now for was, now in zip(before, after, strict=True) if was != gone)


def test_slots_are_shared_about_evenly() -> None:
    pods = [(f"172.17.0.{number}", 8080) for number in range(2, 7)]
    assert all(0.1 < slots(pods).count(pod) / SLOTS < 0.3 for pod in pods)


@pytest.mark.tool("nft")
@pytest.mark.root
def test_nft_takes_whatever_is_made() -> None:
    random = Random(1)
    targets = {}
    for number in range(300):
        protocol, port = random.choice(["TCP", "UDP"]), random.randrange(1, 65536)
        door = Door(f"9.251.{random.randrange(1, 200)}.{number & 255}", protocol, port)
        pods = tuple((f"172.17.{random.randrange(9)}.{at}", random.randrange(1, 65536)) for at in range(random.randrange(4)))
        targets[door] = Target(random.choice([0, 4000]), pods, random.choice([BY_LEAST, BY_CHANCE, BY_TURNS, BY_HASH]))
    text = ruleset({**targets, NODE_PORT: Target(4000)}, PROXY, ["172.17.0.0/16", "10.77.0.0/24"], PODS)
    for pods in (PODS._replace(here=[], bridges=[]), PODS._replace(network=IPv4Network("10.42.16.0/22"))):
        text += ruleset({}, PROXY, [], pods)
    done = subprocess.run(["nft", "--check", "-f", "-"], input=text, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_calls_to_pods_that_are_not_here_go_to_the_proxy() -> None:
    text = ruleset({}, PROXY, (), PODS)
    assert "elements = { 10.42.7.0/24, 10.42.9.0/24 }" in block(text, "set pods_here")
    assert "elements = { 10.42.7.0/24 . 10.42.7.0/24, 10.42.9.0/24 . 10.42.9.0/24 }" in block(text, "set pods_near")
    assert block(text, "chain pods_output").splitlines()[1:] == [
        "ip daddr 10.42.0.0/16 ip daddr != @pods_here meta l4proto tcp dnat to 169.254.96.16:4000",
        "ip daddr 10.42.0.0/16 ip daddr != @pods_here meta l4proto udp dnat to 169.254.96.16:10042",
    ]


def test_containers_alone_are_let_through_and_not_within_one_network() -> None:
    text = ruleset({}, PROXY, (), PODS)
    assert 'elements = { "docker0", "pods10-42-7" }' in block(text, "set bridges")
    for rule in block(text, "chain pods_prerouting").splitlines()[1:]:
        assert "iifname @bridges" in rule
        assert "ip saddr . ip daddr != @pods_near" in rule
        assert "fib daddr type != local" in rule, "the node's own address on a bridge is the node"


def test_an_alias_becomes_the_address_of_the_pod() -> None:
    rule = "meta skuid 0 ip saddr 240.42.0.0/16 snat ip prefix to ip saddr map { 240.42.0.0/16 : 10.42.0.0/16 }"
    assert rule in block(ruleset({}, PROXY, (), PODS), "chain pods_postrouting")


def test_without_a_pod_network_there_is_nothing_of_it() -> None:
    assert "pods" not in rules({WEB: Target(4000, (POD,))})
