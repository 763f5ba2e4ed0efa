from pathlib import Path

import msgspec
import yaml

from edged.device.external import External
from edged.device.rules.table import Publish, rest_route, table
from edged.device.wiring import wire
from edged.model import schema
from edged.model.devices import Device, DeviceModel
from edged.model.kinds import BY_KIND
from edged.model.objects import key
from edged.model.routing import Rule, RuleEndpoint
from edged.model.validate import validate

EXAMPLE = Path(__file__).parents[3] / "packaging" / "examples" / "mqtt.yaml"


def test_the_example_says_what_it_should() -> None:
    model, device, *rules = yaml.safe_load_all(EXAMPLE.read_text())
    for value in (model, device, *rules):
        row = BY_KIND[value["apiVersion"], value["kind"]]
        value["metadata"]["namespace"] = "default"
        assert schema.check(value, row)[:3] == ([], [], [])
        assert validate(msgspec.convert(value, row.acts), row) == []
    wiring = wire(msgspec.convert(device, Device), msgspec.convert(model, DeviceModel), lambda _: External())
    assert (wiring.problems, [each.name for each in wiring.properties]) == ((), ["power", "brightness"])
    ends = {("default", each["metadata"]["name"]): msgspec.convert(each, RuleEndpoint) for each in rules[:-1]}
    made = table([(key(Rule, "lamp", "default"), msgspec.convert(rules[-1], Rule))], ends)
    found = rest_route(made.routes, "default", "lamp/twin/update")
    assert found is not None
    assert (found[0].target, found[1]) == (Publish("$hw/events/device/default/lamp"), "twin/update")
