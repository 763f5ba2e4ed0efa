"""The relay's figures in the Prometheus text format. It names no node: whoever may reach the port may read it."""

from collections.abc import Iterator, Mapping

from prometheus_client import generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from relay.core import Relay
from relay.forwarder import Forwarder

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class _Figures(Collector):
    def __init__(self, relay: Relay) -> None:
        self._relay = relay

    def collect(self) -> Iterator[Metric]:
        statistics = self._relay.statistics
        yield GaugeMetricFamily("edged_relay_nodes", "Connected nodes.", self._relay.nodes)
        yield CounterMetricFamily("edged_relay_frames_received", "WebSocket messages from nodes.", statistics.frames_in)
        yield CounterMetricFamily("edged_relay_datagrams_forwarded", "Datagrams taken for a peer.", statistics.datagrams)
        yield CounterMetricFamily("edged_relay_bytes_forwarded", "Bytes of those datagrams.", statistics.bytes)
        yield from _udp(self._relay.forwarder)
        for name, text, counts in (
            ("edged_relay_dropped", "Messages and datagrams dropped, by reason.", statistics.dropped),
            ("edged_relay_refused", "Connections refused or ended by the relay, by reason.", statistics.refused),
        ):
            yield _by_reason(name, text, counts)


def _udp(forwarder: Forwarder | None) -> Iterator[Metric]:
    if forwarder is None:
        return
    yield GaugeMetricFamily("edged_relay_udp_ports", "Forwarding ports that are open.", forwarder.ports)
    yield CounterMetricFamily("edged_relay_udp_questions", "Questions about addresses that were answered.", forwarder.answered)
    yield CounterMetricFamily("edged_relay_udp_datagrams_forwarded", "Datagrams forwarded by UDP.", forwarder.datagrams)
    yield CounterMetricFamily("edged_relay_udp_bytes_forwarded", "Bytes of those datagrams.", forwarder.bytes)
    yield _by_reason("edged_relay_udp_dropped", "Datagrams by UDP that went nowhere, by reason.", forwarder.dropped)


def _by_reason(name: str, text: str, counts: Mapping[str, int]) -> Metric:
    family = CounterMetricFamily(name, text, labels=["reason"])
    for reason, count in sorted(counts.items()):
        family.add_metric([reason], count)
    return family


def render(relay: Relay) -> bytes:
    """All figures, as a scraper reads them."""
    return generate_latest(_Figures(relay))
