"""Kinds that are served in two versions: nothing is lost on the way there and back."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from minikube_py.api.autoscaling import HORIZONTALPODAUTOSCALERS
from minikube_py.api.autoscaling.horizontalpodautoscaler_v1 import (
    CURRENT_METRICS,
    METRICS,
    from_v2,
    to_v2,
)
from minikube_py.api.core import EVENTS
from minikube_py.api.events.event import EVENTS_V1, from_core, to_core

WORDS = st.sampled_from(["a", "b", "qps"])
AMOUNTS = st.sampled_from(["1", "200Mi", "500m"])
RESOURCES = st.builds(
    lambda name, use: {
        "type": "Resource",
        "resource": {"name": name, "target": {"type": "Utilization", "averageUtilization": use}},
    },
    st.sampled_from(["cpu", "memory"]),
    st.integers(1, 100),
)
PODS = st.builds(
    lambda name, amount: {
        "type": "Pods",
        "pods": {
            "metric": {"name": name, "selector": {"matchLabels": {"x": "y"}}},
            "target": {"type": "AverageValue", "averageValue": amount},
        },
    },
    WORDS,
    AMOUNTS,
)
OBJECTS = st.builds(
    lambda name, amount: {
        "type": "Object",
        "object": {
            "describedObject": {"apiVersion": "v1", "kind": "Service", "name": "s"},
            "metric": {"name": name},
            "target": {"type": "Value", "value": amount},
        },
    },
    WORDS,
    AMOUNTS,
)
EXTERNAL = st.builds(
    lambda name, amount: {
        "type": "External",
        "external": {
            "metric": {"name": name},
            "target": {"type": "AverageValue", "averageValue": amount},
        },
    },
    WORDS,
    AMOUNTS,
)
METRIC_LISTS = st.lists(st.one_of(RESOURCES, PODS, OBJECTS, EXTERNAL), min_size=1, max_size=4)


def autoscaler(metrics: list[Any]) -> dict[str, Any]:
    return dict(
        HORIZONTALPODAUTOSCALERS.default(
            {
                "apiVersion": "autoscaling/v2",
                "kind": "HorizontalPodAutoscaler",
                "metadata": {"name": "h", "annotations": {"mine": "kept"}},
                "spec": {
                    "minReplicas": 2,
                    "maxReplicas": 9,
                    "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "d"},
                    "metrics": metrics,
                    "behavior": {"scaleUp": {"selectPolicy": "Min"}},
                },
                "status": {
                    "currentReplicas": 3,
                    "desiredReplicas": 4,
                    "conditions": [{"type": "AbleToScale", "status": "True"}],
                    "currentMetrics": [
                        {
                            "type": "Resource",
                            "resource": {
                                "name": "cpu",
                                "current": {"averageUtilization": 7, "averageValue": "70m"},
                            },
                        }
                    ],
                },
            }
        )
    )


def sorted_metrics(hpa: Any) -> Any:
    """The CPU target comes first in the stored form; the order of the others stays."""
    metrics = hpa["spec"]["metrics"]
    first = next(
        (m for m in metrics if m["type"] == "Resource" and m["resource"]["name"] == "cpu"),
        None,
    )
    ordered = metrics if first is None else [first, *(m for m in metrics if m is not first)]
    return {**hpa, "spec": {**hpa["spec"], "metrics": ordered}}


@given(METRIC_LISTS)
def test_an_autoscaler_survives_being_read_and_written_as_v1(metrics: list[Any]) -> None:
    stored = autoscaler(metrics)
    assert to_v2(from_v2(stored)) == sorted_metrics(stored)


def test_v1_shows_the_use_of_cpu_and_keeps_the_rest_in_annotations() -> None:
    shown = from_v2(
        autoscaler(
            [
                {
                    "type": "Resource",
                    "resource": {
                        "name": "cpu",
                        "target": {"type": "Utilization", "averageUtilization": 60},
                    },
                }
            ]
        )
    )
    assert shown["apiVersion"] == "autoscaling/v1"
    assert shown["spec"]["targetCPUUtilizationPercentage"] == 60
    assert shown["status"]["currentCPUUtilizationPercentage"] == 7
    annotations = shown["metadata"]["annotations"]
    assert METRICS not in annotations
    assert annotations["mine"] == "kept"
    assert annotations[CURRENT_METRICS] == (
        '[{"type":"Resource","resource":{"name":"cpu","currentAverageUtilization":7,'
        '"currentAverageValue":"70m"}}]'
    )


CORE_EVENTS = st.fixed_dictionaries(
    {
        "apiVersion": st.just("v1"),
        "kind": st.just("Event"),
        "metadata": st.just({"name": "e", "namespace": "n"}),
        "involvedObject": st.just({"kind": "Pod", "name": "p", "namespace": "n"}),
    },
    optional={
        "message": st.text(min_size=1, max_size=5),
        "reason": st.text(min_size=1, max_size=5),
        "source": st.fixed_dictionaries({"component": st.sampled_from(["kubelet", "s"])}),
        "firstTimestamp": st.just("2026-01-01T00:00:00Z"),
        "count": st.integers(1, 9),
        "reportingComponent": st.sampled_from(["", "c"]),
        "eventTime": st.just("2026-01-01T00:00:00.000000Z"),
        "series": st.just({"count": 2, "lastObservedTime": "2026-01-01T00:00:00.000000Z"}),
    },
)


@given(CORE_EVENTS)
def test_an_event_survives_being_read_and_written_as_events_k8s_io(event: Any) -> None:
    stored = EVENTS.default(event)
    shown = from_core(stored)
    assert shown["apiVersion"] == "events.k8s.io/v1"
    assert to_core(EVENTS_V1.default(shown)) == stored
