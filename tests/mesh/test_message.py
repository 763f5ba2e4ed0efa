from collections.abc import Callable
from random import Random

import pytest
from dnslib import CLASS, EDNS0, MX, QTYPE, RR, DNSHeader, DNSLabel, DNSQuestion, DNSRecord
from hypothesis import example, given, settings
from hypothesis import strategies as st

from edged.errors import ProtocolError
from edged.mesh import message
from edged.mesh.message import HEADER

NAME = "web.default.svc.cluster.local"


def question(name: str = NAME, type_: str = "A", **edns: int | str) -> DNSRecord:
    made = DNSRecord.question(name, type_)
    if edns:
        made.add_ar(EDNS0(**edns))
    return made


def packed(record: DNSRecord) -> bytes:
    return bytes(record.pack())


def zoned(asked: DNSRecord, *lines: str, authority: tuple[str, ...] = (), opt: bool = False) -> bytes:
    reply = asked.reply()
    for line in lines:
        reply.add_answer(*RR.fromZone(line))
    for line in authority:
        reply.add_auth(*RR.fromZone(line))
    if opt:
        reply.add_ar(EDNS0(udp_len=4096))
    return packed(reply)


SOA = "example.org 900 IN SOA ns.example.org hostmaster.example.org 1 7200 1800 86400 600"
RESPONSES = [
    zoned(question("example.org"), "example.org 300 A 192.0.2.1", "example.org 60 A 192.0.2.2", opt=True),
    zoned(question("www.example.org"), "www.example.org 300 CNAME example.org", "example.org 7 A 192.0.2.1"),
    zoned(question("nobody.example.org"), authority=(SOA,), opt=True),
]
QUERIES = [
    packed(question()),
    packed(question("example.org", "AAAA", udp_len=1232, flags="do")),
    packed(question("2.1.251.9.in-addr.arpa", "PTR")),
    packed(question(type_="MX", udp_len=512, version=3)),
    packed(DNSRecord(DNSHeader(id=1, bitmap=0x2800), q=DNSQuestion("cluster.local", QTYPE.SOA))),
]


def test_a_question_is_read() -> None:
    query = message.parse(packed(question("wEb.cluster.LOCAL", "AAAA", udp_len=1400, flags="do", version=1)))
    assert query.name == b"\x03wEb\x07cluster\x05LOCAL\0"
    assert query.key == message.wire("web.cluster.local")
    assert (query.type, query.class_, query.edns, query.version, query.dnssec) == (28, 1, 1400, 1, True)
    assert query.flags & message.RD
    plain = message.parse(packed(question()))
    assert (plain.edns, plain.version, plain.dnssec) == (None, 0, False)


def test_the_root_is_a_name() -> None:
    assert message.parse(packed(question(".", "NS"))).name == b"\0"


def test_other_additional_records_are_passed_over() -> None:
    asked = question()
    asked.add_ar(RR("other", QTYPE.MX, rdata=MX("mail"), ttl=1))
    asked.add_ar(EDNS0(udp_len=900))
    assert message.parse(packed(asked)).edns == 900


SPOILT: list[Callable[[bytes], bytes]] = [
    lambda data: data[:-1],
    lambda data: data[:4] + b"\x00\x02" + data[6:],
    lambda data: data[:4] + b"\x00\x00" + data[6:],
    lambda data: data[:6] + b"\x00\x01" + data[8:],
    lambda data: data[:8] + b"\x00\x01" + data[10:],
    lambda data: data[:12] + b"\xc0\x0c" + data[12:],
    lambda data: data[:16] + b"\xc0\x04" + data[-4:],
    lambda data: data[:12] + b"\x01a" * 200 + data[12:],
    lambda data: data[:12],
    lambda data: data + bytes(message.MAX_QUERY),
    lambda data: data[:10] + b"\xff\xff" + data[12:],
    lambda data: data[:10] + b"\x00\x02" + data[12:] + 2 * (b"\0\0\x29\4\0" + bytes(6)),
    lambda data: data[:10] + b"\x00\x01" + data[12:] + b"\0\0\x29\4\0\0\0\0\0\0\x01",
    lambda data: data[:10] + b"\x00\x01" + data[12:] + b"\x40\0\x29\4\0\0\0\0\0\0\0",
]


@pytest.mark.parametrize("spoil", SPOILT)
def test_a_broken_question_is_a_protocol_error(spoil: Callable[[bytes], bytes]) -> None:
    with pytest.raises(ProtocolError):
        message.parse(spoil(packed(question())))


def test_a_chain_of_pointers_is_not_followed() -> None:
    data = bytearray(packed(question()))
    data[10:12] = b"\x00\x01"
    data += (0xC000 | len(data)).to_bytes(2, "big") + QTYPE.A.to_bytes(2, "big") + bytes(8)
    assert message.parse(bytes(data)).edns is None


def test_a_response_is_surveyed() -> None:
    found = message.survey(RESPONSES[0])
    assert (found.answers, found.least, found.negative) == (2, 60, None)
    assert [RESPONSES[0][at : at + 4] for at in found.ttls] == [b"\0\0\x01\x2c", b"\0\0\0\x3c"]
    assert found.opt == (len(RESPONSES[0]) - 11, 0)
    absent = message.survey(RESPONSES[2])
    assert (absent.answers, absent.negative) == (0, 600), "the smaller of the record's time and its last field"


def test_an_soa_record_that_was_asked_for_says_nothing_of_absence() -> None:
    assert message.survey(zoned(question("example.org", "SOA"), SOA)).negative is None


def test_seconds_with_the_sign_bit_are_none() -> None:
    assert message.survey(zoned(question("example.org"), "example.org 4294967295 A 192.0.2.1")).least == 0


@pytest.mark.parametrize("cut", [1, 5, 15, 40])
def test_a_cut_response_is_a_protocol_error(cut: int) -> None:
    with pytest.raises(ProtocolError):
        message.survey(RESPONSES[0][:-cut])
    with pytest.raises(ProtocolError):
        message.survey(RESPONSES[0][:cut])


def test_an_opt_record_is_taken_off_with_what_follows() -> None:
    bare = message.without_opt(RESPONSES[0], message.survey(RESPONSES[0]))
    parsed = DNSRecord.parse(bare)
    assert (len(parsed.rr), parsed.ar) == (2, [])
    assert message.without_opt(bare, message.survey(bare)) == bare
    asked = question("example.org").reply()
    asked.add_ar(EDNS0(udp_len=900))
    asked.add_ar(*RR.fromZone("other.example.org 60 A 192.0.2.1"))
    strange = packed(asked)
    assert DNSRecord.parse(message.without_opt(strange, message.survey(strange))).ar == []


def test_an_opt_record_among_the_answers_is_a_protocol_error() -> None:
    bare = packed(question("example.org").reply())
    with pytest.raises(ProtocolError):
        message.survey(bare[:7] + b"\x01" + bare[8:] + b"\0\0\x29" + bytes(8))


def test_a_response_grows_older() -> None:
    bare = RESPONSES[1]
    older = DNSRecord.parse(message.aged(bare, message.survey(bare).ttls, 5, 100))
    assert [record.ttl for record in older.rr] == [100, 2]
    assert [record.ttl for record in DNSRecord.parse(message.aged(bare, message.survey(bare).ttls, 50, 100)).rr] == [100, 0]


def test_the_data_of_answers() -> None:
    assert message.data_of(RESPONSES[1], message.A) == [b"\xc0\x00\x02\x01"]
    assert message.data_of(RESPONSES[1], message.AAAA) == []
    assert message.data_of(RESPONSES[2], message.SOA) == [], "that is no answer"


def test_a_question_to_a_resolver() -> None:
    asked = message.parse(packed(question("www.example.org", udp_len=512, flags="do")))
    parsed = DNSRecord.parse(message.ask(77, asked, edns=True))
    assert (parsed.header.id, parsed.header.rd, parsed.q.qname) == (77, 1, DNSLabel("www.example.org"))
    assert (parsed.ar[0].edns_len, parsed.ar[0].edns_do) == (1232, 1)
    assert DNSRecord.parse(message.ask(77, asked, edns=False)).ar == []


def test_a_response_is_passed_on_with_the_clients_number_and_letters() -> None:
    asked = message.parse(packed(question("eXample.ORG")))
    found = DNSRecord.parse(message.passed_on(asked, message.without_opt(RESPONSES[0], message.survey(RESPONSES[0])), 512))
    assert found.header.id == asked.number
    assert found.q.qname.label == (b"eXample", b"ORG")
    assert [str(record.rdata) for record in found.rr] == ["192.0.2.1", "192.0.2.2"]
    assert (found.header.ra, found.header.aa, found.ar) == (1, 0, [])


def test_a_response_over_the_limit_is_cut_to_its_question() -> None:
    asked = message.parse(packed(question("example.org", udp_len=512)))
    long = zoned(question("example.org"), *(f"example.org 60 A 192.0.2.{number}" for number in range(60)))
    short = DNSRecord.parse(message.passed_on(asked, long, 512))
    assert (short.header.tc, short.header.id, short.q.qname, short.rr) == (1, asked.number, DNSLabel("example.org"), [])
    assert len(short.ar) == 1
    assert len(DNSRecord.parse(message.passed_on(asked, long, 4096)).rr) == 60


def test_a_reply_holds_as_many_records_as_fit() -> None:
    asked = message.parse(packed(question()))
    records = [message.record(message.A, bytes([192, 0, 2, number]), 30) for number in range(10)]
    size = HEADER + len(asked.question) + 3 * 16
    reply = message.reply(asked, 0, size, records, authority=b"x" * 100)
    assert len(reply) == size
    parsed = DNSRecord.parse(reply)
    assert (parsed.header.tc, len(parsed.rr), parsed.auth) == (1, 3, [])
    assert parsed.rr[0].rname == DNSLabel(NAME)


def test_a_name_in_its_wire_form() -> None:
    assert message.wire("Web.A.") == b"\x03web\x01a\0"
    assert message.parents(message.wire("web.a.b")) == [b"\x03web\x01a\x01b\0", b"\x01a\x01b\0", b"\x01b\0"]


@pytest.mark.parametrize("name", ["", "a..b", "a" * 64, "ü", ".".join(["a" * 60] * 5)])
def test_what_is_no_name_is_a_value_error(name: str) -> None:
    with pytest.raises(ValueError):
        message.wire(name)


def test_a_response_is_accepted_only_for_its_question() -> None:
    asked = question("example.org")
    data = packed(asked)
    reply = asked.reply()
    assert message.accepts(data, packed(reply))
    assert not message.accepts(data, data), "a question is no response"
    assert not message.accepts(data, b"")
    assert not message.accepts(data, packed(question("example.net").reply()))
    reply.header.id ^= 1
    assert not message.accepts(data, packed(reply))


def check(data: bytes) -> None:
    """A response of a resolver, or anything: what passes the survey can be kept, aged, read and passed on."""
    try:
        found = message.survey(data)
    except ProtocolError:
        return
    bare = message.without_opt(data, found)
    again = message.survey(bare)
    assert again.ttls == found.ttls
    assert len(message.aged(bare, again.ttls, 7, 60)) == len(bare)
    message.data_of(bare, message.A)
    asked = message.Query(1, 0, bare[HEADER : message.question_end(bare) - 4], 1, 1, 1232, 0, False)
    assert len(message.passed_on(asked, bare, 1232)) <= 1232


@settings(max_examples=300)
@given(st.binary(max_size=600))
@example(bytes(12))
def test_random_bytes(data: bytes) -> None:
    check(data)


def spoil(random: Random, data: bytes) -> bytes:
    """`data` with bytes changed, taken away, put in, repeated, or cut."""
    spoilt = bytearray(data)
    for _ in range(random.randint(1, 5)):
        at = random.randrange(len(spoilt) + 1)
        match random.randrange(5):
            case 0 if at < len(spoilt):
                spoilt[at] = random.randrange(256)
            case 1:
                del spoilt[at : at + random.randint(1, 4)]
            case 2:
                spoilt[at:at] = random.randbytes(random.randint(1, 8))
            case 3:
                spoilt += spoilt[at : at + 40]
            case _:
                del spoilt[max(at, 12) :]
    return bytes(spoilt)


def test_many_spoilt_messages_from_a_seed() -> None:
    seed = 20260501
    random = Random(seed)
    for number in range(50_000):
        spoilt = spoil(random, random.choice(RESPONSES))
        try:
            check(spoilt)
        except Exception as error:
            raise AssertionError(f"seed {seed}, message {number}: {spoilt.hex()}") from error


def test_classes_are_told() -> None:
    assert message.parse(packed(DNSRecord(q=DNSQuestion("version.bind", QTYPE.TXT, CLASS.CH)))).class_ == CLASS.CH
