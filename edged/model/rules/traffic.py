"""Rules for DestinationRules: what could not be done is refused, not ignored."""

from collections.abc import Iterator

from edged.errors import Cause
from edged.model import causes
from edged.model.istio import SIMPLE, DestinationRule


def destination_rule(parsed: DestinationRule) -> Iterator[Cause]:
    """A destination rule."""
    balancer = parsed.spec.traffic_policy.load_balancer
    path = "spec.trafficPolicy.loadBalancer"
    if not parsed.spec.host:
        yield causes.required("spec.host")
    if balancer.simple and balancer.simple not in SIMPLE:
        yield causes.unsupported(f"{path}.simple", balancer.simple, SIMPLE)
    known = balancer.consistent_hash
    if known is None:
        return
    if balancer.simple:
        yield causes.invalid(f"{path}.simple", balancer.simple, "may not be set beside consistentHash")
    if known.http_header_name and known.use_source_ip:
        yield causes.invalid(f"{path}.consistentHash.useSourceIp", True, "may not be set beside httpHeaderName")
    if not known.http_header_name and not known.use_source_ip:
        yield causes.required(f"{path}.consistentHash", "httpHeaderName or useSourceIp: other hashes are not served")
