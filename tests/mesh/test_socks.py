from collections.abc import Callable
from random import Random

import pytest

from edged.errors import ProtocolError
from edged.kit.address import Address
from edged.mesh import zone
from edged.mesh.names import Name
from edged.mesh.socks import Asked, Code, Dialogue, destination, reply
from edged.mesh.table import Called, Port, Table, build
from edged.mesh.zone import Zone
from edged.model.core import Node, NodeAddress, NodeStatus, Service, ServicePort
from edged.model.meta import ObjectMeta
from tests.mesh.test_message import spoil

GREETING = b"\x05\x01\x00"
TO_NAME = b"\x05\x01\x00\x03\x09web.a.svc\x00\x50"
TO_IPV4 = b"\x05\x01\x00\x01\x09\xfb\x01\x02\x01\xbb"
TO_IPV6 = b"\x05\x01\x00\x04" + bytes(15) + b"\x01\x01\xbb"


@pytest.mark.parametrize(
    ("request_", "asked"),
    [(TO_NAME, Asked("web.a.svc", 80)), (TO_IPV4, Asked("9.251.1.2", 443)), (TO_IPV6, Asked("::1", 443))],
)
@pytest.mark.parametrize("at_once", [False, True])
def test_a_client_says_where_it_wants_to_go(request_: bytes, asked: Asked, at_once: bool) -> None:
    dialogue = Dialogue()
    pieces = [GREETING, request_] if at_once else [bytes([byte]) for byte in GREETING + request_]
    answers = [dialogue.receive(piece) for piece in pieces]
    assert answers[-1] == asked
    assert set(answers[:-1]) == {None}
    assert dialogue.outgoing() == b"\x05\x00"
    assert dialogue.outgoing() == b""


def test_both_messages_in_one_piece() -> None:
    assert Dialogue().receive(b"\x05\x03\x01\x02\x00" + TO_IPV4) == Asked("9.251.1.2", 443)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"\x04\x01\x00\x50", b""),
        (b"GET / HTTP/1.1\r\n", b""),
        (b"\x05\x01\x02", b"\x05\xff"),
        (b"\x05\x00", b"\x05\xff"),
        (GREETING + b"\x04\x01\x00\x01\x00", b"\x05\x00"),
        (GREETING + b"\x05\x02" + TO_IPV4[2:], b"\x05\x00" + reply(Code.NO_SUCH_COMMAND)),
        (GREETING + b"\x05\x03" + TO_IPV4[2:], b"\x05\x00" + reply(Code.NO_SUCH_COMMAND)),
        (GREETING + b"\x05\x01\x00\x02\x00", b"\x05\x00" + reply(Code.NO_SUCH_ADDRESS_TYPE)),
        (GREETING + TO_IPV4 + b"x", b"\x05\x00"),
        (GREETING + b"\x05\x01\x00\x03\x02\xff\xfe\x00\x50", b"\x05\x00"),
    ],
)
def test_what_is_not_served_is_a_protocol_error_and_said_where_there_is_a_word_for_it(data: bytes, said: bytes) -> None:
    dialogue = Dialogue()
    with pytest.raises(ProtocolError):
        dialogue.receive(data)
    assert dialogue.outgoing() == said


def test_nothing_may_follow_a_request_before_its_answer() -> None:
    dialogue = Dialogue()
    dialogue.receive(GREETING + TO_IPV4)
    assert dialogue.receive(b"") is None
    with pytest.raises(ProtocolError):
        dialogue.receive(b"x")


def check(data: bytes, random: Random) -> None:
    """Any bytes in any pieces: an answer or ProtocolError."""
    dialogue = Dialogue()
    try:
        while data:
            size = random.randint(1, len(data))
            asked = dialogue.receive(data[:size])
            data = data[size:]
            if asked is not None:
                assert 0 <= asked.port <= 65535
    except ProtocolError:
        pass
    assert len(dialogue.outgoing()) <= 12


MESSAGES = [GREETING + TO_NAME, GREETING + TO_IPV4, GREETING + TO_IPV6, b"\x05\x03\x01\x02\x00" + TO_NAME]


def test_many_spoilt_dialogues_from_a_seed() -> None:
    seed = 20260501
    random = Random(seed)
    for number in range(50_000):
        spoilt = spoil(random, random.choice(MESSAGES))
        try:
            check(spoilt, random)
        except Exception as error:
            raise AssertionError(f"seed {seed}, dialogue {number}: {spoilt.hex()}") from error


@pytest.fixture
def known(make_service: Callable[..., Service]) -> tuple[Table, Zone]:
    services = [
        make_service(ports=(ServicePort(80, name="http", node_port=30080), ServicePort(53, name="dns", protocol="UDP"))),
        make_service("db", ip="None", ports=(ServicePort(5432),)),
        make_service("out", ip="", type="ExternalName", external_name="www.example.org"),
    ]
    nodes = [Node("v1", "Node", ObjectMeta(name="gw-b"), status=NodeStatus((NodeAddress("InternalIP", "192.168.1.6"),)))]
    table = build(services, (), "gw-a")
    return table, zone.build(table, services, (), nodes)


WEB, DB = Called(Name("default", "web"), Port("TCP", 80)), Called(Name("default", "db"), Port("TCP", 5432))


@pytest.mark.parametrize(
    ("host", "port", "where"),
    [
        ("web.default.svc.cluster.local", 80, WEB),
        ("WEB.default.svc.cluster.local.", 80, WEB),
        ("9.251.1.2", 80, WEB),
        ("db.default.svc.cluster.local", 5432, DB),
        ("gw-b.node.edged", 30080, WEB),
        ("GW-B.node.edged", 22, Address("192.168.1.6", 22)),
        ("gw-b.node.edged", 0, None),
        ("gw-z.node.edged", 22, None),
        (f"{'x' * 80}.node.edged", 22, None),
        ("web.default.svc.cluster.local", 81, None),
        ("web.default.svc.cluster.local", 53, None),
        ("out.default.svc.cluster.local", 80, None),
        ("nobody.default.svc.cluster.local", 80, None),
        ("a.web.default.svc.cluster.local", 80, None),
        ("web", 80, None),
        ("www.example.org", 80, None),
        ("127.0.0.1", 22, None),
        ("169.254.169.254", 80, None),
        ("::1", 80, None),
        ("", 80, None),
    ],
)
def test_where_a_request_leads(known: tuple[Table, Zone], host: str, port: int, where: Called | Address | None) -> None:
    assert destination(*known, Asked(host, port)) == where
