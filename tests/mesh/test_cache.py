import pytest
from dnslib import RR, DNSRecord

from edged.mesh import cache, message
from edged.mesh.cache import MAX_STALE_S, RETRY_S, STALE_TTL_S, Cache, key_of


def response(*lines: str, code: int = 0, authority: str = "") -> bytes:
    reply = DNSRecord.question("example.org").reply()
    reply.header.rcode = code
    for line in lines:
        reply.add_answer(*RR.fromZone(line))
    if authority:
        reply.add_auth(*RR.fromZone(authority))
    return bytes(reply.pack())


def put(kept: Cache, data: bytes, now: float = 0.0, key: bytes = b"k") -> None:
    kept.put(key, data, message.survey(data), now)


def ttl(found: cache.Found | None) -> int:
    assert found is not None
    return DNSRecord.parse(found.response).rr[0].ttl


GOOD = response("example.org 60 A 192.0.2.1", "example.org 90 A 192.0.2.2")
SOA = "example.org 900 IN SOA ns.example.org hostmaster.example.org 1 7200 1800 86400 {}"


def test_a_response_is_kept_as_long_as_its_shortest_record_lives() -> None:
    kept = Cache()
    put(kept, GOOD)
    assert kept.get(b"k", 59.9).fresh
    assert not kept.get(b"k", 60.0).fresh
    assert kept.get(b"other", 0.0) is None


def test_it_grows_older_in_the_cache() -> None:
    kept = Cache()
    put(kept, GOOD, 100.0)
    assert (ttl(kept.get(b"k", 100.0)), ttl(kept.get(b"k", 117.5))) == (60, 43)


def test_past_its_time_it_is_given_for_a_short_while_and_then_forgotten() -> None:
    kept = Cache()
    put(kept, GOOD)
    assert ttl(kept.get(b"k", 60.0 + MAX_STALE_S - 1)) == STALE_TTL_S
    assert kept.get(b"k", 60.0 + MAX_STALE_S) is None
    assert (len(kept), kept.bytes) == (0, 0)


@pytest.mark.parametrize(
    ("data", "seconds"),
    [
        (response("example.org 999999 A 192.0.2.1"), cache.MAX_TTL_S),
        (response("example.org 0 A 192.0.2.1"), 0),
        (response(code=3, authority=SOA.format(20)), 20),
        (response(authority=SOA.format(20)), 20),
        (response(code=3, authority=SOA.format(99999)), cache.MAX_NEGATIVE_S),
        (response(code=3), 0),
        (response(), 0),
        (response("example.org 60 A 192.0.2.1", code=2), 0),
    ],
    ids=["long", "none", "no-name", "no-data", "long-absence", "no-name-without-soa", "no-data-without-soa", "failure"],
)
def test_what_is_kept_and_for_how_long(data: bytes, seconds: int) -> None:
    kept = Cache()
    put(kept, data)
    if seconds:
        assert kept.get(b"k", seconds - 0.1).fresh
        assert not kept.get(b"k", seconds).fresh
    else:
        assert kept.get(b"k", 0.0) is None


def test_entries_are_bounded_and_the_one_not_used_for_longest_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "MAX_ENTRIES", 2)
    kept = Cache()
    put(kept, GOOD, key=b"a")
    put(kept, GOOD, key=b"b")
    assert kept.get(b"a", 1.0)
    put(kept, GOOD, key=b"c")
    assert [kept.get(key, 1.0) is not None for key in (b"a", b"b", b"c")] == [True, False, True]


def test_bytes_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "MAX_BYTES", 2 * len(GOOD))
    kept = Cache()
    for number in range(10):
        put(kept, GOOD, key=bytes([number]))
    assert (len(kept), kept.bytes) == (2, 2 * len(GOOD))
    put(kept, response(*(f"example.org 60 A 192.0.2.{n}" for n in range(40))))
    assert kept.get(b"k", 0.0) is None
    put(kept, GOOD, key=bytes([9]))
    assert kept.bytes == 2 * len(GOOD), "the same again replaces itself"


def test_a_question_that_nobody_answered_is_remembered_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "MAX_FAILED", 2)
    kept = Cache()
    for number, key in enumerate((b"a", b"b", b"c")):
        kept.failed(key, float(number))
    assert [kept.failed_lately(key, 2.0) for key in (b"a", b"b", b"c")] == [False, True, True]
    assert not kept.failed_lately(b"c", 2.0 + RETRY_S)
    put(kept, GOOD, key=b"b")
    assert not kept.failed_lately(b"b", 2.0)


def test_the_same_question_has_the_same_key() -> None:
    def key(name: str, type_: str = "A", ad: int = 0) -> bytes:
        asked = DNSRecord.question(name, type_)
        asked.header.ad = ad
        return key_of(message.parse(bytes(asked.pack())))

    assert key("Example.org") == key("example.ORG")
    assert len({key("example.org"), key("example.net"), key("example.org", "AAAA"), key("example.org", ad=1)}) == 4
