from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from relay.core import Relay
from relay.metrics import render


def test_the_figures_are_what_the_relay_counted(acme: Any) -> None:
    relay = Relay(acme.verifier)
    relay.statistics.datagrams = 3
    relay.statistics.dropped["full"] = 7
    relay.statistics.refused["proof"] = 2
    families = text_string_to_metric_families(render(relay).decode())
    samples = {(sample.name, sample.labels.get("reason")): sample.value for family in families for sample in family.samples}
    assert samples["edged_relay_nodes", None] == 0
    assert samples["edged_relay_datagrams_forwarded_total", None] == 3
    assert samples["edged_relay_dropped_total", "full"] == 7
    assert samples["edged_relay_refused_total", "proof"] == 2
