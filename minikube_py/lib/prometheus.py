"""The text in which Prometheus reads metrics (exposition format 0.0.4), and histograms to fill it.

Parts count in plain integers where they work; a page is made of them when somebody asks for it.
"""

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_ESCAPES = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n"})


class Histogram:
    """How many values there were up to each of some bounds."""

    __slots__ = ("bounds", "counts", "sum")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def observe(self, value: float) -> None:
        """Count one value."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.sum += value

    @property
    def count(self) -> int:
        """How many values there were."""
        return sum(self.counts)


def head(name: str, kind: str, meaning: str) -> Iterator[str]:
    """Yield the two lines that open a metric; `kind` is counter, gauge or histogram."""
    yield f"# HELP {name} {meaning}"
    yield f"# TYPE {name} {kind}"


def sample(name: str, labels: Mapping[str, str], value: float) -> str:
    """Return the line of one value."""
    return f"{name}{_braces(_pairs(labels))} {_number(value)}"


def metric(
    name: str, kind: str, meaning: str, samples: Iterable[tuple[Mapping[str, str], float]]
) -> Iterator[str]:
    """Yield all lines of a metric; none where it has no values."""
    lines = [sample(name, labels, value) for labels, value in samples]
    if lines:
        yield from head(name, kind, meaning)
        yield from lines


def timed_metric(
    name: str, kind: str, meaning: str, samples: Iterable[tuple[Mapping[str, str], float, int]]
) -> Iterator[str]:
    """Yield all lines of a metric whose values carry the milliseconds at which they were read."""
    lines = [f"{sample(name, labels, value)} {millis}" for labels, value, millis in samples]
    if lines:
        yield from head(name, kind, meaning)
        yield from lines


def histograms(
    name: str, meaning: str, samples: Iterable[tuple[Mapping[str, str], Histogram]]
) -> Iterator[str]:
    """Yield all lines of a metric of histograms; none where it has no values."""
    opened = False
    for labels, histogram in samples:
        if not opened:
            yield from head(name, "histogram", meaning)
            opened = True
        pairs, total = _pairs(labels), 0
        for bound, count in zip((*histogram.bounds, None), histogram.counts, strict=True):
            total += count
            edge = "+Inf" if bound is None else _number(bound)
            inside = _braces([*pairs, f'le="{edge}"'])
            yield f"{name}_bucket{inside} {total}"
        yield f"{name}_sum{_braces(pairs)} {_number(histogram.sum)}"
        yield f"{name}_count{_braces(pairs)} {total}"


def _pairs(labels: Mapping[str, str]) -> list[str]:
    return [f'{name}="{value.translate(_ESCAPES)}"' for name, value in labels.items()]


def _braces(pairs: Sequence[str]) -> str:
    return f"{{{','.join(pairs)}}}" if pairs else ""


def _number(value: float) -> str:
    return str(value) if isinstance(value, int) else f"{value:.12g}"
