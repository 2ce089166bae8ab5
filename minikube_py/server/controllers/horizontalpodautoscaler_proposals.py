"""What each metric of an autoscaler calls for, and what its status says of it.

Reading is apart from reckoning: `read` asks for one metric and wraps what went wrong in upstream's
words; `propose` is pure. The highest proposal wins; a metric that cannot be read keeps the others
from scaling down, but not from scaling up.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, NamedTuple

from minikube_py.api import quantity
from minikube_py.api.object import Obj, get
from minikube_py.server.controllers.horizontalpodautoscaler_metrics import MetricsReader
from minikube_py.server.controllers.horizontalpodautoscaler_replicas import (
    MetricError,
    Metrics,
    Proposal,
    Target,
    by_average,
    by_share,
    by_utilization,
    by_value,
)

EVENTS = {
    "Resource": "FailedGetResourceMetric",
    "ContainerResource": "FailedGetContainerResourceMetric",
    "Pods": "FailedGetPodsMetric",
    "Object": "FailedGetObjectMetric",
    "External": "FailedGetExternalMetric",
}
"""Type of a metric -> the reason of the event and condition where it fails."""
FIELDS = {
    "Resource": "resource",
    "ContainerResource": "containerResource",
    "Pods": "pods",
    "Object": "object",
    "External": "external",
}


@dataclass(frozen=True)
class Reading:
    """What was read of one metric: a value, one for each pod, or why there is none."""

    spec: Obj
    metrics: Metrics | None = None
    value: int = 0
    error: str = ""

    @property
    def type(self) -> str:
        """Resource, Pods and so on."""
        return str(self.spec["type"])

    @property
    def source(self) -> Obj:
        """The part of the spec that is about this type."""
        source: Obj = self.spec.get(FIELDS.get(self.type, ""), {})
        return source


class Proposed(NamedTuple):
    """What one metric calls for; where it fails, `error` says why and nothing else counts."""

    replicas: int = 0
    name: str = ""
    status: Mapping[str, Any] = MappingProxyType({"type": ""})
    """Upstream's zero value where the metric fails."""
    reason: str = ""
    error: str = ""
    summary: str = ""
    """The error with what it was about, for the event that sums up."""


async def read(spec: Obj, reader: MetricsReader, selector: str) -> Reading:
    """Read one metric."""
    reading = Reading(spec)
    try:
        return await _read(reading, reader, selector)
    except MetricError as error:
        return Reading(spec, error=_wrapped(reading, str(error)))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        # Another server's answer is not what it has to be.
        text = f"unable to fetch metrics from API: malformed answer: {error!r}"
        return Reading(spec, error=_wrapped(reading, text))


async def _read(reading: Reading, reader: MetricsReader, selector: str) -> Reading:
    spec, source = reading.spec, reading.source
    match reading.type:
        case "Resource":
            return Reading(spec, await reader.resource(source["name"], selector))
        case "ContainerResource":
            container = source["container"]
            return Reading(spec, await reader.resource(source["name"], selector, container))
        case "Pods":
            return Reading(spec, await reader.of_pods(source["metric"], selector))
        case "Object":
            described = source["describedObject"]
            return Reading(spec, value=await reader.of_object(source["metric"], described))
        case "External":
            return Reading(spec, value=await reader.external(source["metric"]))
    return Reading(spec, error=f'unknown metric source type "{reading.type}"')


def _wrapped(reading: Reading, text: str) -> str:
    """Say what could not be read, as upstream's calculator does."""
    source = reading.source
    name = get(source, "metric.name", "")
    match reading.type:
        case "Resource" | "ContainerResource":
            return f"unable to get metrics for resource {source['name']}: {text}"
        case "Pods":
            return f"unable to get metric {name}: {text}"
        case "Object":
            described = source["describedObject"]
            what = f"{described['kind']} on {described['name']}"
            return f"unable to get metric {name}: {what}: {text}"
    shown = go_text(get(source, "metric.selector"))
    return f"unable to get external metric {name}/{shown}: {text}"


def propose(reading: Reading, target: Target) -> Proposed:
    """Return what a metric calls for: pure."""
    kind = reading.type
    if kind not in EVENTS:
        return Proposed(
            reason="InvalidMetricSourceType", error=reading.error, summary=reading.error
        )
    if reading.error:
        return _failure(reading, reading.error)
    try:
        found, current, name = _reckon(reading, target)
    except MetricError as error:
        return _failure(reading, str(error))
    shown: dict[str, Any] = {"current": current}
    for key in ("name", "container", "metric", "describedObject"):
        if key in reading.source:
            shown[key] = reading.source[key]
    return Proposed(found.replicas, name, {"type": kind, FIELDS[kind]: shown})


def _failure(reading: Reading, error: str) -> Proposed:
    text = _outer(reading, error)
    summary = f"{_about(reading)}: {text}"
    return Proposed(reason=EVENTS[reading.type], error=text, summary=summary)


def _outer(reading: Reading, text: str) -> str:
    """Wrap an error as upstream's controller does."""
    source, target = reading.source, reading.source.get("target") or {}
    name = get(source, "metric.name", "")
    match reading.type:
        case "Resource" | "ContainerResource":
            what = "usage" if target.get("averageValue") is not None else "utilization"
            return f"failed to get {source['name']} {what}: {text}"
        case "Object" if target.get("type") == "AverageValue":
            return f"failed to get {name} object metric: {text}"
        case "External" if target.get("averageValue") is not None:
            return f"failed to get {name} external metric: {text}"
        case "External":
            return f"failed to get external metric {name}: {text}"
    return text


def _about(reading: Reading) -> str:
    source = reading.source
    return {
        "Resource": f"failed to get {source.get('name', '')} resource metric value",
        "ContainerResource": f"failed to get {source.get('container', '')} container metric value",
        "Pods": "failed to get pods metric value",
        "Object": "failed to get object metric value",
        "External": f"failed to get {get(source, 'metric.name', '')} external metric value",
    }[reading.type]


def _reckon(reading: Reading, target: Target) -> tuple[Proposal, Mapping[str, Any], str]:
    """Return proposal, current value and what the metric is called."""
    source = reading.source
    wanted: Obj = source["target"]
    metrics = reading.metrics or {}
    name = get(source, "metric.name", "")
    match reading.type:
        case "Resource" | "ContainerResource":
            return _of_resource(reading, target, metrics)
        case "Pods":
            found = by_average(target, metrics, quantity.milli_value(wanted["averageValue"]))
            return found, {"averageValue": _millis(found.usage)}, f"pods metric {name}"
        case "Object":
            described = source["describedObject"]["kind"]
            shown = f"{described} metric {name}"
        case _:
            shown = f"external metric {name}({go_text(get(source, 'metric.selector'))})"
    if wanted.get("averageValue") is not None:
        found = by_share(target, reading.value, quantity.milli_value(wanted["averageValue"]))
        return found, {"averageValue": _millis(found.usage)}, shown
    if wanted.get("value") is None:
        kind = reading.type.lower()
        raise MetricError(
            f"invalid {kind} metric source: neither a value target nor an average value target "
            "was set"
        )
    found = by_value(target, reading.value, quantity.milli_value(wanted["value"]))
    return found, {"value": _millis(found.usage)}, shown


def _of_resource(
    reading: Reading, target: Target, metrics: Metrics
) -> tuple[Proposal, Mapping[str, Any], str]:
    source, wanted = reading.source, reading.source["target"]
    resource, container = source["name"], source.get("container", "")
    if wanted.get("averageValue") is not None:
        amount = quantity.milli_value(wanted["averageValue"])
        found = by_average(target, metrics, amount, resource)
        return found, {"averageValue": _amount(resource, found.usage)}, f"{resource} resource"
    if wanted.get("averageUtilization") is None:
        raise MetricError(
            "invalid resource metric source: neither an average utilization target nor an average "
            "value (usage) target was set"
        )
    percent = wanted["averageUtilization"]
    found = by_utilization(target, metrics, resource, percent, container)
    what = "container resource" if reading.type == "ContainerResource" else "resource"
    current = {
        "averageUtilization": found.utilization,
        "averageValue": _amount(resource, found.usage),
    }
    return found, current, f"{resource} {what} utilization (percentage of request)"


def go_text(selector: Obj | None) -> str:
    """Return a selector as Go prints it in names of external metrics."""
    if selector is None:
        return "nil"
    labels = sorted((selector.get("matchLabels") or {}).items())
    pairs = "".join(f"{key}: {value}," for key, value in labels)
    expressions = "".join(
        f"LabelSelectorRequirement{{Key:{one['key']},Operator:{one['operator']},"
        f"Values:[{' '.join(one.get('values') or ())}],}},"
        for one in selector.get("matchExpressions") or ()
    )
    return (
        f"&LabelSelector{{MatchLabels:map[string]string{{{pairs}}},"
        f"MatchExpressions:[]LabelSelectorRequirement{{{expressions}}},}}"
    )


def _millis(amount: int) -> str:
    return str(quantity.of_milli(amount))


def _amount(resource: str, millis: int) -> str:
    """Return an amount as the metrics API writes it: memory in powers of two."""
    return str(quantity.of_milli(millis, "BinarySI" if resource == "memory" else "DecimalSI"))


class Highest(NamedTuple):
    """What all metrics together call for; `failed` where nothing can be decided."""

    replicas: int
    name: str
    statuses: Sequence[Mapping[str, Any]]
    failures: Sequence[Proposed]
    failed: bool

    def summary(self) -> str:
        """Return the text of what failed; "" where nothing did."""
        if not self.failures:
            return ""
        return (
            f"invalid metrics ({len(self.failures)} invalid out of {len(self.statuses)}), "
            f"first error is: {self.failures[0].summary}"
        )


def highest(proposals: Sequence[Proposed], current: int) -> Highest:
    """Return the highest proposal; failures keep it from being lower than what there is."""
    good = [one for one in proposals if not one.error]
    failures = [one for one in proposals if one.error]
    best = max(good, key=lambda one: one.replicas, default=Proposed())
    failed = not good or (bool(failures) and best.replicas < current)
    statuses = [one.status for one in proposals]
    return Highest(best.replicas, best.name, statuses, failures, failed)
