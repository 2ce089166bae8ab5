"""How many requests there were, and how long they took, under upstream's names.

One dictionary look-up and a few additions a request. Labels are of what this server serves, never
what a client made up: an unknown resource counts without its name, an unknown path likewise.
"""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from minikube_py.api.scheme import Scheme
from minikube_py.lib.prometheus import Histogram, histograms, metric
from minikube_py.server.apiserver.request import RequestInfo

SECONDS = (
    0.005, 0.025, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 1.25, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0,
    10.0, 15.0, 20.0, 30.0, 45.0, 60.0,
)  # fmt: skip
SLI_SECONDS = SECONDS[2:]
BYTES = tuple(10.0**exponent for exponent in range(3, 10))
READS = frozenset({"GET", "LIST"})
PATHS = frozenset({
    "api", "apis", "debug", "healthz", "livez", "metrics", "openapi", "readyz", "version",
})  # fmt: skip
VERBS = {
    "get": "GET", "list": "LIST", "watch": "WATCH", "create": "POST", "update": "PUT",
    "patch": "PATCH", "delete": "DELETE", "deletecollection": "DELETECOLLECTION",
}  # fmt: skip
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
CONNECTS = frozenset({"attach", "exec", "portforward", "proxy"})
APPLY = "application/apply-patch"
OTHER = "other"
KINDS_MAX = 10_000
"""Kinds of requests that are told apart; the labels allow for fewer in any real cluster."""


class Kind(NamedTuple):
    """What requests have in common that are counted together."""

    verb: str
    group: str = ""
    version: str = ""
    resource: str = ""
    subresource: str = ""
    scope: str = ""
    dry_run: str = ""

    def labels(self) -> dict[str, str]:
        """Return the labels, in the order of the alphabet."""
        return {"component": "apiserver", **dict(sorted(self._asdict().items()))}


class _Series:
    """The counts of one kind."""

    __slots__ = ("codes", "seconds", "sizes")

    def __init__(self, *, reads: bool) -> None:
        self.codes: dict[int, int] = {}
        self.seconds = Histogram(SECONDS)
        self.sizes = Histogram(BYTES) if reads else None


class RequestMetrics:
    """Counts requests."""

    def __init__(self, scheme: Scheme) -> None:
        self._scheme = scheme
        self._series: dict[Kind, _Series] = {}
        self._alike: dict[tuple[str | bool, ...], _Series] = {}
        """The series of requests that look alike: most are counted without a second look."""

    def count(
        self,
        info: RequestInfo,
        headers: Mapping[str, str],
        code: int,
        seconds: float,
        size: int = 0,
    ) -> None:
        """Count one request that has been answered with so many bytes."""
        # What one who patches wants to do stands in a header, and what is no resource in the path.
        looks = (
            info.verb, info.group, info.version, info.plural, info.subresource,
            bool(info.name), bool(info.namespace),
        )  # fmt: skip
        series = self._alike.get(looks) if info.is_resource and info.verb != "patch" else None
        if series is None:
            series = self._find(info, headers, looks)
        series.codes[code] = series.codes.get(code, 0) + 1
        series.seconds.observe(seconds)
        if series.sizes is not None:
            series.sizes.observe(size)

    def _find(
        self, info: RequestInfo, headers: Mapping[str, str], looks: tuple[str | bool, ...]
    ) -> _Series:
        kind = self._kind(info, headers)
        series = self._series.get(kind)
        if series is None:
            series = _Series(reads=bool(kind.resource) and kind.verb in READS)
            if len(self._series) < KINDS_MAX:
                self._series[kind] = series
        if kind.resource and kind.subresource == info.subresource and kind in self._series:
            self._alike[looks] = series
        return series

    def _kind(self, info: RequestInfo, headers: Mapping[str, str]) -> Kind:
        if not info.is_resource:
            first = info.path.removeprefix("/").partition("/")[0]
            verb = info.verb.upper()
            return Kind(
                verb if verb in METHODS else OTHER,
                subresource=f"/{first}" if first in PATHS else "",
            )
        resource = self._scheme.by_path(info.group, info.version, info.plural)
        verb = VERBS.get(info.verb, OTHER)
        if resource is None:
            return Kind(verb)
        subresource = info.subresource
        if subresource in CONNECTS:
            verb = "CONNECT"
        elif subresource and resource.subresource(subresource) is None:
            subresource = ""
        if verb == "PATCH" and headers.get("Content-Type", "").startswith(APPLY):
            verb = "APPLY"
        scope = "cluster"
        if info.name or info.verb == "create":
            scope = "resource"
        elif info.namespace:
            scope = "namespace"
        return Kind(verb, info.group, info.version, info.plural, subresource, scope, "")

    def lines(self) -> Iterator[str]:
        """Yield the lines of the metrics page."""
        series = sorted(self._series.items())
        yield from metric(
            "apiserver_request_total",
            "counter",
            "Counter of apiserver requests broken out for each verb, group, version, resource, "
            "scope, component, and HTTP response code.",
            (
                ({"code": str(code), **kind.labels()}, count)
                for kind, counts in series
                for code, count in sorted(counts.codes.items())
            ),
        )
        yield from histograms(
            "apiserver_request_duration_seconds",
            "Response latency distribution in seconds for each verb, group, version, resource, "
            "subresource, scope and component.",
            ((kind.labels(), counts.seconds) for kind, counts in series),
        )
        yield from histograms(
            "apiserver_response_sizes",
            "Response size distribution in bytes for each group, version, verb, resource, "
            "subresource, scope and component.",
            (
                ({k: v for k, v in kind.labels().items() if k != "dry_run"}, counts.sizes)
                for kind, counts in series
                if counts.sizes is not None
            ),
        )
        yield from histograms(
            "apiserver_request_sli_duration_seconds",
            "Response latency distribution (not counting webhook duration and priority & fairness "
            "queue wait times) in seconds for each verb, group, version, resource, subresource, "
            "scope and component.",
            (
                ({k: v for k, v in kind.labels().items() if k != "dry_run"}, _sli(counts.seconds))
                for kind, counts in series
                if kind.verb not in ("WATCH", "CONNECT")
            ),
        )


def _sli(seconds: Histogram) -> Histogram:
    """Return the same values between fewer bounds."""
    merged = len(SECONDS) - len(SLI_SECONDS)
    shown = Histogram(SLI_SECONDS)
    shown.counts = [sum(seconds.counts[: merged + 1]), *seconds.counts[merged + 1 :]]
    shown.sum = seconds.sum
    return shown
