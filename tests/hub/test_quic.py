import math
from typing import Any

import pytest

from edged.hub.link import FAKE_PEER, MAX_DATAGRAM, _configuration
from edged.hub.packets import destination
from edged.hub.quic import MAX_STREAMS, Quic
from edged.kit.udp import bursts


class Pair:
    """A client and a server with nothing between them."""

    def __init__(self, acme: Any) -> None:
        self.now = 100.0
        self.client = Quic(configuration=_configuration(acme.identity("gw-a"), "gw-b"))
        self.client.connect(FAKE_PEER, self.now)
        first = self.client.transmit(self.now)
        self.server = Quic(
            configuration=_configuration(acme.identity("gw-b"), None),
            original_destination_connection_id=destination(first[0]).connection_id,
        )
        self.hand(self.server, first)
        for _ in range(10):
            self.hand(self.client, self.server.transmit(self.now))
            self.hand(self.server, self.client.transmit(self.now))
        self.now += 1.0  # QUIC paces what it sends
        for quic in (self.client, self.server):
            quic.handle_timer(self.now)
            quic.transmit(self.now)

    def hand(self, to: Quic, datagrams: list[bytes]) -> None:
        for data in datagrams:
            to.receive_burst(data, len(data), FAKE_PEER, self.now)

    def stream(self) -> int:
        stream = self.client.get_next_available_stream_id()
        self.client.send_stream_data(stream, b"")
        return stream


def received(quic: Quic) -> bytes:
    data = b""
    while (event := quic.next_event()) is not None:
        data += getattr(event, "data", b"")
    return data


@pytest.fixture
def pair(acme: Any) -> Pair:
    return Pair(acme)


def test_nothing_is_sent_before_there_is_a_connection(acme: Any) -> None:
    quic = Quic(configuration=_configuration(acme.identity("gw-a"), "gw-b"))
    assert quic.transmit(1.0) == []
    assert quic.in_flight == quic.unsent() == quic.run_out == 0
    assert quic.timer[1] == math.inf


def test_a_burst_is_taken_as_its_datagrams_are(pair: Pair) -> None:
    stream, data = pair.stream(), bytes(range(256)) * 40
    pair.client.send_stream_data(stream, data)
    assert pair.client.unsent() == len(data)
    datagrams = pair.client.transmit(pair.now)
    assert pair.client.unsent() == 0
    assert pair.client.in_flight >= len(data)
    runs = list(bursts(datagrams))
    assert len(runs) < len(datagrams)
    for run in runs:
        pair.server.receive_burst(b"".join(run), len(run[0]), FAKE_PEER, pair.now)
    assert received(pair.server) == data
    pair.hand(pair.client, pair.server.transmit(pair.now))
    assert pair.client.in_flight < MAX_DATAGRAM


def test_what_was_lost_is_sent_again_when_its_timer_has_run_out(pair: Pair) -> None:
    pair.client.send_stream_data(pair.stream(), b"lost")
    assert pair.client.transmit(pair.now)
    assert not pair.client.transmit(pair.now)
    run_out = 0
    while not (data := received(pair.server)):
        pair.now = pair.client.timer[1]
        pair.client.handle_timer(pair.now)
        run_out = max(run_out, pair.client.run_out)
        pair.hand(pair.server, pair.client.transmit(pair.now))
        pair.hand(pair.client, pair.server.transmit(pair.now))
    assert data == b"lost"
    assert run_out


def test_as_many_streams_as_it_says(pair: Pair) -> None:
    assert pair.client.max_concurrent_bidi_streams == pair.server.max_concurrent_bidi_streams == MAX_STREAMS
    streams = [pair.stream() for _ in range(300)]
    for stream in streams:
        pair.client.send_stream_data(stream, b"x", end_stream=True)
    while pair.client.unsent() or pair.client.in_flight:
        pair.hand(pair.server, pair.client.transmit(pair.now))
        pair.now += 0.01
        pair.server.handle_timer(pair.now)
        pair.hand(pair.client, pair.server.transmit(pair.now))
    assert received(pair.server) == b"x" * 300


def test_an_end_is_told_at_once(pair: Pair) -> None:
    assert pair.client.closed is None
    pair.server.close(error_code=0, reason_phrase="the node stops")
    pair.hand(pair.client, pair.server.transmit(pair.now))
    assert pair.client.closed is not None
    assert pair.client.closed.reason_phrase == "the node stops"
