from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from relay.core import Relay
from relay.forwarder import Forwarder
from relay.metrics import render


def samples_of(relay: Relay) -> dict[tuple[str, str | None], float]:
    families = text_string_to_metric_families(render(relay).decode())
    return {(sample.name, sample.labels.get("reason")): sample.value for family in families for sample in family.samples}


def test_the_figures_are_what_the_relay_counted(acme: Any) -> None:
    relay = Relay(acme.verifier)
    relay.statistics.datagrams = 3
    relay.statistics.dropped["full"] = 7
    relay.statistics.refused["proof"] = 2
    samples = samples_of(relay)
    assert samples["edged_relay_nodes", None] == 0
    assert samples["edged_relay_datagrams_forwarded_total", None] == 3
    assert samples["edged_relay_dropped_total", "full"] == 7
    assert samples["edged_relay_refused_total", "proof"] == 2
    assert ("edged_relay_udp_ports", None) not in samples


def test_a_relay_with_udp_counts_that(acme: Any) -> None:
    forwarder = Forwarder(bytes(32), questions=[], open_port=lambda: 20000, close_port=lambda _: None, rate=1e6, most=9)
    relay = Relay(acme.verifier, forwarder=forwarder)
    for session in (1, 2):
        forwarder.join(session)
    forwarder.allot(1, 2)
    forwarder.bytes, forwarder.datagrams, forwarder.answered = 1350, 1, 4
    forwarder.dropped["rate"] = 5
    samples = samples_of(relay)
    assert samples["edged_relay_udp_ports", None] == 1
    assert samples["edged_relay_udp_bytes_forwarded_total", None] == 1350
    assert samples["edged_relay_udp_datagrams_forwarded_total", None] == 1
    assert samples["edged_relay_udp_questions_total", None] == 4
    assert samples["edged_relay_udp_dropped_total", "rate"] == 5
