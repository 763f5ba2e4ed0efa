"""The topics of KubeEdge's EventBus (edge/pkg/devicetwin/dtcommon, edge/pkg/eventbus/mqtt). Pure.

A device is NAMESPACE/NAME in a topic.
"""

from typing import NamedTuple

DEVICE = "$hw/events/device/"
NODE = "$hw/events/node/"
DATA = "$ke/events/device/"
DATA_UPDATE, ALARM = "/data/update", "/alarm"
CONNECTED, DISCONNECTED = "$hw/events/connected/", "$hw/events/disconnected/"

TWIN_UPDATE, TWIN_GET, CLOUD_UPDATED = "/twin/update", "/twin/get", "/twin/cloud_updated"
STATE_UPDATE, STATE_GET = "/state/update", "/state/get"
RESULT = "/result"
DELTA, DOCUMENT = "/twin/update/delta", "/twin/update/document"
EDGE_UPDATED, UPDATED = "/twin/edge_updated", "/updated"
MEMBERS_GET, MEMBERS_DETAIL, MEMBERS_UPDATED = "/membership/get", "/membership/detail", "/membership/updated"
ASKED = (TWIN_UPDATE, TWIN_GET, CLOUD_UPDATED, STATE_UPDATE, STATE_GET)  # of a device
MEMBERS_ASKED = (MEMBERS_GET, MEMBERS_DETAIL)  # of a node


class OfDevice(NamedTuple):
    """A device's topic: one of ASKED, or DATA_UPDATE."""

    namespace: str
    name: str
    what: str


class OfNode(NamedTuple):
    """A node's topic: one of MEMBERS_ASKED."""

    what: str


def asked(node: str) -> list[str]:
    """The filters of what this node is asked."""
    return [*(f"{DEVICE}+/+{what}" for what in ASKED), *(f"{NODE}{node}{what}" for what in MEMBERS_ASKED)]


def read(topic: str, node: str) -> OfDevice | OfNode | None:
    """What a topic is; None for what is none of KubeEdge's questions."""
    for prefix, asked in ((DEVICE, ASKED), (DATA, (DATA_UPDATE,))):
        if topic.startswith(prefix):
            parts = topic[len(prefix) :].split("/", 2)
            if len(parts) == 3 and parts[0] and parts[1] and f"/{parts[2]}" in asked:
                return OfDevice(parts[0], parts[1], f"/{parts[2]}")
            return None
    what = topic.removeprefix(NODE + node)
    return OfNode(what) if what in MEMBERS_ASKED and what != topic else None


def of_device(namespace: str, name: str, what: str) -> str:
    """The topic of a device."""
    return f"{DATA if what in {DATA_UPDATE, ALARM} else DEVICE}{namespace}/{name}{what}"


def of_node(node: str, what: str) -> str:
    """The topic of a node."""
    return f"{NODE}{node}{what}"


def matches(pattern: str, topic: str) -> bool:
    """Whether an MQTT filter (4.7) takes a topic."""
    if topic.startswith("$") != pattern.startswith("$"):
        return False
    wanted, levels = pattern.split("/"), topic.split("/")
    for at, each in enumerate(wanted):
        if each == "#":
            return True
        if at >= len(levels) or each not in ("+", levels[at]):
            return False
    return len(wanted) == len(levels)
