"""What the ingress of a node counts: requests by host, status and method, and their times."""

from collections import Counter
from collections.abc import Iterator

from minikube_py.lib.prometheus import Histogram, histograms, metric

HOSTS_MAX = 1000
"""Hosts that are counted apart; they are those of rules, so this is many."""
SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class Counts:
    """Plain integers, made a page of when somebody asks."""

    def __init__(self) -> None:
        self.requests: Counter[tuple[str, str, int]] = Counter()
        """Host of the rule, method and status."""
        self.seconds = Histogram(SECONDS)
        self.active = 0

    def count(self, host: str, method: str, status: int, seconds: float) -> None:
        """Count a request that is over."""
        key = (host, method, status)
        if key in self.requests or len(self.requests) < HOSTS_MAX:
            self.requests[key] += 1
        self.seconds.observe(seconds)

    def lines(self) -> Iterator[str]:
        """Yield the page."""
        yield from metric(
            "kpy_ingress_requests_total",
            "counter",
            "Requests by host of the rule, method and status.",
            (
                ({"host": host, "method": method, "code": str(status)}, count)
                for (host, method, status), count in sorted(self.requests.items())
            ),
        )
        yield from histograms(
            "kpy_ingress_request_seconds",
            "Time from the head of a request to the end of its answer.",
            [({}, self.seconds)],
        )
        yield from metric(
            "kpy_ingress_active_requests",
            "gauge",
            "Requests that are being answered.",
            [({}, self.active)],
        )
