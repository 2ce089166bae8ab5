"""Horizontal pod autoscalers: a number of replicas that follows metrics."""

from collections.abc import Sequence
from typing import Any

from minikube_py.api import strategy
from minikube_py.api.autoscaling import validation
from minikube_py.api.object import Obj, get
from minikube_py.api.printing import NONE, UNKNOWN, UNSET
from minikube_py.api.resource import AGE, NAME, Age, Column, Resource, Subresource
from minikube_py.api.strategy import changed, with_absent

EMPTY_STATUS = {"desiredReplicas": 0, "currentMetrics": None}
DEFAULT_UTILIZATION = 80
"""Percent of the requested CPU that an autoscaler without metrics keeps to."""
_METRICS = (
    {
        "type": "Resource",
        "resource": {
            "name": "cpu",
            "target": {"type": "Utilization", "averageUtilization": DEFAULT_UTILIZATION},
        },
    },
)
_SCALE_UP = {
    "stabilizationWindowSeconds": 0,
    "selectPolicy": "Max",
    "policies": [
        {"type": "Pods", "value": 4, "periodSeconds": 15},
        {"type": "Percent", "value": 100, "periodSeconds": 15},
    ],
}
_SCALE_DOWN = {
    "selectPolicy": "Max",
    "policies": [{"type": "Percent", "value": 100, "periodSeconds": 15}],
}
METRICS_SHOWN_MAX = 2


def default(hpa: Obj) -> Obj:
    """Fill in what the user left out."""
    hpa = changed(with_absent(hpa, {"spec": {}, "status": {}}), "spec", _default_spec)
    return changed(hpa, "status", _default_status)


def _default_spec(spec: Obj) -> Obj:
    spec = with_absent(spec, {"minReplicas": 1, "maxReplicas": 0, "scaleTargetRef": {}})
    spec = changed(spec, "scaleTargetRef", lambda ref: with_absent(ref, {"kind": "", "name": ""}))
    if not spec.get("metrics"):
        spec = {**spec, "metrics": list(_METRICS)}
    return changed(spec, "behavior", _default_behavior)


def _default_behavior(behavior: Obj) -> Obj:
    behavior = with_absent(behavior, {"scaleUp": {}, "scaleDown": {}})
    behavior = changed(behavior, "scaleUp", lambda rules: with_absent(rules, _SCALE_UP))
    return changed(behavior, "scaleDown", lambda rules: with_absent(rules, _SCALE_DOWN))


def _default_status(status: Obj) -> Obj:
    status = strategy.without_empty(status, "currentReplicas", "conditions")
    status = with_absent(status, {"desiredReplicas": 0})
    return status if status.get("currentMetrics") else {**status, "currentMetrics": None}


def _metric(metric: Obj, status: Obj) -> str:
    """Return one metric as `current/target`."""
    key = validation.SOURCES.get(metric.get("type", ""))
    if key is None:
        return "<unknown type>"
    source: Obj = metric.get(key) or {}
    target: Obj = source.get("target") or {}
    current: Obj = get(status, f"{key}.current", {})
    if key in {"resource", "containerResource"}:
        return f"{source.get('name', '')}: {_resource_share(current, target)}"
    if target.get("averageValue") is not None:
        shown = f"{current.get('averageValue', UNKNOWN)}/{target['averageValue']}"
        return shown if key == "pods" else f"{shown} (avg)"
    return f"{current.get('value', UNKNOWN)}/{target.get('value', '')}"


def _resource_share(current: Obj, target: Obj) -> str:
    if target.get("averageValue") is not None:
        return f"{current.get('averageValue', UNKNOWN)}/{target['averageValue']}"
    used, wanted = current.get("averageUtilization"), target.get("averageUtilization")
    left = UNKNOWN if used is None else f"{used}%"
    right = "<auto>" if wanted is None else f"{wanted}%"
    return f"{left}/{right}"


def _metrics(hpa: Obj) -> str:
    metrics: Sequence[Obj] = get(hpa, "spec.metrics") or ()
    statuses: Sequence[Obj] = get(hpa, "status.currentMetrics") or ()
    if not metrics:
        return NONE
    shown = ", ".join(
        _metric(metric, statuses[index] if index < len(statuses) else {})
        for index, metric in enumerate(metrics[:METRICS_SHOWN_MAX])
    )
    if len(metrics) > METRICS_SHOWN_MAX:
        return f"{shown} + {len(metrics) - METRICS_SHOWN_MAX} more..."
    return shown


def cells(hpa: Obj) -> Sequence[Any]:
    """Return the cells of an autoscaler's row."""
    spec: Obj = hpa["spec"]
    target: Obj = spec.get("scaleTargetRef") or {}
    return (
        hpa["metadata"]["name"],
        f"{target.get('kind', '')}/{target.get('name', '')}",
        _metrics(hpa),
        str(spec.get("minReplicas", UNSET)),
        spec.get("maxReplicas", 0),
        get(hpa, "status.currentReplicas", 0),
        Age(get(hpa, "metadata.creationTimestamp")),
    )


COLUMNS = (
    NAME,
    Column("Reference"),
    Column("Targets"),
    Column("MinPods"),
    Column("MaxPods"),
    Column("Replicas"),
    AGE,
)

HORIZONTALPODAUTOSCALERS = Resource(
    group="autoscaling",
    version="v2",
    kind="HorizontalPodAutoscaler",
    plural="horizontalpodautoscalers",
    short_names=("hpa",),
    categories=("all",),
    schema="io.k8s.api.autoscaling.v2.HorizontalPodAutoscaler",
    subresources=(
        Subresource(
            name="status",
            shares_object=True,
            prepare_for_update=strategy.updating_status("spec"),
            validate=validation.validate_status,
        ),
    ),
    columns=COLUMNS,
    cells=cells,
    default=default,
    prepare_for_create=strategy.creating(EMPTY_STATUS, generation=False),
    prepare_for_update=strategy.updating(),
    validate=validation.validate,
)
