"""Metrics of autoscalers as autoscaling/v1 writes them into annotations.

Version 1 has one target, the use of CPU. What version 2 has beside it stands in annotations, in an
older form with other names; the functions here turn metrics and their status from one form into
the other.
"""

from collections.abc import Mapping
from typing import Any

from minikube_py.api.object import Obj, get

Names = Mapping[str, str]

_SPEC: Mapping[str, Names] = {
    # type field -> path in v2 -> name in v1
    "resource": {
        "name": "name",
        "target.averageUtilization": "targetAverageUtilization",
        "target.averageValue": "targetAverageValue",
    },
    "containerResource": {
        "name": "name",
        "container": "container",
        "target.averageUtilization": "targetAverageUtilization",
        "target.averageValue": "targetAverageValue",
    },
    "pods": {
        "metric.name": "metricName",
        "metric.selector": "selector",
        "target.averageValue": "targetAverageValue",
    },
    "object": {
        "describedObject": "target",
        "metric.name": "metricName",
        "metric.selector": "selector",
        "target.value": "targetValue",
        "target.averageValue": "averageValue",
    },
    "external": {
        "metric.name": "metricName",
        "metric.selector": "metricSelector",
        "target.value": "targetValue",
        "target.averageValue": "targetAverageValue",
    },
}
_STATUS: Mapping[str, Names] = {
    "resource": {
        "name": "name",
        "current.averageUtilization": "currentAverageUtilization",
        "current.averageValue": "currentAverageValue",
    },
    "containerResource": {
        "name": "name",
        "container": "container",
        "current.averageUtilization": "currentAverageUtilization",
        "current.averageValue": "currentAverageValue",
    },
    "pods": {
        "metric.name": "metricName",
        "metric.selector": "selector",
        "current.averageValue": "currentAverageValue",
    },
    "object": {
        "describedObject": "target",
        "metric.name": "metricName",
        "metric.selector": "selector",
        "current.value": "currentValue",
        "current.averageValue": "averageValue",
    },
    "external": {
        "metric.name": "metricName",
        "metric.selector": "metricSelector",
        "current.value": "currentValue",
        "current.averageValue": "currentAverageValue",
    },
}
_ALWAYS: Mapping[str, Names] = {
    # what a status in the old form shows even where it is not known
    "resource": {"currentAverageValue": "0"},
    "containerResource": {"currentAverageValue": "0"},
    "pods": {"currentAverageValue": "0"},
    "object": {"currentValue": "0"},
    "external": {"currentValue": "0"},
}


def spec_to_v1(metric: Obj) -> dict[str, Any]:
    """Return a metric of v2 in the form of v1."""
    return _to_v1(metric, _SPEC)


def spec_from_v1(metric: Obj) -> dict[str, Any]:
    """Return a metric of v1 in the form of v2, with the type that its target has."""
    made = _from_v1(metric, _SPEC)
    for source in made.values():
        if isinstance(source, dict):
            source["target"] = {**source.get("target", {}), "type": _target_type(source)}
    return made


def _target_type(source: Obj) -> str:
    target = source.get("target") or {}
    if target.get("averageUtilization") is not None:
        return "Utilization"
    return "AverageValue" if target.get("averageValue") is not None else "Value"


def status_to_v1(metric: Obj) -> dict[str, Any]:
    """Return the status of a metric of v2 in the form of v1."""
    made = _to_v1(metric, _STATUS)
    for key, always in _ALWAYS.items():
        if key in made:
            made[key] = {**made[key], **{k: v for k, v in always.items() if k not in made[key]}}
    return made


def status_from_v1(metric: Obj) -> dict[str, Any]:
    """Return the status of a metric of v1 in the form of v2."""
    made = _from_v1(metric, _STATUS)
    for source in made.values():
        if isinstance(source, dict):
            source.setdefault("current", {})
    return made


def _to_v1(metric: Obj, table: Mapping[str, Names]) -> dict[str, Any]:
    made: dict[str, Any] = {"type": metric.get("type", "")}
    for key, names in table.items():
        source = metric.get(key)
        if source is not None:
            values = ((name, get(source, path)) for path, name in names.items())
            made[key] = {name: value for name, value in values if value is not None}
    return made


def _from_v1(metric: Obj, table: Mapping[str, Names]) -> dict[str, Any]:
    made: dict[str, Any] = {"type": metric.get("type", "")}
    for key, names in table.items():
        source = metric.get(key)
        if source is not None:
            made[key] = _renamed(source, names)
    return made


def _renamed(source: Obj, names: Names) -> dict[str, Any]:
    made: dict[str, Any] = {}
    for path, name in names.items():
        if source.get(name) is None:
            continue
        outer, _, inner = path.partition(".")
        if inner:
            made.setdefault(outer, {})[inner] = source[name]
        else:
            made[outer] = source[name]
    return made
