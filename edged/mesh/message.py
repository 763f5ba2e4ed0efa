"""DNS messages as bytes: what of a question we act on, records, replies, and what to know of another's response.

RFC 1035 section 4, RFC 6891. Only ProtocolError comes out of bytes from outside. A general parser took 600 us a question
where this takes 10: names are compared as they are on the wire, and records are made once, not for each answer.
"""

import struct
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

from edged.errors import ProtocolError

HEADER = 12  # bytes
MAX_LABEL = 63  # bytes; a length byte of 192 and more begins a pointer, what is between has no meaning
MAX_NAME = 255  # bytes of a name with its length bytes
MAX_QUERY = 4096  # bytes: a question is under 300, with every EDNS option in use about 1,000
MAX_PLAIN = 512  # bytes of a UDP message without EDNS (RFC 1035 4.2.1)
MAX_EDNS = 1232  # bytes of a UDP message: never fragmented on any path that carries IPv6 (DNS flag day 2020)
MAX_TCP = 65535  # bytes: the length before a message has 16 bits
MAX_WIRED = 4096  # names kept in their wire form, 200 bytes each: those of a thousand services, made anew at each change
POINTER = 0xC0

NOERROR, FORMERR, SERVFAIL, NXDOMAIN, NOTIMP, REFUSED = range(6)  # RFC 1035 4.1.1
BADVERS = 16  # an extended RCODE, RFC 6891 6.1.3
IN = 1
A, CNAME, SOA, PTR, TXT, AAAA, SRV, OPT, ANY = 1, 5, 6, 12, 16, 28, 33, 41, 255
QR, AA, TC, RD, RA, AD, CD = 0x8000, 0x0400, 0x0200, 0x0100, 0x0080, 0x0020, 0x0010
OPCODE, RCODE = 0x7800, 0x000F
DO = 0x8000  # in an OPT record: the client wants signatures

_HEADER = struct.Struct("!HHHHHH")  # number, flags, questions, answers, authorities, additional ones
_RECORD = struct.Struct("!HHIH")  # type, class, seconds to live, bytes of data: what follows a record's name
_KIND = struct.Struct("!HH")  # type and class of a question
_TTL_AT = 4  # of a record's fields
QUESTION_NAME = struct.pack("!H", POINTER << 8 | HEADER)  # a pointer to the name that was asked


class Query(NamedTuple):
    """A question as it came. `name` is on the wire's form, as asked; `edns` is the size announced, None without EDNS."""

    number: int
    flags: int
    name: bytes
    type: int
    class_: int
    edns: int | None
    version: int
    dnssec: bool

    @property
    def key(self) -> bytes:
        """The name to look up: length bytes are below the letters, so this changes letters only."""
        return self.name.lower()

    @property
    def question(self) -> bytes:
        """The question section."""
        return self.name + _KIND.pack(self.type, self.class_)


class Survey(NamedTuple):
    """What is to be known of a response. `ttls` is where its seconds to live stand, `least` the fewest of them.

    `negative` is how long an absence may be believed: that of the SOA record (RFC 2308 5), None when there is none. `opt`
    is where the OPT record begins, and how many additional records stand before it: it belongs to one hop and is not passed on.
    """

    answers: int
    ttls: tuple[int, ...]
    least: int | None
    negative: int | None
    opt: tuple[int, int] | None


def parse(data: bytes) -> Query:
    """The one question in `data`, at least HEADER bytes. ProtocolError when it is not one, or more than that."""
    if len(data) > MAX_QUERY:
        raise ProtocolError(f"a query of {len(data)} bytes, at most {MAX_QUERY} are taken")
    number, flags, questions, answers, authorities, more = _HEADER.unpack_from(data)
    if (questions, answers, authorities) != (1, 0, 0):
        raise ProtocolError("a query has one question, and no answers")
    at = question_end(data)
    type_, class_ = _KIND.unpack_from(data, at - _KIND.size)
    edns, ttl = None, 0
    name = data[HEADER : at - _KIND.size]
    for _ in range(more):
        kind, size, seconds, at = _record(data, _after_name(data, at))
        if kind == OPT:
            if edns is not None:
                raise ProtocolError("two OPT records")
            edns, ttl = size, seconds
    return Query(number, flags, name, type_, class_, edns, ttl >> 16 & 0xFF, bool(ttl & DO))


def question_end(data: bytes) -> int:
    """Where the question ends. ProtocolError when it is cut, or its name compressed: nothing stands before it to point at."""
    at = HEADER
    while at < len(data) and 0 < data[at] <= MAX_LABEL:
        at += 1 + data[at]
    if at + 1 + _KIND.size > len(data) or data[at] or at - HEADER >= MAX_NAME:
        raise ProtocolError("the question is cut, or its name is compressed or too long")
    return at + 1 + _KIND.size


def survey(response: bytes) -> Survey:
    """All records of `response` passed over once. ProtocolError when it is cut or malformed."""
    if len(response) < HEADER:
        raise ProtocolError("the header is cut")
    _, _, questions, answers, authorities, more = _HEADER.unpack_from(response)
    if questions != 1:
        raise ProtocolError("not one question")
    at = question_end(response)
    ttls: list[int] = []
    least = negative = opt = None
    for number in range(answers + authorities + more):
        begin = at
        fields = _after_name(response, at)
        type_, _, ttl, at = _record(response, fields)
        if type_ == OPT:
            opt = (begin, number - answers - authorities)
            if opt[1] < 0:
                raise ProtocolError("an OPT record is no answer")
            break  # what follows is additional, and may be left out
        ttl = ttl if ttl < 1 << 31 else 0  # RFC 2181 8: the sign bit is taken for zero
        ttls.append(fields + _TTL_AT)
        least = ttl if least is None else min(least, ttl)
        if type_ == SOA and answers <= number < answers + authorities and at - fields >= _RECORD.size + 4:
            negative = min(ttl, int.from_bytes(response[at - 4 : at], "big"))
    return Survey(answers, tuple(ttls), least, negative, opt)


def data_of(response: bytes, type_: int) -> list[bytes]:
    """The data of the answers of `type_`, whatever their names, in a response that `survey` let pass."""
    answers = _HEADER.unpack_from(response)[3]
    found = []
    at = question_end(response)
    for _ in range(answers):
        fields = _after_name(response, at)
        kind, _, _, at = _record(response, fields)
        if kind == type_:
            found.append(response[fields + _RECORD.size : at])
    return found


def accepts(query: bytes, response: bytes) -> bool:
    """Whether `response` is an answer to `query`: the same number, the same question but for the case of its name."""
    end = question_end(query)
    if len(response) < end or not response[2] & QR >> 8:
        return False
    return response[:2] + response[4:6] == query[:2] + query[4:6] and response[HEADER:end].lower() == query[HEADER:end].lower()


def without_opt(response: bytes, found: Survey) -> bytes:
    """`response` up to its OPT record, which nearly everywhere is the last one: names in what follows may point behind it."""
    if found.opt is None:
        return response
    at, before = found.opt
    return response[:10] + before.to_bytes(2, "big") + response[HEADER:at]


def aged(response: bytes, ttls: Sequence[int], seconds: int, most: int) -> bytes:
    """`response` as it is `seconds` later: each time to live is that much less, and at most `most`."""
    older = bytearray(response)
    for at in ttls:
        left = max(0, int.from_bytes(older[at : at + 4], "big") - seconds)
        older[at : at + 4] = min(left, most).to_bytes(4, "big")
    return bytes(older)


def ask(number: int, query: Query, *, edns: bool) -> bytes:
    """The question of `query` as we ask it of a resolver."""
    flags = RD | query.flags & (AD | CD)
    extra = _opt(0, query.dnssec) if edns else b""
    return _HEADER.pack(number, flags, 1, 0, 0, int(edns)) + query.question + extra


def passed_on(query: Query, response: bytes, limit: int) -> bytes:
    """Another's `response`, without OPT, as an answer to `query`; when over `limit`, its header and TC: ask again by TCP."""
    flags = int.from_bytes(response[2:4], "big") & ~(AA | RD) | query.flags & RD | RA
    opt = _opt(0, query.dnssec) if query.edns is not None else b""
    counts = response[4:10]
    more = int.from_bytes(response[10:12], "big")
    body = response[HEADER + len(query.question) :]
    if HEADER + len(query.question) + len(body) + len(opt) > limit:
        flags, counts, more, body = flags | TC, b"\0\1" + bytes(4), 0, b""
    head = struct.pack("!HH", query.number, flags) + counts + (more + bool(opt)).to_bytes(2, "big")
    return head + query.question + body + opt


def reply(
    query: Query, code: int, limit: int, records: Sequence[bytes] = (), *, authority: bytes = b"", authoritative: bool = False
) -> bytes:
    """An answer of ours in at most `limit` bytes: records that do not fit are left out, and the TC bit says so.

    An SOA record in `authority` that does not fit is left out silently: the answer is only not remembered then.
    """
    opt = _opt(code >> 4, query.dnssec) if query.edns is not None else b""
    room = limit - HEADER - len(query.question) - len(opt)
    fitting: list[bytes] = []
    for record in records:
        if len(record) > room:
            break
        room -= len(record)
        fitting.append(record)
    authority = authority if len(authority) <= room else b""
    flags = QR | query.flags & (OPCODE | RD | CD) | RA | code & RCODE
    flags |= AA * authoritative | TC * (len(fitting) < len(records))
    counts = (1, len(fitting), int(bool(authority)), int(bool(opt)))
    return b"".join((_HEADER.pack(query.number, flags, *counts), query.question, *fitting, authority, opt))


def failure(query: bytes, code: int) -> bytes:
    """The answer that says only `code`, to any query of at least HEADER bytes. The question is left out (RFC 1035 4.1.1)."""
    flags = QR | int.from_bytes(query[2:4], "big") & (OPCODE | RD) | RA | code
    return query[:2] + flags.to_bytes(2, "big") + bytes(8)


def record(type_: int, data: bytes, ttl: int, name: bytes = QUESTION_NAME) -> bytes:
    """A record of class IN at `name`, which is the one that was asked when it is not given."""
    return name + _RECORD.pack(type_, IN, ttl, len(data)) + data


@lru_cache(maxsize=MAX_WIRED)
def wire(name: str) -> bytes:
    """`name` as it is on the wire, in small letters. ValueError when it has an empty or long label, or is too long itself."""
    packed = bytearray()
    for label in name.lower().removesuffix(".").encode("ascii").split(b"."):
        if not 0 < len(label) <= MAX_LABEL:
            raise ValueError(f"not a DNS name: {name!r}")
        packed.append(len(label))
        packed += label
    if len(packed) >= MAX_NAME:
        raise ValueError(f"over {MAX_NAME} bytes: {name!r}")
    return bytes(packed) + b"\0"


def parents(name: bytes) -> list[bytes]:
    """`name`, in the wire's form, and all names above it but the root, the longest first."""
    found = []
    at = 0
    while name[at]:
        found.append(name[at:])
        at += 1 + name[at]
    return found


def _opt(code: int, dnssec: bool) -> bytes:
    """An OPT record: the root's name, our size, the upper bits of the RCODE, version 0."""
    return b"\0" + _RECORD.pack(OPT, MAX_EDNS, code << 24 | DO * dnssec, 0)


def _after_name(data: bytes, at: int) -> int:
    """Where the name at `at` ends; a pointer ends it, and is not followed."""
    while at < len(data):
        length = data[at]
        if length >= POINTER:
            return at + 2
        if length > MAX_LABEL:
            break
        at += 1 + length
        if length == 0:
            return at
    raise ProtocolError("a name is cut, or has a label of no known kind")


def _record(data: bytes, at: int) -> tuple[int, int, int, int]:
    """Type, class, seconds to live, and where the record ends whose fields begin at `at`."""
    if at + _RECORD.size > len(data):
        raise ProtocolError("a record is cut")
    type_, class_, ttl, length = _RECORD.unpack_from(data, at)
    end = at + _RECORD.size + length
    if end > len(data):
        raise ProtocolError("the data of a record is cut")
    return type_, class_, ttl, end
