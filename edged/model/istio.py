"""networking.istio.io (v1beta1, v1alpha3) with the fields that edged acts on: DestinationRule, how calls are balanced."""

from edged.model.meta import Kind, Part

ROUND_ROBIN, RANDOM = "ROUND_ROBIN", "RANDOM"
LEAST = ("LEAST_REQUEST", "LEAST_CONN", "UNSPECIFIED", "")
SIMPLE = (ROUND_ROBIN, RANDOM, *LEAST[:-1])


class ConsistentHash(Part, frozen=True):
    """What a client is known by: a header of its HTTP request, or its address."""

    http_header_name: str = ""
    use_source_ip: bool = False


class LoadBalancerSettings(Part, frozen=True):
    """One of the two."""

    simple: str = ""
    consistent_hash: ConsistentHash | None = None


class TrafficPolicy(Part, frozen=True):
    """How the calls of a service are shared."""

    load_balancer: LoadBalancerSettings = LoadBalancerSettings()


class DestinationRuleSpec(Part, frozen=True):
    """`host` is the service's name, as short as it is in a pod of the rule's namespace."""

    host: str = ""
    traffic_policy: TrafficPolicy = TrafficPolicy()


class DestinationRule(Kind, frozen=True):
    """How calls to a service are shared among its pods."""

    spec: DestinationRuleSpec = DestinationRuleSpec()
