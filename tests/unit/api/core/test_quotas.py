"""Quotas, limit ranges and replication controllers."""

from typing import Any

import pytest

from minikube_py.api.core import BINDINGS, LIMITRANGES, REPLICATIONCONTROLLERS, RESOURCEQUOTAS
from minikube_py.api.object import Obj
from minikube_py.api.resource import Age, Resource
from tests.frozen import freeze

NOW = "2026-01-01T00:00:00Z"
TEMPLATE = {
    "metadata": {"labels": {"a": "b"}},
    "spec": {"containers": [{"name": "c", "image": "i"}]},
}


def made(resource: Resource, spec: dict[str, Any], **more: Any) -> Obj:
    metadata = {"name": "x", "namespace": "n", "creationTimestamp": NOW}
    return resource.default(freeze({"metadata": metadata, "spec": spec, **more}))


def refused(resource: Resource, spec: dict[str, Any], old: Obj | None = None) -> list[str]:
    return [str(error) for error in resource.validate(made(resource, spec), old)]


def limits(**lists: Any) -> dict[str, Any]:
    return {"limits": [{"type": "Container", **lists}]}


def test_limits_of_containers_follow_from_each_other() -> None:
    spec = limits(max={"cpu": "2", "memory": "1Gi"}, min={"cpu": "1", "disk": "1"})
    (limit,) = made(LIMITRANGES, spec)["spec"]["limits"]
    assert limit["default"] == {"cpu": "2", "memory": "1Gi"}
    assert limit["defaultRequest"] == {"cpu": "2", "memory": "1Gi", "disk": "1"}


@pytest.mark.parametrize(
    ("lists", "errors"),
    [
        ({"max": {"cpu": "1"}, "min": {"cpu": "2"}}, ["min", "defaultRequest", "default"]),
        ({"min": {"cpu": "2"}, "defaultRequest": {"cpu": "1"}}, ["defaultRequest"]),
        ({"max": {"cpu": "1"}, "default": {"cpu": "2"}}, ["defaultRequest", "default"]),
        ({"default": {"cpu": "1"}, "defaultRequest": {"cpu": "2"}}, ["defaultRequest"]),
        ({"maxLimitRequestRatio": {"cpu": "500m"}}, ["maxLimitRequestRatio"]),
        (
            {"max": {"cpu": "4"}, "min": {"cpu": "1"}, "maxLimitRequestRatio": {"cpu": "5"}},
            ["maxLimitRequestRatio"],
        ),
        ({"max": {"bogus": "1"}}, ["max", "max", "default", "default"]),
    ],
)
def test_bounds_that_contradict_each_other_are_refused(
    lists: dict[str, Any], errors: list[str]
) -> None:
    found = refused(LIMITRANGES, limits(**lists))
    fields = [text.removeprefix("spec.limits[0].").partition("[")[0] for text in found]
    assert fields[: len(errors)] == errors


def test_a_ratio_is_told_as_go_prints_floats() -> None:
    lists = {"max": {"cpu": "1"}, "min": {"cpu": "300m"}, "maxLimitRequestRatio": {"cpu": "5"}}
    assert refused(LIMITRANGES, limits(**lists))[-1].endswith(
        'Invalid value: "5": ratio 5 is greater than max/min = 3.333333'
    )


@pytest.mark.parametrize(
    ("limit", "error"),
    [
        ({"type": "Odd"}, 'type: Invalid value: "Odd": must be a standard limit type'),
        ({"type": "a b"}, 'type: Invalid value: "a b": name part must consist'),
        ({"type": "Pod", "default": {"cpu": "1"}}, "default: Forbidden: may not be specified when"),
        ({"type": "PersistentVolumeClaim"}, "limits: Required value: either minimum or maximum"),
        (
            {"type": "example.com/x", "default": {"a.b/c": "1"}, "defaultRequest": {"a.b/c": "2"}},
            'defaultRequest[a.b/c]: Invalid value: "2": default request value 2 is greater than',
        ),
    ],
)
def test_a_limit_fits_its_type(limit: dict[str, Any], error: str) -> None:
    assert refused(LIMITRANGES, {"limits": [limit]})[0].startswith(f"spec.limits[0].{error}")


def test_every_type_is_limited_once() -> None:
    assert refused(LIMITRANGES, {"limits": [{"type": "Pod"}, {"type": "Pod"}]}) == [
        'spec.limits[1].type: Duplicate value: "Pod"'
    ]


@pytest.mark.parametrize(
    ("spec", "errors"),
    [
        ({"hard": {"a.b/c": "1", "count/pods": "1"}}, []),
        ({"scopes": ["Terminating", "NotTerminating"]}, ["spec.scopes"]),
        ({"hard": {"pods": "1"}, "scopes": ["VolumeAttributesClass"]}, ["spec.scopes"]),
        ({"hard": {"requests.storage": "1"}, "scopes": ["VolumeAttributesClass"]}, []),
        (
            {"scopeSelector": {"matchExpressions": [{"scopeName": "Odd", "operator": "Exists"}]}},
            ["spec.scopeSelector.matchExpressions.scopeName"],
        ),
        (
            {
                "scopeSelector": {
                    "matchExpressions": [
                        {"scopeName": "BestEffort", "operator": "In", "values": ["x"]},
                        {"scopeName": "NotBestEffort", "operator": "Exists", "values": ["x"]},
                    ]
                }
            },
            [
                "spec.scopeSelector.matchExpressions.operator",
                "spec.scopeSelector.matchExpressions.values",
                "spec.scopeSelector.matchExpressions",
            ],
        ),
    ],
)
def test_a_quota_counts_what_its_scopes_can_tell(spec: dict[str, Any], errors: list[str]) -> None:
    found = [error.field for error in RESOURCEQUOTAS.validate(made(RESOURCEQUOTAS, spec), None)]
    assert found == errors


def test_the_scopes_of_a_quota_never_change() -> None:
    old = made(RESOURCEQUOTAS, {"scopes": ["Terminating"]})
    assert refused(RESOURCEQUOTAS, {"scopes": ["BestEffort"]}, old) == [
        'spec.scopes: Invalid value: ["BestEffort"]: field is immutable'
    ]


def test_what_was_counted_is_checked_too() -> None:
    status = RESOURCEQUOTAS.subresource("status")
    assert status is not None
    assert status.validate is not None
    bad = made(RESOURCEQUOTAS, {}, status={"hard": {"odd": "1"}, "used": {"pods": "-1"}})
    fields = [error.field for error in status.validate(bad, None)]
    assert fields == ["status.hard[odd]", "status.hard[odd]", "status.used[pods]"]


def test_a_row_of_a_quota_shows_use_apart_for_limits() -> None:
    assert RESOURCEQUOTAS.cells is not None
    hard = {"pods": "10", "limits.cpu": "2", "cpu": "1"}
    quota = made(RESOURCEQUOTAS, {}, status={"hard": hard, "used": {"pods": "3"}})
    row = RESOURCEQUOTAS.cells(quota)
    assert row == ("x", "cpu: 0/1, pods: 3/10", "limits.cpu: 0/2", Age(NOW))


def test_a_controller_takes_its_labels_from_its_template() -> None:
    controller = made(REPLICATIONCONTROLLERS, {"template": TEMPLATE})
    assert controller["spec"]["selector"] == controller["metadata"]["labels"] == {"a": "b"}
    assert controller["spec"]["replicas"] == 1


@pytest.mark.parametrize(
    ("spec", "error"),
    [
        ({}, "spec.selector: Required value"),
        ({"selector": {"x": "y"}, "template": TEMPLATE}, "spec.template.metadata.labels: Invalid"),
        ({"template": TEMPLATE, "replicas": -1}, "spec.replicas: Invalid value: -1"),
        ({"template": TEMPLATE, "minReadySeconds": -1}, "spec.minReadySeconds: Invalid value: -1"),
        (
            {"template": {**TEMPLATE, "spec": {**TEMPLATE["spec"], "restartPolicy": "Never"}}},
            'spec.template.spec.restartPolicy: Unsupported value: "Never"',
        ),
        (
            {"template": {**TEMPLATE, "spec": {**TEMPLATE["spec"], "activeDeadlineSeconds": 5}}},
            "spec.template.spec.activeDeadlineSeconds: Forbidden",
        ),
    ],
)
def test_a_bad_controller_is_refused(spec: dict[str, Any], error: str) -> None:
    assert refused(REPLICATIONCONTROLLERS, spec)[0].startswith(error)


def test_counts_of_a_controller_are_parts_of_each_other() -> None:
    status = REPLICATIONCONTROLLERS.subresource("status")
    assert status is not None
    assert status.validate is not None
    counts = {"replicas": 1, "readyReplicas": 2, "availableReplicas": 3, "observedGeneration": -1}
    bad = made(REPLICATIONCONTROLLERS, {}, status=counts)
    fields = [error.field for error in status.validate(bad, None)]
    assert fields == [
        "status.observedGeneration",
        "status.readyReplicas",
        "status.availableReplicas",
        "status.availableReplicas",
    ]


@pytest.mark.parametrize(
    ("target", "errors"),
    [
        ({"name": "n"}, []),
        ({"kind": "Node", "name": "n"}, []),
        (
            {"kind": "Pod"},
            [
                'target.kind: Unsupported value: "Pod": supported values: "Node", "<empty>"',
                "target.name: Required value",
            ],
        ),
    ],
)
def test_a_binding_names_a_node(target: dict[str, Any], errors: list[str]) -> None:
    found = BINDINGS.validate(freeze({"metadata": {"name": "p"}, "target": target}), None)
    assert [str(error) for error in found] == errors
