import itertools
import math
from typing import Any

import pytest

from edged.errors import ProtocolError
from edged.hub import upnp
from edged.hub.pcp import NONCE, pcp_map, pmp_address, pmp_map
from edged.hub.portmapping import AGAIN_CAP_S, AGAIN_FIRST_S, GIVE_UP_S, LEASE_S, PREFER_S, SHORTEST_S, Datagram, PortMapping
from edged.hub.upnp import Call
from edged.kit.address import Address
from tests.hub.test_pcp import ADDRESS, pcp_answer, pmp_answer
from tests.hub.test_upnp import AT, DESCRIPTION, ENVELOPE, FOUND, GATEWAY, IP, OUTER

OWN = "192.168.1.2"
ONES = b"\x01" * NONCE  # what the made one draws
PCP = Datagram(pcp_map(OWN, 7400, 7400, LEASE_S, ONES))
PMP = Datagram(pmp_address())
SSDP = Datagram(upnp.search(), search=True)
UNSUPPORTED = pmp_answer(1, b"", 1)
DONE = ENVELOPE.format("<u:AddPortMappingResponse/>").encode()


def made(gateway: str | None = GATEWAY) -> PortMapping:
    mapping = PortMapping(7400, lambda n: b"\x01" * n)
    mapping.gateway(gateway, OWN, 0.0)
    return mapping


def pmp_mapped(lifetime: int = 3600, outer: int = 7401) -> bytes:
    return pmp_answer(1, (7400).to_bytes(2, "big") + outer.to_bytes(2, "big") + lifetime.to_bytes(4, "big"))


def fault(code: int) -> bytes:
    return ENVELOPE.format(f"<errorCode>{code}</errorCode>").encode()


def call(mapping: PortMapping) -> Call:
    (made,) = (each for each in mapping.outgoing() if isinstance(each, Call))
    return made


def run(mapping: PortMapping, until: float) -> list[Any]:
    """Tick whenever it says so; what was said."""
    said = mapping.outgoing()
    while mapping.deadline() <= until:
        now = mapping.deadline()
        mapping.tick(now)
        assert mapping.deadline() > now
        said += mapping.outgoing()
    mapping.tick(until)
    return said + mapping.outgoing()


def test_all_are_asked_at_once_and_pcp_maps_with_one_answer() -> None:
    mapping = made()
    assert mapping.outgoing() == [PCP, PMP, SSDP]
    assert (mapping.mapped, mapping.settled, mapping.text) == (None, False, f"asking gateway {GATEWAY}")
    mapping.receive(pcp_answer(nonce=ONES), 0.01)
    assert (mapping.mapped, mapping.settled) == (Address("203.0.113.1", 7401), True)
    assert mapping.text == "PCP: 203.0.113.1:7401"
    for late in (ADDRESS, pcp_answer(nonce=ONES)):
        with pytest.raises(ProtocolError):
            mapping.receive(late, 0.02)
    with pytest.raises(ProtocolError):
        mapping.found(FOUND, 0.02)
    assert mapping.deadline() == pytest.approx(3600.01), "renewed at half its life"


def test_a_renewal_asks_for_the_same_port_and_one_that_fails_loses_it_in_the_end() -> None:
    mapping = made()
    mapping.receive(pcp_answer(nonce=ONES, lifetime=1000), 0.0)
    mapping.outgoing()
    assert run(mapping, 500)[0] == Datagram(pcp_map(OWN, 7400, 7401, LEASE_S, ONES))
    mapping.receive(pcp_answer(nonce=ONES, lifetime=1000), 500.01)
    assert run(mapping, 1001)
    assert mapping.mapped is not None
    run(mapping, 1500)
    assert mapping.mapped is not None
    run(mapping, 1502)
    assert mapping.mapped is None
    assert len([each for each in run(mapping, 5000) if each.data[:2] == b"\x02\x01"]) < 40, "ever more seldom"


def test_a_gateway_with_nothing_is_asked_a_little_and_again_in_a_quarter_of_an_hour() -> None:
    mapping = made()
    assert len(run(mapping, GIVE_UP_S)) == 12
    assert (mapping.settled, mapping.text) == (True, f"none: gateway {GATEWAY} offers none")
    assert run(mapping, GIVE_UP_S + AGAIN_CAP_S - 1) == []
    assert run(mapping, GIVE_UP_S + AGAIN_CAP_S) != []


def test_nat_pmp_is_taken_on_when_pcp_is_refused() -> None:
    mapping = made()
    mapping.outgoing()
    mapping.receive(UNSUPPORTED, 0.01)
    assert mapping.outgoing() == []
    mapping.receive(ADDRESS, 0.01)
    asked = Datagram(pmp_map(7400, 7400, LEASE_S))
    assert mapping.outgoing() == [asked]
    assert run(mapping, 0.1) == [asked, SSDP], "what is lost is sent again"
    mapping.receive(pmp_mapped(), 0.11)
    assert mapping.text == "NAT-PMP: 203.0.113.1:7401"
    assert mapping.deadline() == pytest.approx(0.11 + 1800)
    assert mapping.release() == [Datagram(pmp_map(7400, 0, 0))]
    assert mapping.deadline() == math.inf


def test_nat_pmp_waits_a_moment_for_pcp() -> None:
    mapping = made()
    mapping.receive(ADDRESS, 0.01)
    assert Datagram(pmp_map(7400, 7400, LEASE_S)) not in run(mapping, PREFER_S - 0.01)
    assert Datagram(pmp_map(7400, 7400, LEASE_S)) in run(mapping, PREFER_S)
    mapping.receive(pcp_answer(nonce=ONES), PREFER_S + 0.1)
    assert mapping.text.startswith("PCP"), "late is as good"


def by_upnp(mapping: PortMapping) -> Call:
    """The call that adds the mapping."""
    mapping.found(FOUND, 0.01)
    run(mapping, PREFER_S - 0.01)
    mapping.tick(PREFER_S)
    description = call(mapping)
    assert description == Call(AT)
    mapping.answered(description, 200, DESCRIPTION, PREFER_S)
    address = call(mapping)
    assert address == upnp.ask_address(IP)
    mapping.answered(address, 200, OUTER, PREFER_S)
    return call(mapping)


def test_upnp_maps_where_nothing_else_does() -> None:
    mapping = made()
    add = by_upnp(mapping)
    assert add == upnp.add(IP, OWN, 7400, 7400, LEASE_S)
    with pytest.raises(ProtocolError):
        mapping.receive(pcp_answer(nonce=ONES), 1.0)
    run(mapping, GIVE_UP_S + 1)
    assert not mapping.settled, "its calls have their own time"
    mapping.answered(add, 200, DONE, 5.0)
    assert (mapping.mapped, mapping.text) == (Address("203.0.113.1", 7400), "UPnP: 203.0.113.1:7400")
    assert mapping.release() == [upnp.delete(IP, 7400)]


def test_another_port_is_tried_and_a_lease_without_end() -> None:
    mapping = made()
    add = by_upnp(mapping)
    mapping.answered(add, 500, fault(upnp.CONFLICT), 1.0)
    add = call(mapping)
    assert b"<NewExternalPort>7400<" not in add.body
    mapping.answered(add, 500, fault(upnp.PERMANENT_ONLY), 1.0)
    add = call(mapping)
    assert b"<NewLeaseDuration>0<" in add.body
    mapping.answered(add, 200, DONE, 1.0)
    assert mapping.mapped is not None
    assert mapping.deadline() == 1.0 + LEASE_S / 2


@pytest.mark.parametrize("code", [upnp.CONFLICT, upnp.PERMANENT_ONLY, 606, 0])
def test_a_gateway_that_always_refuses_is_let_alone(code: int) -> None:
    mapping = made()
    add: Call | None = by_upnp(mapping)
    for count in itertools.count():
        assert add is not None
        assert count < 10
        mapping.answered(add, 500, fault(code), 1.0)
        if mapping.settled:
            break
        add = call(mapping)
    assert mapping.mapped is None
    assert run(mapping, AGAIN_CAP_S) == []


def test_calls_that_fail_and_answers_that_are_none() -> None:
    mapping = made()
    add = by_upnp(mapping)
    mapping.unanswered(add, 2.0)
    assert mapping.settled
    mapping.answered(add, 200, DONE, 3.0)
    mapping.unanswered(add, 3.0)
    assert mapping.mapped is None
    mapping = made()
    mapping.answered(by_upnp(mapping), 200, b"<", 2.0)
    assert mapping.settled


def test_another_gateway_is_asked_at_once_and_what_the_old_one_says_is_not_heard() -> None:
    mapping = made(None)
    assert (mapping.text, mapping.deadline(), mapping.outgoing()) == ("none: there is no gateway to ask", math.inf, [])
    mapping.gateway(GATEWAY, OWN, 10.0)
    assert mapping.outgoing() == [PCP, PMP, SSDP]
    mapping.gateway(GATEWAY, OWN, 10.0)
    assert mapping.outgoing() == []
    mapping.found(FOUND, 10.0)
    mapping.tick(10.0 + PREFER_S)
    old = call(mapping)
    mapping.gateway("192.168.2.1", "192.168.2.2", 11.0)
    assert len(mapping.outgoing()) == 3
    mapping.answered(old, 200, DESCRIPTION, 11.0)
    assert mapping.outgoing() == []
    mapping.receive(pcp_answer(nonce=ONES), 11.0)
    mapping.gateway(None, "", 12.0)
    assert (mapping.mapped, mapping.release()) == (None, [])


def test_a_mapping_behind_another_nat_is_told_to_nobody_but_the_person() -> None:
    mapping = made()
    mapping.receive(UNSUPPORTED, 0.01)
    mapping.receive(pmp_answer(0, bytes((100, 64, 0, 7))), 0.01)
    mapping.receive(pmp_mapped(), 0.02)
    assert (mapping.mapped, mapping.text) == (None, "NAT-PMP: 100.64.0.7:7401, which is behind another NAT")


@pytest.mark.parametrize("lifetime", [1, 2**32 - 1])
def test_no_gateway_makes_us_ask_all_the_time_or_never(lifetime: int) -> None:
    mapping = made()
    mapping.receive(pcp_answer(nonce=ONES, lifetime=lifetime), 0.0)
    assert SHORTEST_S / 2 <= mapping.deadline() <= 43_200


def test_after_a_mapping_was_lost_it_is_asked_for_soon() -> None:
    mapping = made()
    mapping.receive(pcp_answer(nonce=ONES, lifetime=200), 0.0)
    run(mapping, 100 + GIVE_UP_S)
    assert mapping.deadline() == pytest.approx(100 + GIVE_UP_S + AGAIN_FIRST_S)
