from collections.abc import Callable
from random import Random

import pytest
from dnslib import CLASS, EDNS0, QTYPE, RCODE, RR, DNSLabel, DNSQuestion, DNSRecord

from edged.mesh import dns, message, zone
from edged.mesh.table import build
from edged.mesh.zone import Zone
from edged.model.core import Node, NodeAddress, NodeStatus, Pod, Service, ServicePort
from edged.model.meta import ObjectMeta
from tests.mesh.test_message import QUERIES, SPOILT, spoil

WEB = "web.default.svc.cluster.local"


@pytest.fixture
def table(make_service: Callable[..., Service], make_pod: Callable[..., Pod]) -> Zone:
    services = [
        make_service(ports=(ServicePort(80, name="http"),)),
        make_service("db", ip="None"),
        make_service("lost", "other", ip=""),
        make_service("none", ip="None"),
        make_service("out", ip="", type="ExternalName", external_name="www.example.org"),
        make_service("in", ip="", type="ExternalName", external_name="out.default.svc.cluster.local"),
        make_service("near", ip="", type="ExternalName", external_name=WEB),
        make_service("gone", ip="", type="ExternalName", external_name="nobody.default.svc.cluster.local"),
        make_service("round", ip="", type="ExternalName", external_name="round.default.svc.cluster.local"),
    ]
    pods = [make_pod(f"db-{number}", ip=f"172.17.0.{number}", labels={"app": "db"}) for number in (2, 3)]
    nodes = [Node("v1", "Node", ObjectMeta(name="gw-a"), status=NodeStatus((NodeAddress("InternalIP", "192.168.1.5"),)))]
    return zone.build(build(services, pods, "gw-a"), services, pods, nodes)


def query(name: str, type_: str = "A", **edns: int) -> DNSRecord:
    question = DNSRecord.question(name, type_)
    if edns:
        question.add_ar(EDNS0(**edns))
    return question


def ask(table: Zone, question: DNSRecord, *, tcp: bool = False) -> DNSRecord:
    found = dns.answer(table, bytes(question.pack()), tcp=tcp)
    assert isinstance(found, bytes)
    reply = DNSRecord.parse(found)
    assert reply.header.id == question.header.id
    assert reply.header.qr == 1
    return reply


def values(reply: DNSRecord) -> list[str]:
    return [str(record.rdata) for record in reply.rr]


def test_a_service_has_its_address(table: Zone) -> None:
    reply = ask(table, query(WEB))
    assert reply.header.rcode == RCODE.NOERROR
    assert (reply.header.aa, reply.header.ra, reply.header.tc) == (1, 1, 0)
    assert values(reply) == ["9.251.1.2"]
    assert reply.a.ttl == 30
    assert reply.a.rname == DNSLabel(WEB)


def test_a_name_comes_back_as_it_was_asked(table: Zone) -> None:
    reply = ask(table, query("wEb.Default.SVC.cluster.LOCAL"))
    assert values(reply) == ["9.251.1.2"]
    assert reply.q.qname.label == reply.a.rname.label == (b"wEb", b"Default", b"SVC", b"cluster", b"LOCAL")


def test_a_headless_service_has_the_addresses_of_its_pods(table: Zone) -> None:
    assert sorted(values(ask(table, query("db.default.svc.cluster.local")))) == ["172.17.0.2", "172.17.0.3"]


def test_who_takes_the_first_address_spreads_its_calls(table: Zone) -> None:
    question = query("db.default.svc.cluster.local")
    firsts = set()
    for question.header.id in range(2):
        firsts.add(values(ask(table, question))[0])
    assert firsts == {"172.17.0.2", "172.17.0.3"}


def test_a_named_port_has_its_place(table: Zone) -> None:
    (found,) = ask(table, query(f"_http._tcp.{WEB}", "SRV")).rr
    assert (found.rdata.priority, found.rdata.port, found.rdata.target) == (0, 80, DNSLabel(WEB))


def test_a_pod_a_node_and_the_way_back(table: Zone) -> None:
    assert values(ask(table, query("172-17-0-2.default.pod.cluster.local"))) == ["172.17.0.2"]
    assert values(ask(table, query("GW-A.node.edged"))) == ["192.168.1.5"]
    assert values(ask(table, query("2.0.17.172.in-addr.arpa", "PTR"), tcp=True)) == ["db-2.db.default.svc.cluster.local."]
    assert values(ask(table, query("dns-version.cluster.local", "TXT"))) == ['"1.1.0"']


@pytest.mark.parametrize(
    ("name", "type_", "code"),
    [
        (WEB, "AAAA", RCODE.NOERROR),
        (WEB, "SRV", RCODE.NOERROR),
        (f"_tcp.{WEB}", "SRV", RCODE.NOERROR),
        (f"_ftp._tcp.{WEB}", "SRV", RCODE.NXDOMAIN),
        ("none.default.svc.cluster.local", "A", RCODE.NXDOMAIN),
        ("1-2-3-4.default.pod.cluster.local", "A", RCODE.NXDOMAIN),
        ("1-2-3.default.pod.cluster.local", "A", RCODE.NXDOMAIN),
        (WEB, "TXT", RCODE.NOERROR),
        ("lost.other.svc.cluster.local", "A", RCODE.NOERROR),
        ("default.svc.cluster.local", "A", RCODE.NOERROR),
        ("svc.cluster.local", "A", RCODE.NOERROR),
        ("default.pod.cluster.local", "A", RCODE.NOERROR),
        ("cluster.local", "AAAA", RCODE.NOERROR),
        ("nobody.default.svc.cluster.local", "A", RCODE.NXDOMAIN),
        ("web.other.svc.cluster.local", "AAAA", RCODE.NXDOMAIN),
        ("absent.svc.cluster.local", "A", RCODE.NXDOMAIN),
        ("x.web.default.svc.cluster.local", "A", RCODE.NXDOMAIN),
        ("www.example.org.default.svc.cluster.local", "A", RCODE.NXDOMAIN),
        ("web.default.cluster.local", "A", RCODE.NXDOMAIN),
    ],
)
def test_what_is_not_there_is_denied_with_the_soa(table: Zone, name: str, type_: str, code: int) -> None:
    reply = ask(table, query(name, type_, udp_len=1232))
    assert reply.header.rcode == code
    assert reply.header.aa == 1
    assert not reply.rr
    (soa,) = reply.auth
    assert (soa.rtype, soa.rname, soa.ttl) == (QTYPE.SOA, DNSLabel("cluster.local"), 30)
    assert soa.rdata.times[4] == 30


def test_an_unknown_node_is_denied(table: Zone) -> None:
    reply = ask(table, query("gw-z.node.edged", udp_len=1232))
    assert (reply.header.rcode, reply.auth[0].rname) == (RCODE.NXDOMAIN, DNSLabel("node.edged"))


def test_the_zone_has_a_soa(table: Zone) -> None:
    reply = ask(table, query("cluster.local", "SOA", udp_len=1232))
    assert [record.rtype for record in reply.rr] == [QTYPE.SOA]
    assert not reply.auth


def test_an_address_has_its_name(table: Zone) -> None:
    assert values(ask(table, query("2.1.251.9.in-addr.arpa", "PTR", udp_len=1232))) == [WEB + "."]
    assert ask(table, query("2.1.251.9.in-addr.arpa", "A")).header.rcode == RCODE.NOERROR


def test_an_address_that_nobody_has_has_no_name(table: Zone) -> None:
    reply = ask(table, query("9.9.251.9.in-addr.arpa", "PTR"))
    assert reply.header.rcode == RCODE.NXDOMAIN
    assert reply.auth[0].rname == DNSLabel("251.9.in-addr.arpa")


@pytest.mark.parametrize(
    ("name", "type_"),
    [
        ("example.org", "A"),
        ("local", "A"),
        ("cluster.local.example.org", "AAAA"),
        ("mycluster.local", "A"),
        ("1.0.168.192.in-addr.arpa", "PTR"),
        ("in-addr.arpa", "SOA"),
        ("4.0.17.172.in-addr.arpa", "PTR"),
        ("edged", "A"),
        (".", "NS"),
    ],
)
def test_the_rest_is_forwarded(table: Zone, name: str, type_: str) -> None:
    packed = bytes(query(name, type_).pack())
    asked = message.parse(packed)
    assert dns.answer(table, packed, tcp=False) == dns.Forward(asked, 512, asked)
    assert dns.answer(table, packed, tcp=True) == dns.Forward(asked, 65535, asked)


@pytest.mark.parametrize(("announced", "limit"), [(100, 512), (512, 512), (900, 900), (4096, 1232), (65535, 1232)])
def test_a_client_says_how_much_it_takes(table: Zone, announced: int, limit: int) -> None:
    packed = bytes(query("example.org", udp_len=announced).pack())
    found = dns.answer(table, packed, tcp=False)
    assert isinstance(found, dns.Forward)
    assert found.limit == limit


@pytest.mark.parametrize("name", [WEB, "example.org"])
def test_any_is_refused(table: Zone, name: str) -> None:
    reply = ask(table, query(name, "ANY"))
    assert reply.header.rcode == RCODE.REFUSED
    assert not reply.rr


def test_other_classes_are_refused(table: Zone) -> None:
    question = DNSRecord(q=DNSQuestion("version.bind", QTYPE.TXT, CLASS.CH))
    assert ask(table, question).header.rcode == RCODE.REFUSED


def test_other_operations_are_not_implemented(table: Zone) -> None:
    question = query(WEB)
    question.header.opcode = 5
    reply = ask(table, question)
    assert (reply.header.rcode, reply.header.opcode) == (RCODE.NOTIMP, 5)


def test_edns_is_answered_with_edns(table: Zone) -> None:
    reply = ask(table, query(WEB, udp_len=4096))
    (opt,) = reply.ar
    assert (opt.rtype, opt.edns_len, opt.edns_ver) == (QTYPE.OPT, 1232, 0)
    assert not ask(table, query(WEB)).ar


def test_an_unknown_edns_version_is_said(table: Zone) -> None:
    reply = ask(table, query(WEB, udp_len=1232, version=1))
    assert reply.ar[0].edns_rcode << 4 | reply.header.rcode == message.BADVERS
    assert not reply.rr


def test_recursion_desired_comes_back(table: Zone) -> None:
    question = query(WEB)
    assert ask(table, question).header.rd == 1
    question.header.rd = 0
    assert ask(table, question).header.rd == 0


def many(make_service: Callable[..., Service], make_pod: Callable[..., Pod]) -> Zone:
    service = make_service("many", ip="None")
    pods = [make_pod(f"p-{n}", ip=f"172.17.{n >> 8}.{n & 255}", labels={"app": "many"}) for n in range(500)]
    return zone.build(build([service], pods, "gw-a"), [service], pods, ())


@pytest.mark.parametrize(("edns", "limit"), [({}, 2 * 48), ({"udp_len": 800}, 800), ({"udp_len": 65000}, 1232)])
def test_a_long_answer_is_cut_for_udp_and_whole_for_tcp(
    make_service: Callable[..., Service], make_pod: Callable[..., Pod], edns: dict[str, int], limit: int
) -> None:
    found = many(make_service, make_pod)
    question = query("many.default.svc.cluster.local", **edns)
    cut = ask(found, question)
    assert cut.header.tc == 1
    assert limit - 16 < len(cut.pack()) <= limit, "as much as fits"
    whole = ask(found, question, tcp=True)
    assert whole.header.tc == 0
    assert len(set(values(whole))) == 500
    assert values(whole)[: len(cut.rr)] == values(cut)


@pytest.mark.parametrize("type_", ["A", "AAAA", "SRV", "PTR", "TXT", "SOA", "CNAME", "NS", "ANY"])
def test_an_answer_of_ours_is_one_record_or_at_most_twice_the_question(table: Zone, type_: str) -> None:
    ours = (WEB, "db.default.svc.cluster.local", f"_http._tcp.{WEB}", "2.1.251.9.in-addr.arpa", "cluster.local", "x.node.edged")
    for name in ours:
        packed = bytes(query(name, type_).pack())
        found = dns.answer(table, packed, tcp=False)
        assert isinstance(found, bytes)
        reply = DNSRecord.parse(found)
        assert reply.header.tc == 0
        assert len(reply.rr) + len(reply.auth) <= 1 or len(found) <= 2 * len(packed)
        assert len(found) < 2.3 * len(packed), "one record is not much more"


def test_an_absence_is_remembered_by_clients_without_edns_too(table: Zone) -> None:
    assert len(ask(table, query("nobody.default.svc.cluster.local")).auth) == 1
    assert len(ask(table, query("x.node.edged")).auth) == 1


def test_clients_that_never_ask_by_tcp_get_an_address_behind_an_alias(table: Zone) -> None:
    assert values(ask(table, query("near.default.svc.cluster.local"))) == [WEB + ".", "9.251.1.2"]


def answered(table: Zone, question: DNSRecord, *lines: str, code: int = 0) -> tuple[DNSRecord, DNSRecord]:
    """What is asked of a resolver for `question`, and the whole answer when that resolver says `lines`."""
    forward = dns.answer(table, bytes(question.pack()), tcp=False)
    assert isinstance(forward, dns.Forward)
    asked = DNSRecord.parse(message.ask(1, forward.query, edns=False))
    reply = asked.reply()
    reply.header.rcode = code
    for line in lines:
        reply.add_answer(*RR.fromZone(line))
    return asked, DNSRecord.parse(dns.finish(forward, bytes(reply.pack())))


@pytest.mark.parametrize("name", ["out", "in"])
def test_an_external_name_is_followed_outside(table: Zone, name: str) -> None:
    chain = ("www.example.org 300 CNAME a.example.net", "a.example.net 20 A 192.0.2.1", "a.example.net 20 A 192.0.2.2")
    question = query(f"{name}.default.svc.cluster.local")
    asked, reply = answered(table, question, *chain)
    assert asked.q.qname == DNSLabel("www.example.org")
    assert reply.header.id == question.header.id
    assert [(str(r.rname), QTYPE[r.rtype], str(r.rdata)) for r in reply.rr][-3:] == [
        ("out.default.svc.cluster.local.", "CNAME", "www.example.org."),
        ("www.example.org.", "A", "192.0.2.1"),
        ("www.example.org.", "A", "192.0.2.2"),
    ]
    assert reply.rr[-1].ttl == 20
    assert len(reply.rr) == (3 if name == "out" else 4)


def test_an_external_name_that_is_not_there(table: Zone) -> None:
    _, reply = answered(table, query("out.default.svc.cluster.local"), code=RCODE.NXDOMAIN)
    assert (reply.header.rcode, values(reply)) == (RCODE.NXDOMAIN, ["www.example.org."])


def test_of_an_external_name_only_addresses_are_looked_up(table: Zone) -> None:
    _, reply = answered(table, query("out.default.svc.cluster.local", "MX"), "www.example.org 300 MX 10 mail.example.org")
    assert values(reply) == ["www.example.org."]


def test_an_external_name_of_ours_is_followed_here(table: Zone) -> None:
    assert values(ask(table, query("near.default.svc.cluster.local", udp_len=1232))) == [WEB + ".", "9.251.1.2"]
    gone = ask(table, query("gone.default.svc.cluster.local", udp_len=1232))
    assert (gone.header.rcode, len(gone.rr)) == (RCODE.NXDOMAIN, 1)
    assert values(ask(table, query("in.default.svc.cluster.local", "CNAME"))) == ["out.default.svc.cluster.local."]


def test_a_name_that_leads_to_itself_ends(table: Zone) -> None:
    assert ask(table, query("round.default.svc.cluster.local", udp_len=1232)).header.rcode == RCODE.SERVFAIL


def test_no_resolver_answers(table: Zone) -> None:
    forward = dns.answer(table, bytes(query("example.org").pack()), tcp=False)
    assert isinstance(forward, dns.Forward)
    assert DNSRecord.parse(dns.failed(forward)).header.rcode == RCODE.SERVFAIL


@pytest.mark.parametrize("spoil", SPOILT)
def test_a_broken_question_is_a_format_error(table: Zone, spoil: Callable[[bytes], bytes]) -> None:
    packed = bytes(query(WEB).pack())
    found = dns.answer(table, spoil(packed), tcp=False)
    assert isinstance(found, bytes)
    header = DNSRecord.parse(found).header
    assert found[:2] == packed[:2]
    assert (header.qr, header.rcode, header.q, len(found)) == (1, RCODE.FORMERR, 0, 12)


@pytest.mark.parametrize(
    "data", [b"", b"\x00" * 11, bytes(DNSRecord.question(WEB).reply().pack())], ids=["empty", "short", "answer"]
)
def test_what_is_no_question_gets_no_answer(table: Zone, data: bytes) -> None:
    assert dns.answer(table, data, tcp=False) is None


def check(table: Zone, data: bytes, *, tcp: bool) -> None:
    found = dns.answer(table, data, tcp=tcp)
    if isinstance(found, bytes):
        assert found[:2] == data[:2]
        assert found[2] & 0x80
        assert len(found) <= (dns.MAX_TCP if tcp else dns.MAX_EDNS)
        message.question_end(found) if found[4:6] != b"\0\0" else None
    elif isinstance(found, dns.Forward):  # what is forwarded can be answered for
        question = message.ask(1, found.query, edns=True)
        assert message.accepts(question, question[:2] + bytes([question[2] | 0x80]) + question[3:])
        assert len(dns.failed(found)) <= found.limit


def test_many_spoilt_questions_from_a_seed(table: Zone) -> None:
    seed = 20260501
    random = Random(seed)
    for number in range(50_000):
        spoilt = spoil(random, random.choice(QUERIES))
        try:
            check(table, spoilt, tcp=bool(number & 1))
        except Exception as error:
            raise AssertionError(f"seed {seed}, message {number}: {spoilt.hex()}") from error
