"""A figure: one number of a benchmark, shown to a person or as one JSON line."""

import json
from typing import Any, NamedTuple


class Figure(NamedTuple):
    """`against` is the same measured on something else beside it; then the line also has their ratio."""

    bench: str
    figure: str
    value: float
    unit: str
    against: float | None = None
    note: str = ""

    def json(self) -> str:
        """The line."""
        line: dict[str, Any] = {"bench": self.bench, "figure": self.figure, "value": rounded(self.value), "unit": self.unit}
        if self.against is not None:
            line |= {"against": rounded(self.against), "ratio": rounded(self.value / self.against)}
        return json.dumps(line | ({"note": self.note} if self.note else {}))

    def text(self) -> str:
        """The same for a person."""
        beside = f"  against {rounded(self.against)}, ratio {rounded(self.value / self.against)}" if self.against else ""
        return f"{self.bench:6} {self.figure:18} {rounded(self.value):>10} {self.unit}{beside}  {self.note}".rstrip()


def rounded(value: float) -> float:
    """Four digits: no benchmark here repeats to five."""
    return float(f"{value:.4g}")
