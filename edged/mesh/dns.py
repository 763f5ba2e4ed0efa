"""What a DNS question is answered: our names from the zone, the rest is to be forwarded (RFC 1035, 2308, 6891, 8482).

Messages are bytes in, bytes out. A name is matched without regard to case and given back as it was asked. An answer of ours
over UDP is one record, or at most twice the question, unless the client announced by EDNS that it takes more.
"""

from collections.abc import Sequence
from typing import NamedTuple

from edged.errors import ProtocolError
from edged.mesh import message
from edged.mesh.message import AAAA, CNAME, MAX_EDNS, MAX_PLAIN, MAX_TCP, NOERROR, NXDOMAIN, A, Query
from edged.mesh.zone import Zone, soa

MAX_FACTOR = 2  # times the question, of an answer over UDP to a client without EDNS: no gain for who lies about its address
MAX_ALIASES = 8  # CNAME records followed for one question, as common resolvers do


class Forward(NamedTuple):
    """The question is not ours: ask a resolver `query`, and give `finish` its response.

    `aliases` are our CNAME records which led from the name that `asked` has to the one of `query`.
    """

    query: Query
    limit: int
    asked: Query
    aliases: tuple[bytes, ...] = ()


def answer(zone: Zone, data: bytes, *, tcp: bool) -> bytes | Forward | None:
    """The answer to `data`, or Forward when it asks for a name that is not ours, or None: bytes that deserve no answer."""
    if len(data) < message.HEADER or data[2] & message.QR >> 8:  # answering answers would let two servers talk for ever
        return None
    try:
        query = message.parse(data)
    except ProtocolError:
        return message.failure(data, message.FORMERR)
    ours, others = _limits(query, len(data), tcp=tcp)
    code = _refusal(query)
    return _look_up(zone, query, ours, others) if code is None else message.reply(query, code, ours)


def finish(forward: Forward, response: bytes) -> bytes:
    """The answer to a forwarded question, of a resolver's whole `response` to it, which `message.survey` let pass.

    Behind aliases stand the addresses at the end of the resolver's own chain under the name that our last alias gave: where
    the chain led between is nobody's business, and its compressed names would point nowhere here.
    """
    asked, query = forward.asked, forward.query
    if not forward.aliases:
        return message.passed_on(asked, response, forward.limit)
    found: list[bytes] = []
    if asked.type in (A, AAAA):
        least = message.survey(response).least or 0
        found = [message.record(asked.type, data, least, query.name) for data in message.data_of(response, asked.type)]
    return message.reply(asked, response[3] & message.RCODE, forward.limit, [*forward.aliases, *found])


def failed(forward: Forward) -> bytes:
    """The answer when no resolver has one."""
    return message.reply(forward.asked, message.SERVFAIL, forward.limit)


def _limits(query: Query, size: int, *, tcp: bool) -> tuple[int, int]:
    """Bytes of an answer of ours, and of another's, to a question of `size` bytes.

    Others' answers are seldom under twice the question, and many clients without EDNS (musl before 1.2.4) never ask by TCP.
    """
    if tcp:
        return MAX_TCP, MAX_TCP
    if query.edns is None:
        return min(MAX_FACTOR * size, MAX_PLAIN), MAX_PLAIN
    return (max(MAX_PLAIN, min(query.edns, MAX_EDNS)),) * 2


def _refusal(query: Query) -> int | None:
    if query.flags & message.OPCODE:
        return message.NOTIMP
    if query.version:
        return message.BADVERS
    return message.REFUSED if query.class_ != message.IN or query.type == message.ANY else None


def _look_up(zone: Zone, asked: Query, ours: int, others: int) -> bytes | Forward:
    query = asked
    aliases: list[bytes] = []
    for _ in range(MAX_ALIASES):
        key = query.key
        records = zone.names.get(key)
        if records is None:
            break
        alias = records.get(CNAME)
        if alias is None or asked.type == CNAME:
            return _ours(zone, asked, query, aliases, records.get(asked.type, ()), ours)
        aliases.append(alias[0] if query is asked else _renamed(alias[0], query.name))
        query = query._replace(name=alias[0][_DATA_AT:])
    apex = zone.apex(query.key)
    if apex is None and len(aliases) < MAX_ALIASES:
        return Forward(query, others, asked, tuple(aliases))
    code = NXDOMAIN if len(aliases) < MAX_ALIASES else message.SERVFAIL
    return _reply(zone, asked, code, ours, aliases, len(aliases))


def _ours(zone: Zone, asked: Query, query: Query, aliases: Sequence[bytes], records: tuple[bytes, ...], limit: int) -> bytes:
    """The records in an order that differs from question to question: who takes the first one spreads its calls."""
    first = asked.number % len(records) if len(records) > 1 else 0
    found = [*records[first:], *records[:first]]
    if aliases:
        found = [*aliases, *(_renamed(each, query.name) for each in found)]
    return _reply(zone, asked, NOERROR, limit, found, len(aliases) + 1)


def _reply(zone: Zone, asked: Query, code: int, limit: int, records: Sequence[bytes], least: int) -> bytes:
    """With the SOA record when there is no other. The `least` first ones are given to every client: some never ask by TCP."""
    apex = zone.apex(asked.key)
    authority = soa(asked.key, apex) if apex and not records else b""
    needed = message.HEADER + len(asked.question) + len(authority) + sum(map(len, records[:least]))
    return message.reply(asked, code, max(limit, min(needed, MAX_PLAIN)), records, authority=authority, authoritative=True)


_DATA_AT = len(message.record(A, b"", 0))  # of a record at the name that was asked


def _renamed(record: bytes, name: bytes) -> bytes:
    """A record of the zone at a name other than the one that was asked."""
    return name + record[len(message.QUESTION_NAME) :]
