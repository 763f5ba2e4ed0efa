from pathlib import Path

import pytest

from edged.kit.settings import ConfigError
from relay.config import RelayConfig, load

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
