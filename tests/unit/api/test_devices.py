"""The kinds of resource.k8s.io: each row is a field and what is said of it."""

from typing import Any

import pytest

from minikube_py.api.object import Obj
from minikube_py.api.resource import Resource
from minikube_py.api.resource_k8s import (
    DEVICECLASSES,
    RESOURCECLAIMS,
    RESOURCECLAIMTEMPLATES,
    RESOURCESLICES,
)
from tests.frozen import freeze

NOW = "2026-01-01T00:00:00Z"
CLAIM = {"devices": {"requests": [{"name": "r", "exactly": {"deviceClassName": "c"}}]}}
SLICE: dict[str, Any] = {
    "driver": "d.example.com",
    "nodeName": "n",
    "pool": {"name": "p", "resourceSliceCount": 1},
}
RESULT = {"request": "r", "driver": "d.example.com", "pool": "p", "device": "one"}
ALLOCATION = {"devices": {"results": [RESULT]}}
REPORT = {"driver": "d.example.com", "pool": "p", "device": "one"}


def made(resource: Resource, spec: Obj, status: Obj | None = None) -> Obj:
    metadata = {"name": "x", "namespace": "n", "creationTimestamp": NOW}
    return freeze(
        resource.default(freeze({"metadata": metadata, "spec": spec, "status": status or {}}))
    )


def fields(errors: Any) -> list[tuple[str, str]]:
    return [(error.field, error.text.partition(":")[0]) for error in errors]


def request(**wanted: Any) -> Obj:
    return {"devices": {"requests": [{"name": "r", "exactly": {"deviceClassName": "c"} | wanted}]}}


AT = "spec.devices.requests[0].exactly"


@pytest.mark.parametrize(
    ("spec", "errors"),
    [
        (CLAIM, []),
        ({"devices": {"requests": [{"name": ""}]}},
         [("spec.devices.requests[0].name", "Invalid value"),
          ("spec.devices.requests[0]", "Required value")]),
        (request(tolerations=[{"key": "k", "operator": "Exists", "value": "v"}]),
         [(f"{AT}.tolerations[0].value", "Invalid value")]),
        (request(tolerations=[{"key": "-", "operator": "In", "effect": "X"}]),
         [(f"{AT}.tolerations[0].key", "Invalid value"),
          (f"{AT}.tolerations[0].operator", "Unsupported value"),
          (f"{AT}.tolerations[0].effect", "Unsupported value")]),
        (request(selectors=[{}, {"cel": {}}]),
         [(f"{AT}.selectors[0].cel", "Required value"),
          (f"{AT}.selectors[1].cel.expression", "Required value")]),
        (request(selectors=[{"cel": {"expression": "true"}}] * 33),
         [(f"{AT}.selectors", "Too many")]),
        ({"devices": {**CLAIM["devices"], "constraints": [{"requests": ["r", "r", "a/b/c"]}]}},
         [("spec.devices.constraints[0].requests[2]", "Invalid value"),
          ("spec.devices.constraints[0].requests[1]", "Duplicate value"),
          ("spec.devices.constraints[0]", "Required value")]),
        ({"devices": {**CLAIM["devices"], "constraints": [{"distinctAttribute": "/x"}]}},
         [("spec.devices.constraints[0].distinctAttribute", "Invalid value")]),
        ({"devices": {**CLAIM["devices"], "config": [{}, {"opaque": {"parameters": []}}]}},
         [("spec.devices.config[0].opaque", "Required value"),
          ("spec.devices.config[1].opaque.driver", "Required value"),
          ("spec.devices.config[1].opaque.parameters", "Invalid value")]),
    ],
)  # fmt: skip
def test_a_claim_asks_for_devices_in_good_form(spec: Obj, errors: list[tuple[str, str]]) -> None:
    assert fields(RESOURCECLAIMS.validate(made(RESOURCECLAIMS, spec), None)) == errors


@pytest.mark.parametrize("labels", [{}, {"resource.kubernetes.io/admin-access": "false"}])
def test_admin_access_needs_a_label_of_the_namespace(labels: dict[str, str]) -> None:
    claim = made(RESOURCECLAIMS, request(adminAccess=True))
    template = made(RESOURCECLAIMTEMPLATES, {"spec": request(adminAccess=True)})
    for resource, obj in ((RESOURCECLAIMS, claim), (RESOURCECLAIMTEMPLATES, template)):
        check = resource.validate_in_namespace
        assert check is not None
        wanted = [("spec.devices.requests[0].adminAccess", "Forbidden")]
        assert fields(check(obj, None, labels)) == wanted
        assert fields(check(obj, None, {"resource.kubernetes.io/admin-access": "true"})) == []
        assert fields(check(obj, obj, labels)) == []  # it never changes


def test_the_metadata_of_a_template_is_labels_and_annotations() -> None:
    spec = {"metadata": {"name": "a", "labels": {"-": ""}}, "spec": CLAIM}
    found = fields(RESOURCECLAIMTEMPLATES.validate(made(RESOURCECLAIMTEMPLATES, spec), None))
    assert found == [("spec.metadata.labels", "Invalid value"), ("spec.metadata.name", "Forbidden")]


@pytest.mark.parametrize(
    ("status", "errors"),
    [
        ({"allocation": ALLOCATION, "reservedFor": [{"resource": "pods", "name": "p", "uid": "u"}]},
         []),
        ({"reservedFor": [{"resource": "pods", "name": "p", "uid": "u"}]},
         [("status.reservedFor", "Forbidden")]),
        ({"allocation": ALLOCATION, "reservedFor": [{}, {}]},
         [(f"status.reservedFor[{index}].{key}", "Required value")
          for index in (0, 1) for key in ("resource", "name", "uid")]
         + [("status.reservedFor[1]", "Duplicate value")]),
        ({"allocation": {"devices": {"results": [{**RESULT, "request": "x", "pool": ""}],
                                     "config": [{"source": "X"}]}}},
         [("status.allocation.devices.results[0].request", "Invalid value"),
          ("status.allocation.devices.results[0].pool", "Required value"),
          ("status.allocation.devices.config[0].source", "Unsupported value"),
          ("status.allocation.devices.config[0].opaque", "Required value")]),
        ({"allocation": ALLOCATION, "devices": [REPORT]}, []),
        ({"devices": [{**REPORT, "data": [1], "networkData": {"ips": ["10.0.0.1", "10.0.0.1/8"]}}]},
         [("status.devices[0]", "Invalid value"), ("status.devices[0].data", "Invalid value"),
          ("status.devices[0].networkData.ips[0]", "Invalid value")]),
        ({"allocation": ALLOCATION, "devices": [REPORT | {"conditions": [{"type": "a"}]}]},
         [("status.devices[0].conditions[0].status", "Unsupported value"),
          ("status.devices[0].conditions[0].lastTransitionTime", "Required value"),
          ("status.devices[0].conditions[0].reason", "Required value")]),
    ],
)  # fmt: skip
def test_a_claims_status_tells_of_devices_that_it_has(
    status: Obj, errors: list[tuple[str, str]]
) -> None:
    (sub,) = RESOURCECLAIMS.subresources
    assert sub.validate is not None
    new, old = made(RESOURCECLAIMS, CLAIM, status), made(RESOURCECLAIMS, CLAIM)
    assert fields(sub.validate(new, old)) == errors


def with_device(**device: Any) -> Obj:
    return {**SLICE, "devices": [{"name": "d", **device}]}


D = "spec.devices[0]"
COUNTERS = [{"name": "s", "counters": {"c": {"value": "1"}}}]


@pytest.mark.parametrize(
    ("spec", "errors"),
    [
        (SLICE, []),
        ({"pool": {}}, [("spec.driver", "Required value"), ("spec.driver", "Invalid value"),
                        ("spec.pool.name", "Required value"),
                        ("spec.pool.resourceSliceCount", "Invalid value"),
                        ("spec", "Required value")]),
        ({**SLICE, "nodeName": "", "allNodes": False},
         [("spec.nodeName", "Invalid value"), ("spec.allNodes", "Invalid value"),
          ("spec", "Required value")]),
        ({**SLICE, "allNodes": True}, [("spec", "Invalid value")]),
        ({**SLICE, "nodeName": None, "nodeSelector": {}},
         [("spec.nodeSelector.nodeSelectorTerms", "Required value"),
          ("spec.nodeSelector.nodeSelectorTerms", "Invalid value")]),
        ({**SLICE, "devices": [{"name": "d"}, {"name": "d"}]},
         [("spec.devices[1]", "Duplicate value")]),
        ({**SLICE, "devices": [{"name": f"d{n}"} for n in range(129)]},
         [("spec.devices", "Too many")]),
        (with_device(attributes={"a": {}, "b/c/d": {"int": 1}}),
         [(f"{D}.attributes[a]", "Invalid value"), (f"{D}.attributes", "Invalid value")]),
        (with_device(attributes={"a": {"string": "x" * 65}, "v": {"version": "1"}}),
         [(f"{D}.attributes[a].string", "Too long"),
          (f"{D}.attributes[v].version", "Invalid value")]),
        (with_device(attributes={f"a{n}": {"int": 1} for n in range(33)}),
         [(D, "Invalid value")]),
        (with_device(capacity={"m": {"value": "1Gi", "requestPolicy": {}}}),
         [(f"{D}.capacity[m].requestPolicy", "Forbidden")]),
        (with_device(allowMultipleAllocations=True, capacity={"m": {"value": "4", "requestPolicy": {
            "default": "9", "validRange": {"min": "5", "max": "6", "step": "2"}}}}),
         [(f"{D}.capacity[m].requestPolicy.validRange.{key}", "Invalid value")
          for key in ("min", "max", "default", "step", "step")]),
        (with_device(allowMultipleAllocations=True, capacity={"m": {"value": "4", "requestPolicy": {
            "default": "3", "validValues": ["2", "1"]}}}),
         [(f"{D}.capacity[m].requestPolicy.validValues[1]", "Invalid value"),
          (f"{D}.capacity[m].requestPolicy.validValues", "Invalid value")]),
        (with_device(taints=[{"key": "k"}, {"key": "k", "effect": "X"}]),
         [(f"{D}.taints[0].effect", "Required value"),
          (f"{D}.taints[1].effect", "Unsupported value")]),
        (with_device(consumesCounters=[{}, {"counterSet": "s", "counters": {"c": {}}}]),
         [(f"{D}.consumesCounters[0].counterSet", "Required value"),
          (f"{D}.consumesCounters[0].counters", "Required value")]),
        (with_device(nodeName="n"), [(D, "Invalid value")]),
        (with_device(bindingConditions=["a"]),
         [(f"{D}.bindingFailureConditions", "Invalid value")]),
        (with_device(bindingConditions=["a"], bindingFailureConditions=["a"]),
         [(f"{D}.bindingFailureConditions[0]", "Invalid value")]),
        ({**SLICE, "sharedCounters": COUNTERS}, []),
        ({**SLICE, "sharedCounters": [{}, *COUNTERS]},
         [("spec.sharedCounters[0].name", "Required value"),
          ("spec.sharedCounters[0].counters", "Required value")]),
        ({**with_device(), "sharedCounters": COUNTERS}, [("spec", "Invalid value")]),
    ],
)  # fmt: skip
def test_a_slice_offers_devices_in_good_form(spec: Obj, errors: list[tuple[str, str]]) -> None:
    assert fields(RESOURCESLICES.validate(made(RESOURCESLICES, spec), None)) == errors


def test_whose_a_slice_is_never_changes() -> None:
    old = made(RESOURCESLICES, SLICE)
    changed = {**SLICE, "driver": "e.example.com", "pool": {**SLICE["pool"], "name": "q"}}
    found = fields(RESOURCESLICES.validate(made(RESOURCESLICES, changed), old))
    assert found == [("spec.pool.name", "Invalid value"), ("spec.driver", "Invalid value")]


def test_a_class_may_stand_for_an_extended_resource() -> None:
    good = made(DEVICECLASSES, {"extendedResourceName": "example.com/gpu"})
    bad = made(DEVICECLASSES, {"extendedResourceName": "gpu"})
    assert fields(DEVICECLASSES.validate(good, None)) == []
    assert fields(DEVICECLASSES.validate(bad, None)) == [
        ("spec.extendedResourceName", "Invalid value")
    ]
