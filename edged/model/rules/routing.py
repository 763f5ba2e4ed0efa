"""Rules for rules.kubeedge.io/v1."""

from collections.abc import Iterator

from edged.errors import Cause
from edged.model import causes, names
from edged.model.routing import ENDPOINTS, SERVICEBUS, Rule, RuleEndpoint

PORT = "must be a port from 1 to 65535"


def rule(parsed: Rule) -> Iterator[Cause]:
    """A rule. Whether its endpoints are there, and what their kinds ask for, is seen when it runs: they may come later."""
    for field, name in (("source", parsed.spec.source), ("target", parsed.spec.target)):
        if not name:
            yield causes.required(f"spec.{field}")
        elif wrong := names.subdomain(name):
            yield causes.invalid(f"spec.{field}", name, wrong)


def rule_endpoint(parsed: RuleEndpoint) -> Iterator[Cause]:
    """An end of rules."""
    kind, port = parsed.spec.rule_endpoint_type, parsed.spec.properties.get("service_port", "")
    if kind not in ENDPOINTS:
        yield causes.unsupported("spec.ruleEndpointType", kind, ENDPOINTS)
    if kind == SERVICEBUS and port and not (port.isascii() and port.isdigit() and len(port) < 6 and 0 < int(port) < 65536):
        yield causes.invalid("spec.properties[service_port]", port, PORT)
