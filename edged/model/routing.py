"""rules.kubeedge.io/v1 with the fields that edged acts on: Rule, RuleEndpoint. Names are KubeEdge's."""

from edged.model.meta import Kind, Part

REST, EVENTBUS, SERVICEBUS = ENDPOINTS = ("rest", "eventbus", "servicebus")


class RuleEndpointSpec(Part, frozen=True):
    """What a rule leads from or to: rest, eventbus (MQTT) or servicebus, whose `properties.service_port` is a local port."""

    rule_endpoint_type: str = ""
    properties: dict[str, str] = {}


class RuleEndpoint(Kind, frozen=True):
    """An end of rules of its namespace."""

    spec: RuleEndpointSpec = RuleEndpointSpec()


class RuleSpec(Part, frozen=True):
    """What comes from `source` goes to `target`, both RuleEndpoints of the rule's namespace.

    The resources of a source: rest `path`; eventbus `topic`, `node_name`; servicebus `target_url`, `node_name`. Of a target:
    rest `resource` (a URL); eventbus `topic`; servicebus `path`.
    """

    source: str = ""
    source_resource: dict[str, str] = {}
    target: str = ""
    target_resource: dict[str, str] = {}


class RuleStatus(Part, frozen=True):
    """How many messages went through and failed, and why the latest did; counted by all nodes, roughly."""

    success_messages: int = 0
    fail_messages: int = 0
    errors: tuple[str, ...] = ()


class Rule(Kind, frozen=True):
    """A way for messages."""

    spec: RuleSpec = RuleSpec()
    status: RuleStatus = RuleStatus()
