"""`fuzz`: a million spoilt inputs for parsers of what is outside: only ProtocolError may come out, what passes can be used."""

from collections.abc import Callable, Iterator
from random import Random

from build.fleet import FailedError
from edged.mesh import zone
from edged.mesh.table import build
from edged.model.core import Service, ServicePort, ServiceSpec
from edged.model.meta import ObjectMeta
from tests.bench.figures import Figure
from tests.device.bus import test_packets
from tests.hub import test_pcp, test_upnp
from tests.mesh import test_dns, test_message, test_socks
from tests.mesh.test_message import QUERIES, RESPONSES, spoil

INPUTS = 1_000_000  # for each parser
SEED = 1


def bench() -> Iterator[Figure]:
    """How many inputs each parser took; FailedError with the first one that it did not take as it must."""
    spec = ServiceSpec({"app": "web"}, (ServicePort(80, name="http"),), "9.251.1.2")
    services = [Service("v1", "Service", ObjectMeta(name="web", namespace="default"), spec)]
    names = zone.build(build(services, (), "gw-a"), services, (), ())
    random = Random(SEED)
    parsers: dict[str, tuple[list[bytes], Callable[[bytes], None]]] = {
        "dns_questions": (QUERIES, lambda data: test_dns.check(names, data, tcp=data[-1:] > b"\x7f")),
        "dns_responses": (RESPONSES, test_message.check),
        "socks": (test_socks.MESSAGES, lambda data: test_socks.check(data, random)),
        "pcp": (test_pcp.MESSAGES, test_pcp.check),
        "mqtt": (test_packets.MESSAGES, test_packets.check),
        "upnp": (test_upnp.MESSAGES, test_upnp.check),
    }
    for what, (messages, check) in parsers.items():
        random.seed(SEED)
        for number in range(INPUTS):
            data = spoil(random, random.choice(messages))
            try:
                check(data)
            except Exception as error:
                raise FailedError(f"{what}, seed {SEED}, input {number}: {data.hex()}: {error!r}") from error
        yield Figure("fuzz", what, INPUTS, "inputs")
