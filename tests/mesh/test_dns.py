from collections.abc import Callable
from random import Random

import pytest
from dnslib import CLASS, EDNS0, QTYPE, RCODE, DNSHeader, DNSLabel, DNSQuestion, DNSRecord
from hypothesis import example, given, settings
from hypothesis import strategies as st

from edged.mesh import dns
from edged.mesh.table import Entry, Name, Table, build
from edged.model.core import Pod, Service

WEB = "web.default.svc.cluster.local"


@pytest.fixture
def table(make_service: Callable[..., Service], make_pod: Callable[..., Pod]) -> Table:
    services = [make_service(), make_service("db", ip="None"), make_service("lost", "other", ip="")]
    pods = [make_pod(f"db-{number}", ip=f"172.17.0.{number}", labels={"app": "db"}) for number in (2, 3)]
    return build(services, pods, "gw-a")


def query(name: str, type_: str = "A", **edns: int) -> DNSRecord:
    question = DNSRecord.question(name, type_)
    if edns:
        question.add_ar(EDNS0(**edns))
    return question


def ask(table: Table, question: DNSRecord, *, tcp: bool = False) -> DNSRecord:
    found = dns.answer(table, bytes(question.pack()), tcp=tcp)
    assert isinstance(found, bytes)
    reply = DNSRecord.parse(found)
    assert reply.header.id == question.header.id
    assert reply.header.qr == 1
    return reply


def values(reply: DNSRecord) -> list[str]:
    return [str(record.rdata) for record in reply.rr]


def test_a_service_has_its_address(table: Table) -> None:
    reply = ask(table, query(WEB))
    assert reply.header.rcode == RCODE.NOERROR
    assert (reply.header.aa, reply.header.ra, reply.header.tc) == (1, 1, 0)
    assert values(reply) == ["9.251.1.2"]
    assert reply.a.ttl == 30
    assert reply.a.rname == DNSLabel(WEB)


def test_a_name_comes_back_as_it_was_asked(table: Table) -> None:
    reply = ask(table, query("wEb.Default.SVC.cluster.LOCAL"))
    assert values(reply) == ["9.251.1.2"]
    assert reply.q.qname.label == reply.a.rname.label == (b"wEb", b"Default", b"SVC", b"cluster", b"LOCAL")


def test_a_headless_service_has_the_addresses_of_its_pods(table: Table) -> None:
    assert values(ask(table, query("db.default.svc.cluster.local"))) == ["172.17.0.2", "172.17.0.3"]


def test_without_root_the_twin_is_the_address(make_service: Callable[..., Service]) -> None:
    table = build([make_service()], [], "gw-a", "127.96.0.0/16")
    assert values(ask(table, query(WEB))) == ["127.96.1.2"]
    assert values(ask(table, query("2.1.96.127.in-addr.arpa", "PTR"))) == [WEB + "."]


@pytest.mark.parametrize(
    ("name", "type_", "code"),
    [
        (WEB, "AAAA", RCODE.NOERROR),
        (WEB, "SRV", RCODE.NOERROR),
        (WEB, "TXT", RCODE.NOERROR),
        ("lost.other.svc.cluster.local", "A", RCODE.NOERROR),
        ("default.svc.cluster.local", "A", RCODE.NOERROR),
        ("svc.cluster.local", "A", RCODE.NOERROR),
        ("cluster.local", "A", RCODE.NOERROR),
        ("nobody.default.svc.cluster.local", "A", RCODE.NXDOMAIN),
        ("web.other.svc.cluster.local", "AAAA", RCODE.NXDOMAIN),
        ("absent.svc.cluster.local", "A", RCODE.NXDOMAIN),
        ("x.web.default.svc.cluster.local", "A", RCODE.NXDOMAIN),
        ("www.example.org.default.svc.cluster.local", "A", RCODE.NXDOMAIN),
        ("web.default.cluster.local", "A", RCODE.NXDOMAIN),
    ],
)
def test_what_is_not_there_is_denied_with_the_soa(table: Table, name: str, type_: str, code: int) -> None:
    reply = ask(table, query(name, type_))
    assert reply.header.rcode == code
    assert not reply.rr
    (soa,) = reply.auth
    assert (soa.rtype, soa.rname, soa.ttl) == (QTYPE.SOA, DNSLabel("cluster.local"), 30)
    assert soa.rdata.times[4] == 30


def test_the_zone_has_a_soa(table: Table) -> None:
    reply = ask(table, query("cluster.local", "SOA"))
    assert [record.rtype for record in reply.rr] == [QTYPE.SOA]
    assert not reply.auth


def test_an_address_has_its_name(table: Table) -> None:
    assert values(ask(table, query("2.1.251.9.in-addr.arpa", "PTR"))) == [WEB + "."]
    assert ask(table, query("2.1.251.9.in-addr.arpa", "A")).header.rcode == RCODE.NOERROR


def test_an_address_that_nobody_has_has_no_name(table: Table) -> None:
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
        ("x.2.1.251.9.in-addr.arpa", "PTR"),
        (".", "NS"),
    ],
)
def test_the_rest_is_forwarded(table: Table, name: str, type_: str) -> None:
    packed = bytes(query(name, type_).pack())
    assert dns.answer(table, packed, tcp=False) == dns.Forward(512)
    assert dns.answer(table, packed, tcp=True) == dns.Forward(65535)


@pytest.mark.parametrize(("announced", "limit"), [(100, 512), (512, 512), (900, 900), (4096, 1232), (65535, 1232)])
def test_a_client_says_how_much_it_takes(table: Table, announced: int, limit: int) -> None:
    packed = bytes(query("example.org", udp_len=announced).pack())
    assert dns.answer(table, packed, tcp=False) == dns.Forward(limit)


@pytest.mark.parametrize("name", [WEB, "example.org"])
def test_any_is_refused(table: Table, name: str) -> None:
    reply = ask(table, query(name, "ANY"))
    assert reply.header.rcode == RCODE.REFUSED
    assert not reply.rr


def test_other_classes_are_refused(table: Table) -> None:
    question = DNSRecord(q=DNSQuestion("version.bind", QTYPE.TXT, CLASS.CH))
    assert ask(table, question).header.rcode == RCODE.REFUSED


def test_other_operations_are_not_implemented(table: Table) -> None:
    question = query(WEB)
    question.header.opcode = 5
    reply = ask(table, question)
    assert (reply.header.rcode, reply.header.opcode) == (RCODE.NOTIMP, 5)


def test_edns_is_answered_with_edns(table: Table) -> None:
    reply = ask(table, query(WEB, udp_len=4096))
    (opt,) = reply.ar
    assert (opt.rtype, opt.edns_len, opt.edns_ver) == (QTYPE.OPT, 1232, 0)
    assert not ask(table, query(WEB)).ar


def test_an_unknown_edns_version_is_said(table: Table) -> None:
    reply = ask(table, query(WEB, udp_len=1232, version=1))
    assert reply.ar[0].edns_rcode << 4 | reply.header.rcode == dns.BADVERS
    assert not reply.rr


def test_recursion_desired_comes_back(table: Table) -> None:
    question = query(WEB)
    assert ask(table, question).header.rd == 1
    question.header.rd = 0
    assert ask(table, question).header.rd == 0


@pytest.mark.parametrize(("edns", "limit"), [({}, 512), ({"udp_len": 800}, 800), ({"udp_len": 65000}, 1232)])
def test_a_long_answer_is_cut_for_udp_and_whole_for_tcp(edns: dict[str, int], limit: int) -> None:
    hosts = tuple(f"172.17.{number >> 8}.{number & 255}" for number in range(500))
    entry = Entry(Name("default", "many"), "", headless=True, ports={}, hosts=hosts)
    table = Table("gw-a", "9.251.0.0/16", {entry.name: entry}, {}, frozenset({"default"}), ())
    question = query("many.default.svc.cluster.local", **edns)
    cut = ask(table, question)
    assert cut.header.tc == 1
    assert limit - 16 < len(cut.pack()) <= limit, "as much as fits"
    assert values(cut) == list(hosts[: len(cut.rr)])
    whole = ask(table, question, tcp=True)
    assert (whole.header.tc, values(whole)) == (0, list(hosts))


@pytest.mark.parametrize(
    "spoil",
    [
        lambda packed: packed[:-1],
        lambda packed: packed[:4] + b"\x00\x02" + packed[6:],
        lambda packed: packed[:4] + b"\x00\x00" + packed[6:],
        lambda packed: packed[:6] + b"\x00\x01" + packed[8:],
        lambda packed: packed[:12] + b"\xc0\x0c" + packed[12:],
        lambda packed: packed[:16] + b"\xc0\x04" + packed[-4:],
        lambda packed: packed[:12] + b"\x03\xff\xfe\xfd" + packed[12:],
        lambda packed: packed[:12] + b"\x01a" * 200 + packed[12:],
        lambda packed: packed[:12],
        lambda packed: packed + bytes(dns.MAX_QUERY),
        lambda packed: packed[:10] + b"\xff\xff" + packed[12:],
    ],
)
def test_a_broken_question_is_a_format_error(table: Table, spoil: Callable[[bytes], bytes]) -> None:
    packed = bytes(query(WEB).pack())
    found = dns.answer(table, spoil(packed), tcp=False)
    assert isinstance(found, bytes)
    header = DNSRecord.parse(found).header
    assert found[:2] == packed[:2]
    assert (header.qr, header.rcode, header.q, len(found)) == (1, RCODE.FORMERR, 0, 12)


@pytest.mark.parametrize("data", [b"", b"\x00" * 11, bytes(DNSRecord.question(WEB).reply().pack())])
def test_what_is_no_question_gets_no_answer(table: Table, data: bytes) -> None:
    assert dns.answer(table, data, tcp=False) is None


def test_a_chain_of_pointers_ends(table: Table) -> None:
    """dnslib follows each pointer by a call: a chain of them in a record must not exhaust the stack."""
    packed = bytearray(query(WEB).pack())
    packed[10:12] = b"\x00\x02"  # two additional records
    links = 1900
    packed += b"\x00" + QTYPE.NULL.to_bytes(2, "big") + bytes(6) + (1 + 2 * links).to_bytes(2, "big") + b"\x00"
    last = len(packed) - 1
    for _ in range(links):
        packed += (0xC000 | last).to_bytes(2, "big")
        last = len(packed) - 2
    packed += (0xC000 | last).to_bytes(2, "big") + QTYPE.A.to_bytes(2, "big") + bytes(8)
    assert len(packed) <= dns.MAX_QUERY
    with pytest.raises(RecursionError):
        DNSRecord.parse(bytes(packed))
    assert DNSRecord.parse(dns.answer(table, bytes(packed), tcp=True)).header.rcode == RCODE.FORMERR


MESSAGES = [
    bytes(query(WEB).pack()),
    bytes(query("example.org", "AAAA", udp_len=1232).pack()),
    bytes(query("2.1.251.9.in-addr.arpa", "PTR").pack()),
    bytes(query("db.default.svc.cluster.local", "MX", udp_len=512, version=3).pack()),
    bytes(DNSRecord(DNSHeader(id=1, bitmap=0x2800), q=DNSQuestion("cluster.local", QTYPE.SOA)).pack()),
]


def check(table: Table, data: bytes, *, tcp: bool) -> None:
    found = dns.answer(table, data, tcp=tcp)
    if isinstance(found, bytes):
        assert found[:2] == data[:2]
        assert found[2] & 0x80
        assert len(found) <= (dns.MAX_TCP if tcp else dns.MAX_EDNS)
        DNSRecord.parse(found)
    elif isinstance(found, dns.Forward):  # what is forwarded can be answered for
        assert DNSRecord.parse(dns.failure(data, dns.SERVFAIL)).header.rcode == RCODE.SERVFAIL
        assert dns.accepts(data, data[:2] + bytes([data[2] | 0x80]) + data[3:])
        assert len(dns.shortened(data + bytes(2000), data, found.limit)) <= found.limit


FUZZED = build([], [], "gw-a")


@settings(max_examples=300)
@given(st.binary(max_size=600), st.booleans())
@example(bytes(12), False)
def test_random_bytes(data: bytes, tcp: bool) -> None:
    check(FUZZED, data, tcp=tcp)


@settings(max_examples=1000)
@given(st.sampled_from(MESSAGES), st.data(), st.booleans())
def test_cut_and_flipped_questions(message: bytes, data: st.DataObject, tcp: bool) -> None:
    spoilt = bytearray(message[: data.draw(st.integers(0, len(message)))] + data.draw(st.binary(max_size=40)))
    for at, value in data.draw(st.lists(st.tuples(st.integers(0, 500), st.integers(0, 255)), max_size=6)):
        if at < len(spoilt):
            spoilt[at] = value
    check(FUZZED, bytes(spoilt), tcp=tcp)


def test_many_spoilt_questions_from_a_seed() -> None:
    seed = 20250131
    random = Random(seed)
    for number in range(20_000):
        spoilt = bytearray(random.choice(MESSAGES))
        for _ in range(random.randint(1, 5)):
            at = random.randrange(len(spoilt))
            change = random.randrange(3)
            if change == 0:
                spoilt[at] = random.randrange(256)
            elif change == 1:
                del spoilt[at : at + random.randint(1, 4)]
            else:
                spoilt[at:at] = random.randbytes(random.randint(1, 8))
            spoilt = spoilt or bytearray(1)
        try:
            check(FUZZED, bytes(spoilt), tcp=bool(number & 1))
        except Exception as error:
            raise AssertionError(f"seed {seed}, message {number}: {spoilt.hex()}") from error


def test_a_response_is_accepted_only_for_its_question() -> None:
    asked = query("example.org")
    packed = bytes(asked.pack())
    reply = asked.reply()
    assert dns.accepts(packed, bytes(reply.pack()))
    assert not dns.accepts(packed, packed), "a question is no response"
    assert not dns.accepts(packed, b"")
    assert not dns.accepts(packed, bytes(query("example.net").reply().pack()))
    reply.header.id ^= 1
    assert not dns.accepts(packed, bytes(reply.pack()))


def test_a_response_over_the_limit_is_cut_to_its_question() -> None:
    asked = query("example.org")
    reply = asked.reply()
    for number in range(60):
        reply.add_answer(*(DNSRecord.parse(bytes(asked.pack())).replyZone(f"example.org 60 A 192.0.2.{number}").rr))
    long = bytes(reply.pack())
    assert dns.shortened(long, bytes(asked.pack()), len(long)) == long
    short = DNSRecord.parse(dns.shortened(long, bytes(asked.pack()), 512))
    assert (short.header.tc, short.header.id, short.q.qname, short.rr) == (1, asked.header.id, DNSLabel("example.org"), [])
