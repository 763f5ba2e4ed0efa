"""QUIC as links use it: qh3's connection without what it does a datagram at a time for a log that nobody keeps.

That is a slice of each datagram that comes in and a parsed header of each that goes out: a third of a link's CPU time. And
it takes MAX_STREAMS at a time from its peer, where qh3 has 100 written into it in two places. The client's datagram size is
that of both ends.
"""

import math

from qh3._hazmat import Buffer, QuicConnectionCore
from qh3.quic.connection import NetworkAddress, QuicConnection, QuicConnectionError
from qh3.quic.events import ConnectionTerminated
from qh3.quic.packet import pull_quic_transport_parameters, push_quic_transport_parameters
from qh3.quic.tls_bridge import QuicTlsBridge

NEVER = ("", math.inf)
MAX_STREAMS = 1024  # bidirectional ones that the peer may have open: as many calls as a node takes in all
MAX_UNIDIRECTIONAL = 103  # as qh3 has it: it is not meant to be none, and links use none
MAX_ACK_DELAY_S = 0.025  # RFC 9000, 18.2
ACK_DELAY_EXPONENT = 3  # RFC 9000, 18.2
CLIENT_IDS, SERVER_IDS = 2, 8  # connection ids of the peer's that are kept, as qh3 has it
DATAGRAM_FRAME = 65536  # bytes: what qh3's client says of frames that links do not use
PARAMETERS = 256  # bytes that transport parameters take at most
ACK = "ack_application"  # qh3's name for the timer of an acknowledgement that QUIC owes


class Quic(QuicConnection):
    """A connection that is spoken to in bursts. QuicConnectionError when what was asked cannot be."""

    _sent_at = -math.inf  # what comes was not there before: an answer that seems older than its question ends qh3's connection

    def receive_burst(self, data: bytes, segment: int, source: NetworkAddress, now: float) -> None:
        """Datagrams of `segment` bytes each (the last may be shorter), one after the other."""
        now = max(now, self._sent_at)  # the clock of a round of reads is older than what was sent in it
        if self._core is None or not self._handshake_complete:
            self.receive_gro_buffer(data, segment, source, now)
        else:
            self._call_core(self._core.receive_gro_buffer, data, segment, source, now)
            self._drain_core()

    def transmit(self, now: float) -> list[bytes]:
        """The datagrams to send now."""
        now = self._sent_at = max(now, self._sent_at)
        datagrams: list[bytes] = []
        if self._core is not None:
            poll = self._core.poll_transmit
            try:
                while (datagram := poll(now)) is not None:
                    datagrams.append(datagram[0])
            except RuntimeError as error:
                raise QuicConnectionError(0, None, str(error)) from error
        return datagrams

    def send(self, stream: int, data: bytes | bytearray | memoryview, *, end: bool) -> None:
        """Queue bytes of a stream that is open, and its end: as send_stream_data, which looks for new ones each time."""
        if self._core is None or not self._handshake_complete:
            self.send_stream_data(stream, data, end)
        else:
            self._call_core(self._core.send_stream, stream, data, end)

    def unsent(self, stream: int | None = None) -> int:
        """Bytes of a stream, or of all, that wait to be sent."""
        if self._core is None or self._close_event is not None or not self._handshake_complete:
            return self.get_send_buffer_size(stream)
        return self._core.get_send_buffer_size(stream)

    @property
    def timer(self) -> tuple[str, float]:
        """Which timer runs out next, and when to call handle_timer for it; never is infinity."""
        timer = None if self._core is None else self._core.get_timer()
        return NEVER if timer is None else timer

    @property
    def in_flight(self) -> int:
        """Bytes that were sent and neither acknowledged nor given up."""
        return 0 if self._core is None else self._core.bytes_in_flight

    @property
    def run_out(self) -> int:
        """How many times in a row the timer of lost packets has run out."""
        return 0 if self._core is None else self._core.pto_count

    @property
    def closed(self) -> ConnectionTerminated | None:
        """How it ended. qh3's own event tells that only when the draining period is over, and until then it refuses all."""
        return self._close_event

    def _create_core(self, remote_addr: NetworkAddress, initial_dcid: bytes, now: float) -> None:
        """As qh3's does for a connection that resumes no session, but for the streams."""
        configuration, version = self._configuration, self._version or 0
        self._core = QuicConnectionCore(
            is_client=self._is_client,
            version=version,
            local_addr=("0.0.0.0", 0),  # noqa: S104  no socket is bound
            remote_addr=remote_addr,
            source_cid=self.host_cid,
            destination_cid=initial_dcid,
            peer_address_validated=self._is_client,
            active_connection_id_limit=CLIENT_IDS if self._is_client else SERVER_IDS,
            max_datagram_size=configuration.max_datagram_size,
            probe_datagram_size=configuration.probe_datagram_size,
            idle_timeout=configuration.idle_timeout,
            ack_delay_exponent=ACK_DELAY_EXPONENT,
            max_datagram_frame_size=DATAGRAM_FRAME if self._is_client else None,
            peer_max_datagram_frame_size=None,
            connection_receive_window=configuration.max_data,
            connection_send_limit=0,
            stream_receive_window=configuration.max_stream_data,
            stream_send_limit_bidi_local=0,
            stream_send_limit_bidi_remote=0,
            stream_send_limit_uni=0,
            max_stream_reassembly=configuration.max_stream_data,
            local_max_streams_bidi=MAX_STREAMS,
            local_max_streams_uni=MAX_UNIDIRECTIONAL,
            peer_max_streams_bidi=0,
            peer_max_streams_uni=0,
            initial_rtt=configuration.initial_rtt,
            max_ack_delay=MAX_ACK_DELAY_S,
            initial_time=now,
        )
        self._applied_transport_parameters = None
        self._pre_handshake_state_replayed = False

    def _create_tls(self, remote_source_cid: bytes | None) -> QuicTlsBridge:
        """As qh3's, but for the streams."""
        self._tls = _Tls(
            self._configuration,
            version=self._version or 0,
            local_initial_source_connection_id=self.host_cid,
            remote_initial_source_connection_id=remote_source_cid,
            original_destination_connection_id=self._original_destination_connection_id,
            retry_source_connection_id=self._retry_source_connection_id,
            version_change_handler=self._set_version,
        )
        return self._tls


class _Tls(QuicTlsBridge):
    def serialize_transport_parameters(self) -> bytes:
        """What the peer is told of us."""
        parameters = pull_quic_transport_parameters(Buffer(data=super().serialize_transport_parameters()))
        parameters.initial_max_streams_bidi = MAX_STREAMS
        parameters.max_udp_payload_size = self.configuration.max_datagram_size  # the peer, too, sends no larger ones
        buffer = Buffer(capacity=PARAMETERS)
        push_quic_transport_parameters(buffer, parameters)
        return bytes(buffer.data)
