"""How admission webhooks do: how long they take, how often they refuse and how often they fail.

Names, labels and buckets are those of apiserver's `admission/metrics`.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Literal

from minikube_py.lib.prometheus import Histogram, histograms, metric

BUCKETS_SECONDS = (0.005, 0.025, 0.1, 0.5, 1.0, 2.5, 10.0, 25.0)
SERIES_MAX = 4096
"""Of each metric; names of webhooks that come later are not counted, since anybody may invent some
who may configure webhooks."""
CODE_MAX = 600
Type = Literal["admit", "validating"]
Labels = tuple[tuple[str, str], ...]


class WebhookMetrics:
    """Counts calls."""

    def __init__(self) -> None:
        self._durations: dict[Labels, Histogram] = {}
        self._requests: Counter[Labels] = Counter()
        self._rejections: Counter[Labels] = Counter()
        self._open: Counter[Labels] = Counter()

    def called(
        self, labels: Mapping[str, str], seconds: float, code: int, *, rejected: bool
    ) -> None:
        """Count a call of a webhook; labels are name, operation and type."""
        said = {**labels, "rejected": str(rejected).lower()}
        key = _labels(said)
        histogram = self._durations.get(key)
        if histogram is None and len(self._durations) < SERIES_MAX:
            histogram = self._durations[key] = Histogram(BUCKETS_SECONDS)
        if histogram is not None:
            histogram.observe(seconds)
        _count(self._requests, _labels({**said, "code": _code(code)}))

    def rejected(self, labels: Mapping[str, str], error_type: str, code: int) -> None:
        """Count a request that a webhook, or its failure, refused."""
        said = {**labels, "error_type": error_type, "rejection_code": _code(code)}
        _count(self._rejections, _labels(said))

    def failed_open(self, labels: Mapping[str, str]) -> None:
        """Count a webhook that failed and was passed over."""
        _count(self._open, _labels({key: labels[key] for key in ("name", "type")}))

    def lines(self) -> Iterator[str]:
        """Yield the lines of the metrics page."""
        prefix = "apiserver_admission_webhook"
        yield from histograms(
            f"{prefix}_admission_duration_seconds",
            "[STABLE] Admission webhook latency histogram in seconds, identified by name and "
            "broken out for each operation and API resource and type (validate or admit).",
            ((dict(key), histogram) for key, histogram in self._durations.items()),
        )
        for name, meaning, counts in (
            ("fail_open_count", "failures of webhooks that were passed over", self._open),
            ("rejection_count", "requests that webhooks or their failures refused",
             self._rejections),
            ("request_total", "calls of webhooks", self._requests),
        ):  # fmt: skip
            yield from metric(
                f"{prefix}_{name}",
                "counter",
                f"[ALPHA] Admission webhooks: {meaning}, by name and type (validating or admit).",
                ((dict(key), count) for key, count in counts.items()),
            )


def _labels(labels: Mapping[str, str]) -> Labels:
    return tuple(sorted(labels.items()))


def _code(code: int) -> str:
    return str(min(code, CODE_MAX))


def _count(counts: Counter[Labels], key: Labels) -> None:
    if key in counts or len(counts) < SERIES_MAX:
        counts[key] += 1
