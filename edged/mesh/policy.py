"""How the calls of a service are shared among its endpoints, by its DestinationRule or its session affinity. Pure."""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from edged.mesh.names import Name
from edged.model.core import Service
from edged.model.istio import RANDOM, ROUND_ROBIN, DestinationRule
from edged.model.rules.services import CLIENT_IP

BY_LEAST, BY_CHANCE, BY_TURNS, BY_HASH = "least", "chance", "turns", "hash"
SUFFIXES = (".svc.cluster.local", ".svc")


class Policy(NamedTuple):
    """`kind` is one of the four. What BY_HASH hashes is the client's address, or a header of its HTTP request."""

    kind: str = BY_LEAST
    header: str = ""


USUAL = Policy()
KEEPS_CLIENTS = Policy(BY_HASH)


def policies(rules: Iterable[DestinationRule]) -> Mapping[Name, Policy]:
    """What rules say, by service. Of two about one service the older holds."""
    found: dict[Name, Policy] = {}
    for rule in sorted(rules, key=lambda r: (r.metadata.creation_timestamp or "", r.metadata.namespace, r.metadata.name)):
        found.setdefault(_service(rule), _policy(rule))
    return found


def policy_of(service: Service, said: Mapping[Name, Policy]) -> Policy:
    """The policy of a service: what a rule says holds before its session affinity."""
    usual = KEEPS_CLIENTS if service.spec.session_affinity == CLIENT_IP else USUAL
    return said.get(Name(service.metadata.namespace, service.metadata.name), usual)


def _service(rule: DestinationRule) -> Name:
    host = rule.spec.host.rstrip(".")
    for suffix in SUFFIXES:
        host = host.removesuffix(suffix)
    name, _, namespace = host.partition(".")
    return Name(namespace or rule.metadata.namespace, name)


def _policy(rule: DestinationRule) -> Policy:
    balancer = rule.spec.traffic_policy.load_balancer
    if balancer.consistent_hash is not None:
        return Policy(BY_HASH, balancer.consistent_hash.http_header_name.lower())
    return Policy({RANDOM: BY_CHANCE, ROUND_ROBIN: BY_TURNS}.get(balancer.simple, BY_LEAST))
