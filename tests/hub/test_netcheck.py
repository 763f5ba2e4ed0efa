from random import Random
from typing import Any

import pytest
import trio

from edged.errors import UnreachableError
from edged.hub import netcheck
from edged.hub.netcheck import Alone
from edged.kit.address import Address
from edged.kit.log import Log
from edged.kit.proxy import parse_proxy


async def test_a_running_hub_is_asked(acme: Any, start_hub: Any, start_relay: Any, until: Any) -> None:
    relay = await start_relay(acme.verifier)
    async with start_hub(acme.identity("gw-a"), acme.verifier, relays=[relay.url, "ws://127.0.0.1:1"]) as (hub, address):
        await until(lambda: hub.statistics().relay is not None)
        for _ in range(2):  # links want nothing before and after: it is asked each time
            found = await hub.netcheck()
            assert (found.udp, found.nat, found.observed) == (True, "open", [str(address)])
            first, second = found.relays
            assert (first.url, first.connected, first.error) == (relay.url, True, "")
            assert first.latency_ms is not None
            assert first.udp_ms is not None
            assert (second.connected, second.latency_ms, second.udp_ms) == (False, None, None)
            assert second.error
            assert found.port_mapping == "off"
        assert relay.relay.forwarder.answered >= 4
    with pytest.raises(UnreachableError, match="not running"):
        await hub.netcheck()


async def test_blocked_udp_is_found_out(
    acme: Any, start_hub: Any, start_relay: Any, until: Any, look: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edged.hub.forwarding.INQUIRE_S", 0.5)
    relay = await start_relay(acme.verifier)
    async with start_hub(acme.identity("gw-a"), acme.verifier, relays=[relay.url]) as (hub, _):
        await until(lambda: hub.statistics().relay is not None)
        mend = look.cut(hub)
        found = await hub.netcheck()
        assert (found.udp, found.nat, found.relays[0].udp_ms) == (False, "blocked", None)
        assert found.relays[0].connected
        mend()
        assert (await hub.netcheck()).udp


async def test_a_node_that_does_not_run_is_looked_at(acme: Any, start_relay: Any, quiet: Log) -> None:
    relay = await start_relay(acme.verifier)
    alone = Alone(
        acme.identity("gw-a"), [relay.url], Address("127.0.0.1", 0), proxy=None, maps=True, random=Random(1), log=quiet
    )
    with trio.fail_after(30):
        found = await alone.look()
    assert (found.udp, found.nat) == (True, "open")
    assert found.relays[0].connected


async def test_relays_that_cannot_be_had_say_why(acme: Any, quiet: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(netcheck, "RELAY_S", 0.3)
    options: dict[str, Any] = {"maps": False, "random": Random(1), "log": quiet}
    identity = acme.identity("gw-a")
    proxy = parse_proxy("127.0.0.1:1", "hub.proxy")
    found = await Alone(identity, ["ws://127.0.0.1:2"], Address("127.0.0.1", 0), proxy=proxy, **options).look()
    assert found.relays[0].error.startswith("proxy http://127.0.0.1:1 (hub.proxy): ")
    found = await Alone(identity, [], Address("127.0.0.1", 0), proxy=None, **options).look()
    assert (found.udp, found.nat, found.relays) == (None, "unknown", [])
