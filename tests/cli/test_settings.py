import json
import os
import tomllib
from pathlib import Path
from typing import Any

from edged import config
from edged.cli.settings import toml


def test_what_is_shown_is_what_loads_to_the_same(tmp_path: Path) -> None:
    first = tmp_path / "first.toml"
    first.write_text('[node]\nstate_dir = "/ä\\u007f\\"\\n"\n[node.labels]\n"a.b/c" = "x"\n[hub.peers]\ngw-b = ["x:1"]\n')
    loaded = config.load(first, {"EDGED_MESH__ROOTLESS": "false"})
    again = tmp_path / "again.toml"
    again.write_text(toml(loaded))
    assert config.load(again, {}) == loaded
    assert "# rootless =" in toml(config.load(Path(os.devnull), {}))


def test_every_key_is_shown_with_its_description() -> None:
    shown = toml(config.Config()).splitlines()
    for number, line in enumerate(shown):
        if " = " in line and not line.startswith("#"):
            assert shown[number - 1].startswith("# ")
            assert shown[number - 1].endswith(".")


def test_a_password_is_not_shown(edged: Any, tmp_path: Path) -> None:
    environ = {"EDGED_HUB__PROXY": "http://user:secret@proxy.example:3128"}
    for arguments in (("config", "show"), ("config", "show", "--json")):
        shown = edged(*arguments, env=environ).stdout
        assert "secret" not in shown
        assert '"http://user:***@proxy.example:3128"' in shown


def test_check_says_which_files_hold(edged: Any, failed: Any, tmp_path: Path) -> None:
    checked = edged("config", "check")
    assert (checked.returncode, checked.stdout) == (0, f"ok: {tmp_path}/edged.toml\n")
    (tmp_path / "bad.toml").write_text("[api]\nlistne = 'x'\n")
    failed(edged("config", "check", "--config", "bad.toml"), 2, "bad.toml: api.listne: unknown key")
    failed(edged("config", "check", "--config", "absent"), 2, "absent: No such file or directory")
    failed(edged("config", "check", env={"EDGED_LOG__LEVEL": "loud"}), 2, "EDGED_LOG__LEVEL: log.level: expected one of")


def test_show_prints_the_settings_in_force(edged: Any, tmp_path: Path) -> None:
    environ = {"EDGED_LOG__LEVEL": "debug"}
    assert tomllib.loads(edged("config", "show", env=environ).stdout)["log"]["level"] == "debug"
    printed = json.loads(edged("config", "show", "--json", env=environ).stdout)
    assert printed["log"]["level"] == "debug"
    assert printed["api"]["socket"] == f"{tmp_path}/state/api.sock"


def test_each_command_loads_the_settings_first(edged: Any, failed: Any, tmp_path: Path) -> None:
    (tmp_path / "bad.toml").write_text("[nod]\n")
    for command in (["run"], ["status"], ["kubeconfig"], ["join", "x"], ["config", "show"]):
        failed(edged(*command, "--config", "bad.toml"), 2, "bad.toml: nod: unknown key")
