"""Horizontal pod autoscalers in autoscaling/v1: one target, the use of CPU.

The stored form is autoscaling/v2. What v1 has no field for travels in annotations, so that a
client which knows v1 only can write back what it read and loses nothing.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import orjson

from minikube_py.api import strategy
from minikube_py.api.autoscaling import horizontalpodautoscaler as v2
from minikube_py.api.autoscaling import metrics_v1, validation
from minikube_py.api.fields import FieldError
from minikube_py.api.object import Obj, annotations_of, get
from minikube_py.api.resource import Resource, StorageForm, Subresource
from minikube_py.api.strategy import changed, with_absent

PREFIX = "autoscaling.alpha.kubernetes.io/"
METRICS, BEHAVIOR = f"{PREFIX}metrics", f"{PREFIX}behavior"
CONDITIONS, CURRENT_METRICS = f"{PREFIX}conditions", f"{PREFIX}current-metrics"
ANNOTATIONS = (METRICS, BEHAVIOR, CONDITIONS, CURRENT_METRICS)
EMPTY_STATUS = {"currentReplicas": 0, "desiredReplicas": 0}


def default(hpa: Obj) -> Obj:
    """Fill in what the user left out; the CPU target only where there are no other metrics."""
    hpa = changed(with_absent(hpa, {"spec": {}, "status": {}}), "spec", _default_spec)
    if METRICS not in annotations_of(hpa):
        values = {"targetCPUUtilizationPercentage": v2.DEFAULT_UTILIZATION}
        hpa = changed(hpa, "spec", lambda spec: with_absent(spec, values))
    return changed(hpa, "status", lambda status: with_absent(status, EMPTY_STATUS))


def _default_spec(spec: Obj) -> Obj:
    spec = with_absent(spec, {"minReplicas": 1, "maxReplicas": 0, "scaleTargetRef": {}})
    return changed(spec, "scaleTargetRef", lambda ref: with_absent(ref, {"kind": "", "name": ""}))


def _is_cpu(metric: Obj) -> bool:
    """Tell whether a metric is what v1 has a field for."""
    return (
        metric.get("type") == "Resource"
        and get(metric, "resource.name") == "cpu"
        and get(metric, "resource.target.averageUtilization") is not None
    )


def _is_cpu_status(metric: Obj) -> bool:
    return (
        metric.get("type") == "Resource"
        and get(metric, "resource.name") == "cpu"
        and get(metric, "resource.current.averageUtilization") is not None
    )


def _parsed(text: str | None) -> Any:
    """Return the JSON of an annotation; what is none counts as nothing."""
    try:
        return orjson.loads(text) if text else None
    except orjson.JSONDecodeError:
        return None


def to_v2(hpa: Obj) -> Obj:
    """Return an autoscaler of v1 in the stored form."""
    spec, status = hpa["spec"], hpa.get("status") or {}
    annotations = annotations_of(hpa)
    kept = {key: value for key, value in annotations.items() if key not in ANNOTATIONS}
    metadata = {key: value for key, value in hpa["metadata"].items() if key != "annotations"}
    if kept:
        metadata["annotations"] = kept
    new_spec: dict[str, Any] = {
        key: value for key, value in spec.items() if key != "targetCPUUtilizationPercentage"
    }
    metrics = [metrics_v1.spec_from_v1(m) for m in _parsed(annotations.get(METRICS)) or ()]
    target = spec.get("targetCPUUtilizationPercentage")
    if target is not None:
        metrics.insert(0, _cpu_metric(target))
    if metrics:
        new_spec["metrics"] = metrics
    behavior = _parsed(annotations.get(BEHAVIOR))
    if behavior is not None:
        new_spec["behavior"] = behavior
    converted = {
        **hpa,
        "apiVersion": "autoscaling/v2",
        "metadata": metadata,
        "spec": new_spec,
        "status": _status_to_v2(status, annotations),
    }
    return v2.default(converted)


def _cpu_metric(target: int) -> dict[str, Any]:
    return {
        "type": "Resource",
        "resource": {
            "name": "cpu",
            "target": {"type": "Utilization", "averageUtilization": target},
        },
    }


def _status_to_v2(status: Obj, annotations: Obj) -> dict[str, Any]:
    made: dict[str, Any] = {
        key: value for key, value in status.items() if key != "currentCPUUtilizationPercentage"
    }
    current = [
        metrics_v1.status_from_v1(m) for m in _parsed(annotations.get(CURRENT_METRICS)) or ()
    ]
    used = status.get("currentCPUUtilizationPercentage")
    if used is not None and not any(map(_is_cpu_status, current)):
        resource = {"name": "cpu", "current": {"averageUtilization": used}}
        current.insert(0, {"type": "Resource", "resource": resource})
    made["currentMetrics"] = current or None
    conditions = _parsed(annotations.get(CONDITIONS))
    if conditions:
        made["conditions"] = conditions
    return made


def from_v2(hpa: Obj) -> Obj:
    """Return a stored autoscaler as v1 shows it."""
    spec, status = hpa["spec"], hpa.get("status") or {}
    metrics: Sequence[Obj] = spec.get("metrics") or ()
    cpu = next((metric for metric in metrics if _is_cpu(metric)), None)
    new_spec = {key: value for key, value in spec.items() if key not in {"metrics", "behavior"}}
    if cpu is not None:
        new_spec["targetCPUUtilizationPercentage"] = get(cpu, "resource.target.averageUtilization")
    others = [metrics_v1.spec_to_v1(metric) for metric in metrics if metric is not cpu]
    current: Sequence[Obj] = status.get("currentMetrics") or ()
    extra = {
        METRICS: others,
        BEHAVIOR: spec.get("behavior"),
        CONDITIONS: status.get("conditions"),
        CURRENT_METRICS: [metrics_v1.status_to_v1(metric) for metric in current],
    }
    made = {**hpa, "apiVersion": "autoscaling/v1", "spec": new_spec}
    made["status"] = _status_from_v2(status, current)
    return _with_annotations(made, extra)


def _status_from_v2(status: Obj, current: Sequence[Obj]) -> dict[str, Any]:
    made = {
        key: value for key, value in status.items() if key not in {"currentMetrics", "conditions"}
    }
    used = next((metric for metric in current if _is_cpu_status(metric)), None)
    if used is not None:
        made["currentCPUUtilizationPercentage"] = get(used, "resource.current.averageUtilization")
    return {**EMPTY_STATUS, **made}


def _with_annotations(hpa: dict[str, Any], extra: Obj) -> dict[str, Any]:
    texts = {key: orjson.dumps(value).decode() for key, value in extra.items() if value}
    if not texts:
        return hpa
    annotations = {**annotations_of(hpa), **texts}
    return {**hpa, "metadata": {**hpa["metadata"], "annotations": annotations}}


def validate(new: Obj, old: Obj | None) -> Iterator[FieldError]:
    """Report what is wrong with a new or updated autoscaler; the rules are those of v2."""
    yield from validation.validate(to_v2(new), None if old is None else to_v2(old))


def cells(hpa: Obj) -> Sequence[Any]:
    """Return the cells of an autoscaler's row."""
    return v2.cells(to_v2(hpa))


def prepare_for_create(hpa: Obj) -> Obj:
    """Drop what a creator may not set, also where an annotation tells of it."""
    prepared = v2.HORIZONTALPODAUTOSCALERS.prepare_for_create(to_v2(hpa))
    return from_v2(prepared)


def prepare_for_update(new: Obj, old: Obj) -> Obj:
    """Keep the status, and the annotations that tell of it."""
    prepare = v2.HORIZONTALPODAUTOSCALERS.prepare_for_update
    return from_v2(prepare(to_v2(new), to_v2(old)))


def prepare_for_status(new: Obj, old: Obj) -> Obj:
    """Keep the spec, and the annotations that tell of it."""
    return from_v2(strategy.updating_status("spec")(to_v2(new), to_v2(old)))


HORIZONTALPODAUTOSCALERS_V1 = Resource(
    group="autoscaling",
    kind="HorizontalPodAutoscaler",
    plural="horizontalpodautoscalers",
    short_names=("hpa",),
    categories=("all",),
    schema="io.k8s.api.autoscaling.v1.HorizontalPodAutoscaler",
    subresources=(
        Subresource(
            name="status",
            shares_object=True,
            prepare_for_update=prepare_for_status,
            validate=validation.validate_status,
        ),
    ),
    columns=v2.COLUMNS,
    cells=cells,
    default=default,
    prepare_for_create=prepare_for_create,
    prepare_for_update=prepare_for_update,
    validate=validate,
    storage=StorageForm(v2.HORIZONTALPODAUTOSCALERS, to_v2, from_v2),
)
