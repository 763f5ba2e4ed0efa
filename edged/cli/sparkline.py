"""A row of numbers as one line of a terminal: `▁▂▅█▃`."""

from collections.abc import Iterable, Sequence

BARS = "▁▂▃▄▅▆▇█"


def sparkline(points: Sequence[tuple[float, float]], width: int) -> str:
    """(time, value) points, oldest first, as `width` bars from the first time to the last.

    A bar is the mean of what was said in its time; when nothing was, of what was said before, as a value holds until the next.
    """
    if not points or width < 1:
        return ""
    begin, end = points[0][0], points[-1][0]
    if end <= begin:
        return _bar(0.0, 0.0, 0.0)
    slots: list[list[float]] = [[] for _ in range(width)]
    for at, value in points:
        slots[min(width - 1, max(0, int((at - begin) / (end - begin) * width)))].append(value)
    means = list(_means(slots))
    return "".join(_bar(mean, min(means), max(means)) for mean in means)


def _means(slots: Iterable[Sequence[float]]) -> Iterable[float]:
    held = 0.0
    for slot in slots:
        yield sum(slot) / len(slot) if slot else held
        held = slot[-1] if slot else held


def _bar(value: float, low: float, high: float) -> str:
    share = (value - low) / (high - low) if high > low else 0.5
    return BARS[min(len(BARS) - 1, int(share * len(BARS)))]
