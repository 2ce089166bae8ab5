"""Where an autoscaler's metrics come from: three APIs that are read by path.

metrics.k8s.io may be built in or another server's; custom.metrics.k8s.io and those of
external.metrics.k8s.io are always another's. Errors have upstream's words, for they end up in
events and conditions.
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any

from minikube_py.api import quantity, selectors, times
from minikube_py.api.errors import NotFoundError, StatusError
from minikube_py.api.object import Obj, get
from minikube_py.api.scheme import Scheme
from minikube_py.client.protocol import Client
from minikube_py.server.controllers.horizontalpodautoscaler_replicas import (
    MILLIS_MAX,
    MetricError,
    Metrics,
    PodMetric,
)

RESOURCE_API = "/apis/metrics.k8s.io/v1beta1"
CUSTOM_API = "/apis/custom.metrics.k8s.io"
CUSTOM_VERSIONS = ("v1beta2", "v1beta1")
EXTERNAL_API = "/apis/external.metrics.k8s.io/v1beta1"
DEFAULT_WINDOW_SECONDS = 60.0


class MetricsReader:
    """Reads metrics of one namespace."""

    def __init__(self, client: Client, scheme: Scheme, namespace: str) -> None:
        self._client = client
        self._scheme = scheme
        self._namespace = namespace

    async def resource(self, resource: str, selector: str, container: str = "") -> Metrics:
        """Return what each pod uses of a resource, or one container of it; raises MetricError."""
        path = f"{RESOURCE_API}/namespaces/{self._namespace}/pods"
        items = await self._items(path, {"labelSelector": selector}, "resource")
        if not container:
            return pod_metrics(items, resource)
        try:
            return container_metrics(items, resource, container)
        except MetricError as error:
            raise MetricError(f"failed to get container metrics: {error}") from error

    async def of_pods(self, metric: Obj, selector: str) -> Metrics:
        """Return a custom metric of each pod; raises MetricError."""
        query = {"labelSelector": selector, **_metric_selector(metric)}
        tail = f"namespaces/{self._namespace}/pods/*/{metric['name']}"
        items = await self._custom(tail, query)
        if not items:
            raise MetricError("no metrics returned from custom metrics API")
        return {
            item["describedObject"]["name"]: PodMetric(
                quantity.milli_value(item["value"]), _moment(item), _window(item)
            )
            for item in items
        }

    async def of_object(self, metric: Obj, described: Obj) -> int:
        """Return a custom metric of an object; raises MetricError."""
        group = described.get("apiVersion", "").rpartition("/")[0]
        if (group, described["kind"]) == ("", "Namespace"):
            tail = f"namespaces/{self._namespace}/metrics/{metric['name']}"
        else:
            plural = self._plural(group, described["kind"])
            tail = f"namespaces/{self._namespace}/{plural}/{described['name']}/{metric['name']}"
        items = await self._custom(tail, _metric_selector(metric))
        if len(items) != 1:
            raise MetricError(
                "unable to fetch metrics from custom metrics API: the custom metrics API server "
                f"returned {len(items)} results when we asked for exactly one"
            )
        return quantity.milli_value(items[0]["value"])

    async def external(self, metric: Obj) -> int:
        """Return the sum of an external metric's values; raises MetricError."""
        path = f"{EXTERNAL_API}/namespaces/{self._namespace}/{metric['name']}"
        selector = str(selectors.from_object(metric["selector"])) if metric.get("selector") else ""
        items = await self._items(path, {"labelSelector": selector}, "external")
        return min(sum(quantity.milli_value(item["value"]) for item in items), MILLIS_MAX)

    def _plural(self, group: str, kind: str) -> str:
        found = next((r for r in self._scheme if (r.group, r.kind) == (group, kind)), None)
        if found is None:
            raise MetricError(
                "unable to fetch metrics from custom metrics API: unable to find resource for "
                f"{kind}.{group}"
            )
        return found.group_resource

    async def _items(self, path: str, query: Mapping[str, str], which: str) -> Sequence[Any]:
        items = await _listed(lambda: self._client.read(path, _filled(query)), which)
        if not items:
            raise MetricError(f"no metrics returned from {which} metrics API")
        return items

    async def _custom(self, tail: str, query: Mapping[str, str]) -> Sequence[Any]:
        """Return the items of the newest version that there is."""

        async def read() -> Obj:
            for version in CUSTOM_VERSIONS[:-1]:
                try:
                    return await self._client.read(f"{CUSTOM_API}/{version}/{tail}", _filled(query))
                except NotFoundError:
                    continue
            oldest = CUSTOM_VERSIONS[-1]
            return await self._client.read(f"{CUSTOM_API}/{oldest}/{tail}", _filled(query))

        return await _listed(read, "custom")


async def _listed(read: Callable[[], Awaitable[Obj]], which: str) -> Sequence[Any]:
    try:
        document = await read()
    except StatusError as error:
        raise MetricError(f"unable to fetch metrics from {which} metrics API: {error}") from error
    return [item for item in document.get("items") or () if isinstance(item, Mapping)]


def _filled(query: Mapping[str, str]) -> dict[str, str]:
    return {key: value for key, value in query.items() if value}


def _metric_selector(metric: Obj) -> dict[str, str]:
    selector = metric.get("selector")
    return {"metricLabelSelector": str(selectors.from_object(selector))} if selector else {}


def _moment(item: Obj) -> float:
    return times.parse(item["timestamp"]).timestamp()


def _window(item: Obj) -> float:
    """Return over how many seconds a custom metric was measured; versions name it differently."""
    seconds = item.get("windowSeconds", item.get("window"))
    return DEFAULT_WINDOW_SECONDS if seconds is None else float(seconds)


def pod_metrics(items: Iterable[Obj], resource: str) -> Metrics:
    """Return what each pod uses; one of which a container is not known is left out."""
    found = {}
    for item in items:
        used = [get(one, "usage", {}).get(resource) for one in item.get("containers") or ()]
        if used and None not in used:
            total = sum(quantity.milli_value(amount) for amount in used)
            found[item["metadata"]["name"]] = _of_pod(item, total)
    return found


def container_metrics(items: Iterable[Obj], resource: str, container: str) -> Metrics:
    """Return what one container of each pod uses; raises MetricError where a pod has none such."""
    found = {}
    for item in items:
        containers = {one["name"]: one for one in item.get("containers") or ()}
        if container not in containers:
            metadata = item["metadata"]
            raise MetricError(
                f"container {container} not present in metrics for pod "
                f"{metadata.get('namespace', '')}/{metadata['name']}"
            )
        amount = get(containers[container], "usage", {}).get(resource)
        if amount is not None:
            found[item["metadata"]["name"]] = _of_pod(item, quantity.milli_value(amount))
    return found


def _of_pod(item: Obj, value: int) -> PodMetric:
    window = times.parse_duration(item.get("window") or "0s")
    return PodMetric(value, _moment(item), window)
