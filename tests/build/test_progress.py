import io

import pytest
from rich.console import Console

from build.progress import Progress


def test_each_step_is_a_line_and_a_row() -> None:
    out = io.StringIO()
    progress = Progress(Console(file=out, width=100))
    with progress.step("make coffee") as seen:
        seen.append("two cups")
    progress.table()
    lines = out.getvalue().splitlines()
    assert lines[0].startswith("done")
    assert "make coffee" in lines[0]
    assert any("make coffee" in line and "two cups" in line for line in lines[1:])


def test_a_step_that_failed_is_named_and_not_in_the_table() -> None:
    out = io.StringIO()
    progress = Progress(Console(file=out, width=100))
    with pytest.raises(OSError, match="no beans"), progress.step("make coffee"):
        raise OSError("no beans")
    progress.table()
    assert progress.current == "make coffee"
    assert "make coffee" not in out.getvalue()
