"""Who keeps claims, volumes and classes from going."""

from typing import Any

import pytest

from minikube_py.api.core import PERSISTENTVOLUMECLAIMS
from minikube_py.client.actions import Update
from minikube_py.server.controllers.storage_protection import claims_of, classes_of, plan
from tests.frozen import freeze

OWN = "kubernetes.io/pvc-protection"


def claim(*finalizers: str, deleting: bool = False) -> Any:
    metadata: dict[str, Any] = {"name": "c", "namespace": "n", "finalizers": list(finalizers)}
    if deleting:
        metadata["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    return freeze({"metadata": metadata})


@pytest.mark.parametrize(
    ("found", "used", "finalizers"),
    [
        (claim(), False, [OWN]),
        (claim("other"), True, ["other", OWN]),
        (claim(OWN), False, None),
        (claim("other", OWN, deleting=True), False, ["other"]),
        (claim(OWN, deleting=True), True, None),
        (claim("other", deleting=True), False, None),
    ],
)
def test_a_claim_has_its_finalizer_while_it_is_wanted_or_used(
    found: Any, *, used: bool, finalizers: list[str] | None
) -> None:
    actions = list(plan(PERSISTENTVOLUMECLAIMS, found, used=used))
    if finalizers is None:
        assert actions == []
    else:
        [action] = actions
        assert isinstance(action, Update)
        assert action.obj["metadata"]["finalizers"] == finalizers


def test_a_pod_uses_claims_once_it_has_a_node() -> None:
    volumes = [
        {"name": "a", "persistentVolumeClaim": {"claimName": "c"}},
        {"name": "b", "ephemeral": {}},
        {"name": "d", "emptyDir": {}},
    ]
    pod = {"metadata": {"name": "p"}, "spec": {"volumes": volumes}}
    assert claims_of(pod) == set()
    assert claims_of({**pod, "spec": {**pod["spec"], "nodeName": "n"}}) == {"c", "p-b"}


def test_a_claim_uses_the_class_that_it_leaves_and_the_one_that_it_gets() -> None:
    status = {
        "currentVolumeAttributesClassName": "old",
        "modifyVolumeStatus": {"targetVolumeAttributesClassName": "new"},
    }
    assert {"old", "new"} <= classes_of({"spec": {}, "status": status})
    assert "gold" in classes_of({"spec": {"volumeAttributesClassName": "gold"}})
