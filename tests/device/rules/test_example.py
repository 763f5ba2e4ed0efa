from pathlib import Path
from typing import Any

import msgspec
import yaml

from edged.device.external import External
from edged.device.rules.table import Publish, Service, Url, rest_route, table
from edged.device.wiring import wire
from edged.model import schema
from edged.model.devices import Device, DeviceModel
from edged.model.kinds import BY_KIND
from edged.model.objects import key
from edged.model.routing import Rule, RuleEndpoint
from edged.model.validate import validate

EXAMPLES = Path(__file__).parents[3] / "packaging" / "examples"


def sound(name: str) -> list[Any]:
    """The objects of an example, as the API takes them."""
    values = list(yaml.safe_load_all((EXAMPLES / name).read_text()))
    for value in values:
        row = BY_KIND[value["apiVersion"], value["kind"]]
        value["metadata"]["namespace"] = "default"
        assert schema.check(value, row)[:3] == ([], [], [])
        assert validate(msgspec.convert(value, row.acts), row) == []
    return values


def test_a_program_behind_the_servicebus() -> None:
    web, line, *rules = sound("servicebus.yaml")
    ends = {("default", each["metadata"]["name"]): msgspec.convert(each, RuleEndpoint) for each in (web, line)}
    keyed = [(key(Rule, each["metadata"]["name"], "default"), msgspec.convert(each, Rule)) for each in rules]
    made = table(keyed, ends)
    assert made.problems == {}
    found = rest_route(made.routes, "default", "line/start")
    assert found is not None
    assert (found[0].target, found[1]) == (Service(8080, "/api"), "start")
    out = next(each for each in made.routes if each.source == "servicebus")
    assert (out.where, out.node, out.target) == ("/report", "gw-a", Url("http://192.168.1.20:8000/reports"))


def test_the_example_says_what_it_should() -> None:
    model, device, *rules = sound("mqtt.yaml")
    wiring = wire(msgspec.convert(device, Device), msgspec.convert(model, DeviceModel), lambda _: External())
    assert (wiring.problems, [each.name for each in wiring.properties]) == ((), ["power", "brightness"])
    ends = {("default", each["metadata"]["name"]): msgspec.convert(each, RuleEndpoint) for each in rules[:-1]}
    made = table([(key(Rule, "lamp", "default"), msgspec.convert(rules[-1], Rule))], ends)
    found = rest_route(made.routes, "default", "lamp/twin/update")
    assert found is not None
    assert (found[0].target, found[1]) == (Publish("$hw/events/device/default/lamp"), "twin/update")
