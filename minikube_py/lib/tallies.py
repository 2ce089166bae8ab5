"""What parts of a process count for Prometheus, each where it happens, in one place that is asked.

A `Metric` is declared once, by who counts it. Values of labels are words of the program, never
texts of users, so that there are few of them.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from minikube_py.lib.prometheus import Histogram, histograms, metric


@dataclass(frozen=True)
class Metric:
    """A counter, or a histogram where it has bounds."""

    name: str
    meaning: str
    labels: tuple[str, ...] = ()
    bounds: tuple[float, ...] = ()


class Tallies:
    """All that has been counted since the process began."""

    def __init__(self) -> None:
        self._counts: dict[Metric, Counter[tuple[str, ...]]] = {}
        self._histograms: dict[Metric, dict[tuple[str, ...], Histogram]] = {}

    def count(self, metric: Metric, *values: str, by: int = 1) -> None:
        """Count something that happened; `values` are those of the labels."""
        if by:
            self._counts.setdefault(metric, Counter())[values] += by

    def observe(self, metric: Metric, value: float, *values: str) -> None:
        """Count one value of a histogram."""
        known = self._histograms.setdefault(metric, {})
        known.setdefault(values, Histogram(metric.bounds)).observe(value)

    def lines(self) -> Iterator[str]:
        """Yield the lines for Prometheus."""
        for one, counts in sorted(self._counts.items(), key=lambda pair: pair[0].name):
            samples = ((_labels(one, values), count) for values, count in sorted(counts.items()))
            yield from metric(one.name, "counter", one.meaning, samples)
        for one, known in sorted(self._histograms.items(), key=lambda pair: pair[0].name):
            found = ((_labels(one, values), known[values]) for values in sorted(known))
            yield from histograms(one.name, one.meaning, found)


def _labels(one: Metric, values: tuple[str, ...]) -> Mapping[str, str]:
    return dict(zip(one.labels, values, strict=True))
