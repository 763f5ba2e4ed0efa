from typing import Any


def test_each_help_has_examples_and_exit_codes(edged: Any) -> None:
    commands = ["run", "join", "kubeconfig", "status", "version", "fleet init", "fleet issue", "fleet relay"]
    for command in ["", *commands, "config check", "config show"]:
        ended = edged(*command.split(), "--help")
        assert ended.returncode == 0
        assert "examples:\n  edged " in ended.stdout
        assert "exit codes: 0 ok" in ended.stdout


def test_what_is_not_known_is_a_usage_error(edged: Any) -> None:
    for arguments in (["nonsense"], ["run", "--nonsense"], ["join"], ["config"], ["status", "extra"]):
        ended = edged(*arguments)
        assert ended.returncode == 2
        assert "usage: edged" in ended.stderr
