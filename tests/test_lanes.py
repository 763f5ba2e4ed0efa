from pathlib import Path

from tests.lanes import APART, LONG, TOGETHER, rank, unit

ROOT = Path(__file__).parents[1]


def test_the_tests_of_a_file_share_a_lane() -> None:
    assert unit("tests/kit/test_log.py::test_a[x::y]") == unit("tests/kit/test_log.py::test_b") == "tests/kit/test_log.py"


def test_tests_that_share_nothing_may_be_in_any_lane() -> None:
    assert unit(f"{APART[0]}::test_a") != unit(f"{APART[0]}::test_b")


def test_what_there_is_only_one_of_is_used_in_one_lane() -> None:
    assert unit("tests/e2e/test_quickstart.py::test_a") == unit("tests/build/test_quickstart.py::test_b")
    assert unit("tests/bench/test_bench.py::test_start") == unit("tests/e2e/test_quickstart.py::test_a")


def test_the_long_ones_begin_first() -> None:
    ranks = [rank(f"{name}::test_a") for name in LONG if name.endswith(".py")]
    assert ranks == sorted(set(ranks))
    assert rank("tests/kit/test_log.py::test_a") > max(ranks)
    assert rank("tests/e2e/test_quickstart.py::test_a") == LONG.index("a quickstart")


def test_all_files_are_there() -> None:
    named = {*APART, *TOGETHER, *LONG} - set(TOGETHER.values())
    assert [name for name in named if not (ROOT / name.partition("::")[0]).is_file()] == []
