import pytest

from edged.hub.findings import NetCheck, RelayCheck, nat_of
from edged.kit.address import Address

OWN = ["192.168.1.2", "2001:db8::1"]
SEEN = Address("203.0.113.1", 7400)


@pytest.mark.parametrize(
    ("observed", "udp", "nat"),
    [
        ([Address("192.168.1.2", 7400)], True, "open"),
        ([Address("127.0.0.1", 7400)], True, "open"),
        ([SEEN], True, "easy"),
        ([SEEN, Address(SEEN.host, 7401)], True, "hard"),
        ([], False, "blocked"),
        ([], None, "unknown"),
    ],
)
def test_what_the_relay_sees_tells_the_nat(observed: list[Address], udp: bool | None, nat: str) -> None:
    assert nat_of(OWN, observed, udp) == nat


def found(*relays: RelayCheck, udp: bool | None) -> NetCheck:
    return NetCheck(udp=udp, nat="unknown", addresses=[], observed=[], ipv6=False, port_mapping="off", relays=list(relays))


def test_what_keeps_links_from_their_best_way() -> None:
    taken, away = RelayCheck("wss://one", connected=True), RelayCheck("wss://two", connected=False, error="away")
    assert found(taken, away, udp=True).troubles == []
    assert found(away, udp=None).troubles == ["no relay takes this node"]
    assert found(udp=None).troubles == ["no relay is configured"]
    assert found(taken, udp=False).troubles == ["UDP is blocked: links go through the relay's WebSocket, slower"]
