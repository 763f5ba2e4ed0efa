from pathlib import Path

import pytest

from build import machine, suite


def test_a_missing_piece_is_a_failure_only_when_strict(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(machine, "missing", lambda: ["nftables"])
    monkeypatch.setattr(machine, "install", lambda _packages: None)
    assert suite.prepare(strict=False)
    assert "missing: nftables: the tests that need it are skipped" in capsys.readouterr().out
    assert not suite.prepare(strict=True)
    assert "missing: nftables: a failure" in capsys.readouterr().out


def test_a_stage_passes_or_fails_by_its_exit_code(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(suite, "BIN", Path("/bin"))
    assert suite.run("good", ["true"])
    assert not suite.run("bad", ["false"])
    printed = capsys.readouterr().out
    assert "== good: passed in 0." in printed
    assert "== bad: FAILED in 0." in printed
