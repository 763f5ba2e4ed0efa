import msgspec

from edged.model import schema
from edged.model.kinds import BY_STRUCT
from edged.model.routing import Rule, RuleEndpoint

RULE = {
    "apiVersion": "rules.kubeedge.io/v1",
    "kind": "Rule",
    "metadata": {"name": "up", "namespace": "default"},
    "spec": {
        **{"source": "mqtt", "sourceResource": {"topic": "a", "node_name": "gw-a"}},
        **{"target": "web", "targetResource": {"resource": "http://127.0.0.1/a"}},
    },
    "status": {"successMessages": 1, "failMessages": 2, "errors": ["away"]},
}
ENDPOINT = {
    "apiVersion": "rules.kubeedge.io/v1",
    "kind": "RuleEndpoint",
    "metadata": {"name": "local", "namespace": "default"},
    "spec": {"ruleEndpointType": "servicebus", "properties": {"service_port": "6666"}},
}


def test_kubeedges_own_names_are_known() -> None:
    assert schema.check(RULE, BY_STRUCT[Rule])[:3] == ([], [], [])
    assert schema.check(ENDPOINT, BY_STRUCT[RuleEndpoint])[:3] == ([], [], [])
    rule, endpoint = msgspec.convert(RULE, Rule), msgspec.convert(ENDPOINT, RuleEndpoint)
    assert rule.spec.source_resource["node_name"] == "gw-a"
    assert (rule.status.success_messages, rule.status.fail_messages, rule.status.errors) == (1, 2, ("away",))
    assert endpoint.spec.properties == {"service_port": "6666"}
