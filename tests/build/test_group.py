import subprocess
from pathlib import Path

import pytest

from build.group import DARK, Group, OnLoopback, free_network, node_names
from edged.config import load
from edged.identity.node import Identity


def test_the_order_of_names_is_that_of_nodes() -> None:
    assert node_names(3) == ("gw-01", "gw-02", "gw-03")
    assert sorted(node_names(99)) == list(node_names(99))


def test_each_node_has_an_identity_and_knows_the_others(tmp_path: Path) -> None:
    group = Group(tmp_path, OnLoopback(3), relayed=True)
    group.found(log={"level": "debug"})
    configs = [load(group.config(node), {}) for node in group.nodes]
    assert len({config.api.listen for config in configs} | {config.hub.listen for config in configs}) == 6
    assert configs[0].hub.peers == {
        node: (config.hub.listen,) for node, config in list(zip(group.nodes, configs, strict=True))[1:]
    }
    assert {config.log.level for config in configs} == {"debug"}
    identities = [Identity.load(config.state_dir) for config in configs]
    assert [(identity.name, identity.group) for identity in identities] == [(node, "site") for node in group.nodes]
    assert identities[0].relays == (f"wss://{group.site.relay}",)
    assert (tmp_path / "relay" / "relay.key").stat().st_mode & 0o777 == 0o600


def test_nobody_knows_another_when_they_are_to_find_each_other(tmp_path: Path) -> None:
    group = Group(tmp_path, OnLoopback(2), peers=False)
    group.found()
    config = load(group.config("gw-01"), {})
    assert config.hub.peers == {}
    assert Identity.load(config.state_dir).relays == ()


def test_settings_change_for_the_next_start(tmp_path: Path) -> None:
    group = Group(tmp_path, OnLoopback(2))
    group.found()
    group.configure("gw-01", node={"clock_offset_s": 86_400.0})
    config = load(group.config("gw-01"), {})
    assert config.node.clock_offset_s == 86_400
    assert config.state_dir == tmp_path / "gw-01"
    assert config.hub.peers
    group.configure("gw-01")
    assert load(group.config("gw-01"), {}).node.clock_offset_s == 0


def test_two_groups_on_one_machine_do_not_meet(tmp_path: Path) -> None:
    group = Group(tmp_path, OnLoopback(2))
    group.found()
    with group:
        group.start_nodes(*group.nodes)
        assert not group.site.relay.startswith(f"{free_network()}.")
        for node in group.nodes:
            group.wait("a link", lambda node=node: group.local(node).get("/edged/v1/status")["peers"][0]["path"], 20)  # type: ignore[misc]


@pytest.mark.root
@pytest.mark.tool("nft")
def test_the_rules_of_a_split_are_rules() -> None:
    argv = ["unshare", "--net", "nft", "-f", "-"]
    subprocess.run(argv, input=DARK.format(others="192.168.7.1, 192.168.7.2"), text=True, check=True)
