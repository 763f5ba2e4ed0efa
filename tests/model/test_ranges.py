from ipaddress import IPv4Network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edged.model.core import Node, NodeSpec
from edged.model.meta import ObjectMeta
from edged.model.ranges import Route, bridge, claim, pod_network, range_of, taken

PODS = IPv4Network("10.42.0.0/16")
FEW = IPv4Network("10.42.16.0/22")
Made = tuple[str, str]  # when, and what it is called


def node(name: str, created: str = "2026-01-01T00:00:00Z", range_: str = "") -> Node:
    return Node("v1", "Node", ObjectMeta(name=name, creation_timestamp=created), NodeSpec(pod_cidr=range_))


def test_a_network_is_private_and_neither_too_wide_nor_too_narrow() -> None:
    assert pod_network("10.42.0.0/16") == PODS
    assert pod_network("172.20.0.0/22").prefixlen == 22
    for text in (
        "",
        "10.0.0.0/8",
        "10.42.0.0/24",
        "10.42.0.1/16",
        "11.0.0.0/16",
        "127.1.0.0/16",
        "169.254.0.0/16",
        "fd00::/16",
        "x",
    ):
        with pytest.raises(ValueError, match="expected a private network"):
            pod_network(text)


def test_a_node_that_is_alone_takes_what_follows_from_its_name() -> None:
    assert claim("gw-a", "2026", PODS, []) == claim("gw-a", "2027", PODS, [node("gw-b")])
    assert len({claim(f"gw-{number}", "", PODS, []) for number in range(20)}) > 15


def test_a_node_keeps_what_it_has() -> None:
    assert claim("gw-a", "2026", PODS, [node("gw-a", "2026", "10.42.9.0/24")]) == "10.42.9.0/24"


def test_what_is_not_of_the_network_is_not_kept() -> None:
    for said in ("10.43.9.0/24", "10.42.9.0/25", "nonsense"):
        assert claim("gw-a", "2026", PODS, [node("gw-a", "2026", said)]) == claim("gw-a", "2026", PODS, [])


def test_of_two_that_have_the_same_the_older_keeps_it_then_the_lower_name() -> None:
    same = "10.42.9.0/24"
    for first, second in (
        (node("gw-b", "2026", same), node("gw-a", "2027", same)),
        (node("gw-a", "2026", same), node("gw-b", "2026", same)),
    ):
        both = [first, second]
        assert claim(first.metadata.name, first.metadata.creation_timestamp or "", PODS, both) == same
        assert claim(second.metadata.name, second.metadata.creation_timestamp or "", PODS, both) not in ("", same)


def test_when_all_are_taken_there_is_none() -> None:
    full = [node(f"gw-{number}", range_=str(each)) for number, each in enumerate(FEW.subnets(new_prefix=24))]
    assert claim("gw-x", "2027", FEW, full) == ""
    assert claim("gw-x", "2027", FEW, full[1:]) == full[0].spec.pod_cidr


nodes = st.lists(
    st.tuples(st.sampled_from(["2025", "2026", "2027"]), st.text("abc", min_size=1)), unique_by=lambda made: made[1]
)
sides = st.lists(st.integers(0, 2))


def settle(claims: dict[Made, str], seen: list[Made], network: IPv4Network) -> None:
    """Nodes that see each other claim one after the other until nobody changes its mind; it must not take many rounds."""
    for _ in range(len(seen) + 1):
        before = dict(claims)
        for created, name in seen:
            known = [node(each[1], each[0], claims.get(each, "")) for each in seen]
            claims[created, name] = claim(name, created, network, known)
        if claims == before:
            return
    raise AssertionError("they do not come to rest")


@given(nodes, sides, st.sampled_from([PODS, FEW]))
def test_sides_that_meet_come_to_ranges_of_their_own(made: list[Made], places: list[int], network: IPv4Network) -> None:
    claims: dict[Made, str] = {}
    at = dict(zip(made, [*places, *([0] * len(made))], strict=False))
    for side in range(3):
        settle(claims, [each for each in made if at[each] == side], network)
    apart = dict(claims)
    settle(claims, made, network)
    taken = [each for each in claims.values() if each]
    assert len(taken) == len(set(taken)) == min(len(made), len(list(network.subnets(new_prefix=24))))
    moved = {each for each in made if apart[each] and apart[each] != claims[each]}
    for each in moved:
        assert any(apart[other] == apart[each] and other < each for other in made), "only who lost it to an older one moves"


def test_the_name_of_a_bridge_fits() -> None:
    assert bridge("10.42.7.0/24") == bridge(str(range_of("10.42.7.9"))) == "pods10-42-7"
    assert len(bridge("192.168.107.0/24")) <= 15


def test_routes_of_others_into_the_network() -> None:
    def found(network: str, interface: str = "eth0") -> bool:
        return taken(PODS, [Route(IPv4Network(network), interface)], "edged0") is not None

    assert found("10.42.3.0/24")
    assert found("10.0.0.0/8"), "a machine of the LAN may have an address there"
    assert found("10.42.7.0/24", "pods10-42-8")
    assert not found("10.42.7.0/24", "pods10-42-7"), "that is ours"
    assert not found("10.42.0.0/16", "edged0"), "and so is that"
    assert not found("10.43.0.0/16")
    assert not found("0.0.0.0/0")
    assert not found("0.0.0.0/1"), "a VPN's default route"
