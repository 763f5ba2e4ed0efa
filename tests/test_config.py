from pathlib import Path

import msgspec
import pytest

from edged import config
from edged.kit.settings import ConfigError


def written(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_without_files_the_defaults_hold() -> None:
    loaded = config.load(Path("/dev/null"), {})
    assert loaded.node.state_dir == "/var/lib/edged"
    assert loaded.node.clock_offset_s == 0
    assert loaded.hub.listen == "0.0.0.0:7400"
    assert loaded.api.listen == "127.0.0.1:6443"
    assert loaded.api.socket == "/var/lib/edged/api.sock"
    assert loaded.runtime.driver == "auto"
    assert loaded.mesh.rootless is None
    assert (loaded.runtime.network, loaded.mesh.pod_network) == ("", "10.42.0.0/16")


def test_later_files_win_and_tables_are_merged(tmp_path: Path) -> None:
    written(tmp_path / "edged.toml", '[node]\nstate_dir = "/a"\n[node.labels]\nzone = "x"\nrack = "1"\n[log]\nlevel = "debug"')
    written(tmp_path / "edged.d/20.toml", '[node.labels]\nzone = "z"')
    written(tmp_path / "edged.d/10.toml", '[node.labels]\nzone = "y"\n[hub.peers]\ngw-b = ["10.0.0.2:7400"]')
    written(tmp_path / "edged.d/30.toml.off", "nonsense")
    environ = {"EDGED_HUB__RELAYS": "wss://r1, wss://r2:8443", "EDGED_MESH__ROOTLESS": "true", "EDGED_LOG__LEVEL": "error"}
    loaded = config.load(tmp_path, environ)
    assert loaded.node.labels == {"zone": "z", "rack": "1"}
    assert loaded.node.state_dir == "/a"
    assert loaded.api.socket == "/a/api.sock"
    assert loaded.hub.peers == {"gw-b": ("10.0.0.2:7400",)}
    assert loaded.hub.relays == ("wss://r1", "wss://r2:8443")
    assert loaded.mesh.rootless is True
    assert loaded.log.level == "error"


def test_variables_take_tables_as_toml_and_other_programs_variables_are_left_alone() -> None:
    environ = {"EDGED_NODE__LABELS": '{zone = "a"}', "EDGED_RELAY_LISTEN": "x", "EDGED_CONFIG": "/dev/null", "EDGEDX__Y": "z"}
    assert config.load(None, environ).node.labels == {"zone": "a"}


def test_the_directory_may_be_chosen_by_variable(tmp_path: Path) -> None:
    written(tmp_path / "other.toml", '[log]\nlevel = "warning"')
    assert config.load(None, {"EDGED_CONFIG": str(tmp_path / "other.toml")}).log.level == "warning"
    assert config.load(tmp_path, {"EDGED_CONFIG": str(tmp_path / "other.toml")}).log.level == "info"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "[mesh]\npod_network = '10.42.0.0/24'",
            "mesh.pod_network: expected a private network with /16 to /22, such as 10.42.0.0/16, got '10.42.0.0/24'",
        ),
        ("[api]\nlisten = 5", "api.listen: expected a text, got 5"),
        ("[api]\nlistne = 'x'", "api.listne: unknown key, expected one of listen, socket; did you mean listen?"),
        (
            "[runtim]\n",
            "runtim: unknown key, expected one of node, hub, group, runtime, api, mesh, bus, dmi, history, log; "
            "did you mean runtime?",
        ),
        (
            "[runtime]\ndriver = 'dockr'",
            "runtime.driver: expected one of auto, docker, process, got 'dockr'; did you mean docker?",
        ),
        ("node = 'x'", "node: expected a table, got 'x'"),
        ("[mesh]\nenabled = 'yes'", "mesh.enabled: expected true or false, got 'yes'"),
        ("[mesh]\nrootless = 1", "mesh.rootless: expected true or false, got 1"),
        ("[hub]\nrelays = 'wss://x'", "hub.relays: expected a list, got 'wss://x'"),
        ("[hub]\nrelays = ['wss://x', 1]", "hub.relays[1]: expected a text, got 1"),
        ("[hub]\nrelays = ['http://x']", "hub.relays: expected wss://host[:port], got 'http://x'"),
        ("[hub]\nrelays = ['wss://x:99999']", "hub.relays: expected wss://host[:port], got 'wss://x:99999'"),
        ("[hub]\nproxy = 'https://u:secret@proxy:1'", "hub.proxy: expected http://[user:password@]host:port"),
        ("[hub]\nproxy_password_file = 'x'", "hub.proxy_password_file: expected an absolute path, got 'x'"),
        ("[hub]\nlisten = ':7400'", "hub.listen: expected host:port with an IP address or a DNS name, got ':7400'"),
        ("[hub]\nlisten = 'localhost:7400'", "hub.listen: expected an IP address and a port, got 'localhost:7400'"),
        ("[hub]\nlisten = '0.0.0.0:74000'", "hub.listen: expected host:port, got '0.0.0.0:74000'"),
        ("[hub]\nlisten = '::1:74'", "hub.listen: expected host:port with an IPv6 address in brackets, got '::1:74'"),
        ("[hub.peers]\ngw-b = 'x:1'", "hub.peers.gw-b: expected a list, got 'x:1'"),
        ("[hub.peers]\ngw-b = ['x:0']", "hub.peers: expected a port from 1 to 65535 for gw-b, got 'x:0'"),
        ("[node]\nstate_dir = 'here'", "node.state_dir: expected an absolute path, got 'here'"),
        ("[node.labels]\nzone = 'a b'", 'node.labels: expected Kubernetes labels, got zone = "a b"'),
        ("[node.labels]\nzone = 1", "node.labels.zone: expected a text, got 1"),
        ("[node]\nclock_offset_s = '1 d'", "node.clock_offset_s: expected a number, got '1 d'"),
        ("[node]\nclock_offset_s = 2e9", "node.clock_offset_s: expected a number from -1.5e+09 to 1.5e+09, got 2000000000.0"),
        ("[mesh]\nloopback = '10.0.0.0/16'", "mesh.loopback: expected a network of 127.0.0.0/8 with /16, got '10.0.0.0/16'"),
        ("[mesh]\nresolvers = ['one']", "mesh.resolvers: expected host:port, got 'one'"),
        ("[mesh]\ndns = 1970-01-01", "mesh.dns: expected a text, got datetime.date(1970, 1, 1)"),
        ("[node\n", "not TOML: Expected ']'"),
        (f"[node]\nstate_dir = '/{'x' * 120}'", "api.socket: expected a path of at most 107 bytes, got 130"),
        (f"[api]\nsocket = '/{'x' * 120}'", "api.socket: expected a path of at most 107 bytes, got 121"),
    ],
)
def test_a_mistake_is_one_line_that_says_where_and_what(tmp_path: Path, text: str, expected: str) -> None:
    file = written(tmp_path / "edged.toml", text)
    with pytest.raises(ConfigError) as error:
        config.load(tmp_path, {})
    assert expected in str(error.value)
    assert "\n" not in str(error.value)
    assert str(error.value).startswith((f"{file}: ", "api.socket: "))


def test_a_mistake_in_a_variable_names_the_variable() -> None:
    for name, value, expected in [
        ("EDGED_API__LISTNE", "x", "EDGED_API__LISTNE: api.listne: unknown key"),
        ("EDGED_MESH__ENABLED", "yes", "EDGED_MESH__ENABLED: mesh.enabled: expected true or false, got 'yes'"),
        ("EDGED_NODE__LABELS", "{", "EDGED_NODE__LABELS: node.labels: expected a table, got '{'"),
        ("EDGED_NODE", "x", None),
        ("EDGED_API__LISTEN__X", "x", "EDGED_API__LISTEN__X: api.listen: expected a text, got a table"),
    ]:
        if expected is None:
            config.load(Path("/dev/null"), {name: value})
            continue
        with pytest.raises(ConfigError) as error:
            config.load(Path("/dev/null"), {name: value})
        assert str(error.value).startswith(expected)


def test_an_unreadable_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"absent\.toml: No such file"):
        config.load(tmp_path / "absent.toml", {})
    (tmp_path / "edged.d/10.toml").mkdir(parents=True)
    with pytest.raises(ConfigError, match=r"10\.toml: Is a directory"):
        config.load(tmp_path, {})
    with pytest.raises(ConfigError, match="not TOML"):
        config.load(written(tmp_path / "bytes.toml", "x = '\x00'"), {})


def test_deep_nesting_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError):
        config.load(written(tmp_path / "deep.toml", f"node = {'[' * 5000}"), {})


def test_every_key_is_documented() -> None:
    for section in msgspec.inspect.type_info(config.Config).fields:
        for field in section.type.fields:
            schema = field.type.extra_json_schema
            assert schema is not None
            assert schema["description"].endswith(".")
