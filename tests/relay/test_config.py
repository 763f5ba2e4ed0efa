from pathlib import Path

import pytest

from edged.kit.settings import ConfigError
from relay.config import RelayConfig, load, parse_range

FLAGS = {"authority": "a.crt", "listen": "127.0.0.1:1"}


def test_flags_win_over_variables_and_those_over_the_file(tmp_path: Path) -> None:
    file = tmp_path / "relay.toml"
    file.write_text('authority = "file"\nlisten = "127.0.0.1:1"\nlog_level = "debug"\nnames = ["file"]\n')
    environ = {"EDGED_RELAY_LISTEN": "127.0.0.1:2", "EDGED_RELAY_NAMES": "a, b", "EDGED_RELAY_CONFIG": str(file)}
    loaded = load(None, environ, {"listen": "127.0.0.1:3", "names": None})
    assert loaded == RelayConfig(authority="file", listen="127.0.0.1:3", log_level="debug", names=("a", "b"))


@pytest.mark.parametrize(
    ("flags", "secure"),
    [
        ({"listen": "127.0.0.1:1"}, True),
        ({"listen": "[::1]:1"}, True),
        ({"listen": "localhost:1"}, True),
        ({"listen": "0.0.0.0:1"}, False),
        ({"listen": "[::]:1"}, False),
        ({"listen": "relay.example.com:1"}, False),
        ({"listen": "0.0.0.0:1", "behind_proxy": True}, True),
        ({"listen": "0.0.0.0:1", "cert": "c", "key": "k"}, True),
    ],
)
def test_ws_is_served_on_loopback_or_behind_a_proxy_only(flags: dict[str, object], secure: bool) -> None:
    if secure:
        load(Path("/dev/null"), {}, {**FLAGS, **flags})
    else:
        with pytest.raises(ConfigError, match="would serve ws without TLS"):
            load(Path("/dev/null"), {}, {**FLAGS, **flags})


def test_udp_ports_are_those_beside_the_listening_one_unless_others_are_named() -> None:
    assert load(None, {}, FLAGS).questions(7443) == (7443, 7444)
    assert load(None, {}, {**FLAGS, "udp_ports": [1, 2]}).questions(7443) == (1, 2)
    assert load(None, {}, {**FLAGS, "listen": "127.0.0.1:0"}).questions(40000) == (0, 0)


def test_a_range_of_ports() -> None:
    assert parse_range("20000-20001") == range(20000, 20002)
    assert list(parse_range("0")) == [0]
    for text in ("", "1", "2-1", "0-5", "1-65536", "a-b", "1-2-3", "-5"):
        with pytest.raises(ConfigError, match="udp_range: expected LOW-HIGH"):
            load(None, {}, {**FLAGS, "udp_range": text})
    for ports in ([1, 2, 3], [70000]):
        with pytest.raises(ConfigError, match="udp_ports: expected at most two ports"):
            load(None, {}, {**FLAGS, "udp_ports": ports})
