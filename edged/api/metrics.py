"""`/metrics`: figures in Prometheus' text format. The library is imported when somebody asks for the first time."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from prometheus_client import Metric

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_NOTHING: Mapping[str, str] = {}


class Figure(NamedTuple):
    """One number of now, by name and labels. A `counter` only grows, and its name ends in `_total`; else it is a gauge."""

    name: str
    help: str
    value: float
    labels: Mapping[str, str] = _NOTHING
    counter: bool = False


class Requests:
    """Counts the API's answers. Its labels are few by construction: methods, kinds that exist, status codes."""

    def __init__(self) -> None:
        self._counts: Counter[tuple[str, str, int]] = Counter()

    def count(self, method: str, resource: str, code: int) -> None:
        """One more answer; a resource that does not exist is counted as ""."""
        self._counts[method, resource, code] += 1

    def figures(self) -> Iterator[Figure]:
        """How many answers there were of each sort."""
        for (method, resource, code), count in sorted(self._counts.items()):
            labels = {"method": method, "resource": resource, "code": str(code)}
            yield Figure("edged_api_requests_total", "Answers of the API.", count, labels, counter=True)


def exposition(figures: Iterable[Figure]) -> str:
    """The figures as Prometheus reads them."""
    from prometheus_client import CollectorRegistry, generate_latest  # noqa: PLC0415

    class Once:
        def collect(self) -> "list[Metric]":
            return _families(figures)

    registry = CollectorRegistry(auto_describe=False)
    registry.register(Once())
    return generate_latest(registry).decode()


def _families(figures: Iterable[Figure]) -> "list[Metric]":
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily  # noqa: PLC0415

    families: dict[str, CounterMetricFamily | GaugeMetricFamily] = {}
    for figure in figures:
        names = list(figure.labels)
        family = families.get(figure.name)
        if family is None:
            make = CounterMetricFamily if figure.counter else GaugeMetricFamily
            family = families[figure.name] = make(figure.name, figure.help, labels=names)
        family.add_metric([figure.labels[name] for name in names], figure.value)
    return list(families.values())
