import os
import subprocess
import sys
from typing import Any

import pytest

from edged.__main__ import main
from edged.cli import run
from edged.errors import UnreachableError


def test_a_reader_that_left_is_no_traceback() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb") as pipe:
        ended = subprocess.run([sys.executable, "-m", "edged", "version"], stdout=pipe, stderr=subprocess.PIPE, check=False)
    assert ended.returncode == 1
    assert ended.stderr == b""


def test_an_outage_in_a_group_is_one_line_and_a_bug_is_raised(monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    def ending(error: BaseException) -> Any:
        def version(_: object) -> int:
            raise error

        return version

    monkeypatch.setattr(run, "version", ending(ExceptionGroup("", [UnreachableError("gw-b is away")])))
    assert main(["version"]) == 4
    assert capsys.readouterr().err == "edged: gw-b is away\n"
    monkeypatch.setattr(run, "version", ending(KeyboardInterrupt()))
    assert main(["version"]) == 130
    monkeypatch.setattr(run, "version", ending(ZeroDivisionError()))
    with pytest.raises(ZeroDivisionError):
        main(["version"])
