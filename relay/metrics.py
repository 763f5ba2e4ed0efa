"""The relay's figures in the Prometheus text format. It names no node: whoever may reach the port may read it."""

from collections.abc import Iterator

from prometheus_client import generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from relay.core import Relay

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
        for name, text, counts in (
            ("edged_relay_dropped", "Messages and datagrams dropped, by reason.", statistics.dropped),
            ("edged_relay_refused", "Connections refused or ended by the relay, by reason.", statistics.refused),
        ):
            family = CounterMetricFamily(name, text, labels=["reason"])
            for reason, count in sorted(counts.items()):
                family.add_metric([reason], count)
            yield family


def render(relay: Relay) -> bytes:
    """All figures, as a scraper reads them."""
    return generate_latest(_Figures(relay))
