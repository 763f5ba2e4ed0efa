from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edged.errors import InvalidError
from edged.hub import book as module
from edged.hub.book import DAY_S, FORGET_DAYS, MAX_BLAMES, MAX_BOOK, MAX_HEARD, MAX_PROVED, Book
from edged.hub.candidates import candidates
from edged.kit.address import Address

TODAY = 20_000 * DAY_S
ONE, TWO = Address("192.168.1.2", 7400), Address("192.168.1.3", 7400)


def usable(texts: Iterable[str]) -> list[Address]:
    return candidates(texts, ipv6=True, loopback=False)


def new(of: str = "acme/site") -> Book:
    return Book(of, usable)


def reopened(book: Book) -> Book:
    again = new()
    again.load(book.dump())
    return again


def test_where_links_ran_is_kept_the_newest_first() -> None:
    book = new()
    book.proved("gw-b", ONE, TODAY)
    book.proved("gw-b", TWO, TODAY)
    book.proved("gw-c", Address("fd00::5", 7400), TODAY)
    book.heard("gw-d", ONE)
    again = reopened(book)
    assert again.addresses("gw-b") == [TWO, ONE]
    assert again.addresses("gw-c") == [Address("fd00::5", 7400)]
    assert sorted(again.names()) == ["gw-b", "gw-c"]
    assert again.addresses("gw-d") == []  # a beacon proves where a node is, not that it answers there


def test_only_news_is_worth_writing() -> None:
    book = new()
    assert not book.news
    book.proved("gw-b", ONE, TODAY)
    assert book.news
    again = reopened(book)
    assert not book.news
    assert not again.news
    book.heard("gw-b", TWO)
    book.proved("gw-b", ONE, TODAY + DAY_S - 1)
    assert not book.news
    book.proved("gw-b", ONE, TODAY + DAY_S)
    assert book.news


def test_it_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_NODES", 2)
    book = new()
    for number in range(10):
        book.proved("gw-b", Address("192.168.1.2", 7000 + number), TODAY)
        book.heard("gw-b", Address("192.168.1.2", 8000 + number))
    assert [address.port for address in book.addresses("gw-b")] == [8009, 8008, 8007, 7009, 7008, 7007]
    assert len(book.addresses("gw-b")) == MAX_HEARD + MAX_PROVED
    book.proved("gw-c", ONE, TODAY)
    book.proved("gw-b", ONE, TODAY)
    book.proved("gw-d", ONE, TODAY)
    assert book.names() == ["gw-b", "gw-d"]


def test_an_address_where_someone_else_answers_is_left_alone_until_the_node_is_there_again() -> None:
    book = new()
    book.proved("gw-b", ONE, TODAY)
    for _ in range(MAX_BLAMES):
        assert book.addresses("gw-b") == [ONE]
        book.blame("gw-b", ONE)
    assert book.addresses("gw-b") == []
    assert reopened(book).addresses("gw-b") == [ONE]
    assert book.heard("gw-b", ONE)
    assert book.addresses("gw-b") == [ONE]
    assert book.has_heard("gw-b", ONE)
    book.blame("gw-b", ONE)
    assert not book.has_heard("gw-b", ONE)  # the next beacon is to clear it
    assert not book.heard("gw-b", ONE)
    book.blame("gw-z", ONE)
    assert not book._blames
    book.blame("gw-b", ONE)
    book.heard("gw-b", TWO)
    assert book._blames
    for number in range(MAX_HEARD + MAX_PROVED):
        book.heard("gw-b", Address("192.168.1.2", 7000 + number))
        book.proved("gw-b", Address("192.168.1.2", 7000 + number), TODAY)
    assert not book._blames


def test_who_was_not_seen_for_a_month_while_others_were_is_forgotten() -> None:
    book = new()
    book.proved("gone", ONE, TODAY)
    book.proved("away", ONE, TODAY + DAY_S)
    book.proved("here", ONE, TODAY + FORGET_DAYS * DAY_S)
    assert sorted(reopened(book).names()) == ["away", "here"]


def test_a_file_of_another_group_says_nothing() -> None:
    book = new("acme/yard")
    book.proved("gw-b", ONE, TODAY)
    assert reopened(book).names() == []


def test_addresses_of_many_hosts_or_none_are_left_out() -> None:
    again = new()
    again.load(
        b'{"version":1,"of":"acme/site","nodes":{"gw-b":{"day":1,"addresses":["239.255.0.1:7400","0.0.0.0:1","x"]},'
        b'"gw-c":{"day":1,"addresses":["192.168.1.2:7400","127.0.0.1:1"]}}}'
    )
    assert again.names() == ["gw-c"]
    assert again.addresses("gw-c") == [ONE]


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"\x00" * 100,
        b"[" * 10_000,
        b'{"version":2,"of":"acme/site","nodes":{}}',
        b'{"version":1,"of":"acme/site","nodes":{"../x":{"day":1,"addresses":[]}}}',
        b'{"version":1,"of":"acme/site","nodes":{},"more":1}',
        b" " * (MAX_BOOK + 1),
    ],
    ids=["empty", "zeros", "deep", "version", "name", "field", "huge"],
)
def test_a_damaged_file_is_said_to_be_one(text: bytes) -> None:
    with pytest.raises(InvalidError):
        new().load(text)


@given(st.data())
def test_damage_raises_the_declared_error_only(data: st.DataObject) -> None:
    book = new()
    book.proved("gw-b", ONE, TODAY)
    text = bytearray(book.dump())
    for _ in range(data.draw(st.integers(1, 4))):
        text[data.draw(st.integers(0, len(text) - 1))] = data.draw(st.integers(0, 255))
    try:
        new().load(bytes(text[: data.draw(st.integers(0, len(text)))]))
    except InvalidError:
        pass
