from edged.cli.sparkline import sparkline


def test_a_course() -> None:
    assert sparkline([(at, at) for at in range(8)], 8) == "▁▂▃▄▅▆▇█"
    assert sparkline([(at, -at) for at in range(8)], 4) == "█▆▃▁"
    assert sparkline([(5, 1)], 5) == "▅"
    assert sparkline([], 5) == sparkline([(0, 1)], 0) == ""


def test_a_value_holds_until_the_next() -> None:
    assert sparkline([(0, 1), (10, 1)], 5) == "▅▅▅▅▅"
    assert sparkline([(0, 32), (5, 16), (10, 32)], 10) == "█████▁▁▁▁█"
