"""What a DNS question is answered: names of services from the table, the rest is to be forwarded (RFC 1035, 2308, 6891).

Messages are bytes in, bytes out. A name is matched without regard to case and given back as it was asked.
"""

from ipaddress import IPv4Address, IPv4Network
from typing import NamedTuple

from dnslib import CLASS, EDNS0, OPCODE, PTR, QTYPE, RR, SOA, A, DNSError, DNSHeader, DNSLabel, DNSRecord  # type: ignore[import-untyped]
from dnslib.label import DNSLabelError  # type: ignore[import-untyped]

from edged.mesh.table import Entry, Name, Table

TTL_S = 30  # as Kubernetes: a service that is gone is forgotten within half a minute; also for negative answers
MAX_QUERY = 4096  # bytes: a question is under 300, with every EDNS option in use about 1,000
MAX_PLAIN = 512  # bytes of a UDP answer to a client without EDNS (RFC 1035 4.2.1)
MAX_EDNS = 1232  # bytes of a UDP answer: never fragmented on any path that carries IPv6 (DNS flag day 2020)
MAX_TCP = 65535  # bytes: the length before a message has 16 bits
HEADER = 12  # bytes
MAX_LABEL = 63  # bytes; a greater length byte is a pointer
NOERROR, FORMERR, SERVFAIL, NXDOMAIN, NOTIMP, REFUSED = range(6)  # RFC 1035 4.1.1
BADVERS = 16  # an extended RCODE, RFC 6891 6.1.3

ZONE = (b"cluster", b"local")
SERVICES = (b"svc", *ZONE)
REVERSE = (b"in-addr", b"arpa")


class Forward(NamedTuple):
    """The question is not ours: ask a resolver, and pass on an answer of at most `limit` bytes."""

    limit: int


class _Outcome(NamedTuple):
    """What stands at a name: records of the asked type, or none; `exists` tells NODATA from NXDOMAIN."""

    zone: tuple[bytes, ...]
    records: list[RR]
    exists: bool = True


def answer(table: Table, query: bytes, *, tcp: bool) -> bytes | Forward | None:
    """The answer to `query`, or Forward when it asks for a name that is not ours, or None: bytes that deserve no answer."""
    if len(query) < HEADER or query[2] & 0x80:  # answering answers would let two servers talk for ever
        return None
    try:
        return _answer(table, _parse(query), tcp)
    except (DNSError, DNSLabelError, ValueError, RecursionError):
        return failure(query, FORMERR)


def failure(query: bytes, code: int) -> bytes:
    """The answer that says only `code`, to any query of at least HEADER bytes. The question is left out (RFC 1035 4.1.1)."""
    opcode_and_rd = query[2] & 0x79
    return query[:2] + bytes([0x80 | opcode_and_rd, 0x80 | code]) + bytes(8)


def accepts(query: bytes, response: bytes) -> bool:
    """Whether `response` is an answer to `query`: the same number, the same question but for the case of its name."""
    end = _question_end(query)
    if len(response) < end or not response[2] & 0x80:
        return False
    return response[:2] + response[4:6] == query[:2] + query[4:6] and response[HEADER:end].lower() == query[HEADER:end].lower()


def shortened(response: bytes, query: bytes, limit: int) -> bytes:
    """`response` when it has at most `limit` bytes, else its header with the question and the TC bit: ask again by TCP."""
    if len(response) <= limit:
        return response
    header = response[:2] + bytes([response[2] | 0x02, response[3]]) + b"\x00\x01" + bytes(6)
    return header + query[HEADER : _question_end(query)]


def _question_end(query: bytes) -> int:
    """Where the question ends. DNSError when it is cut, or its name compressed: nothing stands before it to point at."""
    at = HEADER
    while at < len(query) and 0 < query[at] <= MAX_LABEL:
        at += 1 + query[at]
    if at + 5 > len(query) or query[at]:
        raise DNSError("the question is cut, or its name is compressed")
    return at + 5


def _parse(query: bytes) -> DNSRecord:
    if len(query) > MAX_QUERY:
        raise DNSError(f"a query of {len(query)} bytes, at most {MAX_QUERY} are taken")
    if query[4:10] != b"\x00\x01" + bytes(4):
        raise DNSError("a query has one question, and no answers")
    _question_end(query)
    return DNSRecord.parse(query)


def _answer(table: Table, query: DNSRecord, tcp: bool) -> bytes | Forward:
    edns = next((record for record in query.ar if record.rtype == QTYPE.OPT), None)
    limit = MAX_TCP if tcp else max(MAX_PLAIN, min(edns.edns_len if edns else 0, MAX_EDNS))
    if query.header.opcode != OPCODE.QUERY:
        return _reply(query, edns, limit, code=NOTIMP)
    if edns and edns.edns_ver:
        return _reply(query, edns, limit, code=BADVERS)
    if query.q.qclass != CLASS.IN or query.q.qtype == QTYPE.ANY:
        return _reply(query, edns, limit, code=REFUSED)
    outcome = _look_up(table, tuple(part.lower() for part in query.q.qname.label), query.q.qtype, query.q.qname)
    if outcome is None:
        return Forward(limit)
    return _reply(query, edns, limit, outcome=outcome, code=NOERROR if outcome.exists else NXDOMAIN)


def _look_up(table: Table, name: tuple[bytes, ...], type_: int, asked: DNSLabel) -> _Outcome | None:
    """None when `name` is in no zone of ours."""
    if name[-2:] == REVERSE:
        return _pointer(table, name, type_, asked)
    if name[-2:] != ZONE:
        return None
    if name == ZONE:
        return _Outcome(ZONE, [_soa(ZONE)] if type_ == QTYPE.SOA else [])
    if name[-3:] != SERVICES:
        return _Outcome(ZONE, [], exists=False)
    words = [part.decode("ascii", "replace") for part in name[:-3]]
    if len(words) < 2:
        return _Outcome(ZONE, [], exists=not words or words[0] in table.namespaces)
    entry = table.entries.get(Name(words[1], words[0])) if len(words) == 2 else None
    if entry is None:
        return _Outcome(ZONE, [], exists=False)
    found = _hosts(entry) if type_ == QTYPE.A else ()
    return _Outcome(ZONE, [RR(asked, QTYPE.A, ttl=TTL_S, rdata=A(host)) for host in found])


def _hosts(entry: Entry) -> tuple[str, ...]:
    if entry.headless:
        return entry.hosts
    return (entry.address,) if entry.address else ()


def _pointer(table: Table, name: tuple[bytes, ...], type_: int, asked: DNSLabel) -> _Outcome | None:
    """PTR of a service address: whole addresses in the table's network are ours, everything else is forwarded."""
    network = IPv4Network(table.network)
    try:
        address = IPv4Address(b".".join(reversed(name[:-2])).decode("ascii"))
    except ValueError:
        return None
    if address not in network:
        return None
    entry = table.addressed.get(str(address))
    if entry is None:
        return _Outcome(name[2:], [], exists=False)
    target = f"{entry.name.service}.{entry.name.namespace}.svc.cluster.local"
    return _Outcome(name[2:], [RR(asked, QTYPE.PTR, ttl=TTL_S, rdata=PTR(target))] if type_ == QTYPE.PTR else [])


def _soa(zone: tuple[bytes, ...]) -> RR:
    times = (1, 7200, 1800, 86400, TTL_S)  # serial, refresh, retry, expire, negative TTL: there are no transfers
    data = SOA(DNSLabel((b"ns", b"dns", *ZONE)), DNSLabel((b"hostmaster", *ZONE)), times)
    return RR(DNSLabel(zone), QTYPE.SOA, ttl=TTL_S, rdata=data)


def _reply(query: DNSRecord, edns: RR | None, limit: int, *, code: int, outcome: _Outcome | None = None) -> bytes:
    """The reply packed into `limit` bytes: what does not fit is left out, and the TC bit says so."""
    header = DNSHeader(id=query.header.id, bitmap=0, qr=1, ra=1, rd=query.header.rd, opcode=query.header.opcode)
    header.aa, header.rcode = int(outcome is not None), code & 15
    records = outcome.records if outcome else []
    reply = DNSRecord(header, questions=[query.q], rr=records)
    if outcome and not records:
        reply.add_auth(_soa(outcome.zone))
    if edns:
        reply.add_ar(EDNS0(udp_len=MAX_EDNS, ext_rcode=code >> 4))
    packed: bytes = bytes(reply.pack())
    while len(packed) > limit and reply.rr:
        header.tc = 1
        del reply.rr[-max(1, (len(packed) - limit) // 16) :]  # a compressed A record has 16 bytes
        packed = bytes(reply.pack())
    return packed
