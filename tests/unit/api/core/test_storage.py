"""Persistent volumes and claims of storage."""

from typing import Any

import pytest

from minikube_py.api.core import PERSISTENTVOLUMECLAIMS, PERSISTENTVOLUMES
from minikube_py.api.core.persistentvolume import prepare_status_update, with_transition_time
from minikube_py.api.core.persistentvolume_validation import validate_inline_volume_spec
from minikube_py.api.fields import Field
from minikube_py.api.object import Obj, evolve, without
from minikube_py.api.resource import Age
from tests.frozen import freeze

NOW, LATER = "2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"
METADATA = {"name": "v", "creationTimestamp": NOW}
BETA, STABLE = "failure-domain.beta.kubernetes.io/zone", "topology.kubernetes.io/zone"
CLASS = "volume.beta.kubernetes.io/storage-class"


def volume(**spec: Any) -> Obj:
    whole = {
        "capacity": {"storage": "1Gi"},
        "accessModes": ["ReadWriteOnce"],
        **({} if spec.keys() & {"csi", "local", "iscsi", "nfs"} else {"hostPath": {"path": "/x"}}),
        **spec,
    }
    whole = {key: value for key, value in whole.items() if value is not None}
    return PERSISTENTVOLUMES.default(freeze({"metadata": METADATA, "spec": whole}))


def claim(status: dict[str, Any] | None = None, **spec: Any) -> Obj:
    whole = {
        "accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": "2Gi"}},
        **spec,
    }
    obj = {"metadata": METADATA, "spec": whole, "status": status or {}}
    return PERSISTENTVOLUMECLAIMS.default(freeze(obj))


def affinity(key: str) -> dict[str, Any]:
    requirement = {"key": key, "operator": "In", "values": ["a"]}
    return {"required": {"nodeSelectorTerms": [{"matchExpressions": [requirement]}]}}


def refused(new: Obj, old: Obj | None = None) -> list[str]:
    kind = PERSISTENTVOLUMES if "capacity" in new["spec"] else PERSISTENTVOLUMECLAIMS
    return [str(error) for error in kind.validate(new, old)]


@pytest.mark.parametrize(
    ("source", "added"),
    [
        ({"iscsi": {"targetPortal": "a", "iqn": "b"}}, {"iscsiInterface": "default"}),
        ({"rbd": {"image": "i"}}, {"pool": "rbd", "user": "admin", "keyring": "/etc/ceph/keyring"}),
        ({"hostPath": {"path": "/x"}}, {"type": ""}),
        ({"scaleIO": {"volumeName": "v"}}, {"storageMode": "ThinProvisioned", "fsType": "xfs"}),
    ],
)
def test_sources_are_completed(source: dict[str, Any], added: dict[str, Any]) -> None:
    ((key, value),) = source.items()
    assert volume(**source)["spec"][key] == {**value, **added}


def test_a_new_volume_is_pending_since_its_creation() -> None:
    made = PERSISTENTVOLUMES.prepare_for_create(volume())
    assert made["status"] == {"phase": "Pending", "lastPhaseTransitionTime": NOW}


def test_a_change_of_phase_is_dated() -> None:
    old = PERSISTENTVOLUMES.prepare_for_create(volume())
    same = prepare_status_update(without(old, "status.lastPhaseTransitionTime"), old)
    assert same == old
    bound = prepare_status_update(evolve(old, "status.phase", "Bound"), old)
    assert with_transition_time(bound, LATER)["status"]["lastPhaseTransitionTime"] == LATER
    told = evolve(evolve(old, "status.phase", "Bound"), "status.lastPhaseTransitionTime", LATER)
    assert prepare_status_update(told, old) == told


@pytest.mark.parametrize(
    ("spec", "errors"),
    [
        ({"accessModes": []}, ["spec.accessModes: Required value"]),
        (
            {"capacity": {"storage": "1Gi", "cpu": "1"}},
            ['spec.capacity: Unsupported value: {"cpu":"1","storage":"1Gi"}'],
        ),
        (
            {"capacity": {"storage": "0"}},
            ['spec.capacity[storage]: Invalid value: "0": must be greater than zero'],
        ),
        (
            {"persistentVolumeReclaimPolicy": "Odd"},
            ['spec.persistentVolumeReclaimPolicy: Unsupported value: "Odd"'],
        ),
        ({"hostPath": None}, ["spec: Required value: must specify a volume type"]),
        (
            {"hostPath": {"path": "/x"}, "nfs": {"server": "s", "path": "/p"}},
            ["spec.nfs: Forbidden: may not specify more than 1 volume type"],
        ),
        (
            {"hostPath": {"path": "//"}, "persistentVolumeReclaimPolicy": "Recycle"},
            ["spec.persistentVolumeReclaimPolicy: Forbidden: may not be 'recycle' for a hostPath"],
        ),
        (
            {"local": {"path": "/x"}},
            ["spec.nodeAffinity: Required value: Local volume requires node affinity"],
        ),
        (
            {"nodeAffinity": {}},
            ["spec.nodeAffinity.required: Required value: must specify required node constraints"],
        ),
        ({"storageClassName": "A"}, ['spec.storageClassName: Invalid value: "A"']),
        ({"volumeMode": "Odd"}, ['spec.volumeMode: Unsupported value: "Odd"']),
        (
            {"volumeAttributesClassName": ""},
            [
                "spec.volumeAttributesClassName: Required value: an empty string is disallowed",
                "spec.csi: Required value: has to be specified when using",
            ],
        ),
        (
            {"iscsi": {"targetPortal": "p" * 63, "iqn": "iqn.2001-04.a:b", "initiatorName": "x"}},
            ["spec.iscsi.targetportal: Invalid value", "spec.iscsi.initiatorname: Invalid value"],
        ),
        (
            {"csi": {"driver": "a.b", "nodePublishSecretRef": {"name": "s"}}},
            [
                "spec.csi.volumeHandle: Required value",
                "spec.csi.nodePublishSecretRef.namespace: Required value",
            ],
        ),
    ],
)
def test_a_bad_volume_is_refused(spec: dict[str, Any], errors: list[str]) -> None:
    found = refused(volume(**spec))
    assert len(found) == len(errors)
    for text, wanted in zip(found, errors, strict=True):
        assert text.startswith(wanted)


def test_mount_options_have_no_place_in_every_kind_of_volume() -> None:
    annotations = {"volume.beta.kubernetes.io/mount-options": "ro"}
    metadata = {**METADATA, "annotations": annotations}
    assert refused(freeze({**volume(), "metadata": metadata}))[0].endswith(
        "may not specify mount options for this volume type"
    )
    nfs = volume(nfs={"server": "s", "path": "/p"})
    assert refused(freeze({**nfs, "metadata": metadata})) == []


def test_the_source_of_a_volume_never_changes() -> None:
    (error,) = refused(volume(hostPath={"path": "/y"}), volume())
    assert error.startswith("spec.persistentvolumesource: Forbidden")
    assert '-  "Path": "/x",\n+  "Path": "/y",\n' in error


def test_a_secret_for_growing_may_be_added_once() -> None:
    csi = {"driver": "a.b", "volumeHandle": "h"}
    secret = {"name": "s", "namespace": "n"}
    grown = volume(csi={**csi, "controllerExpandSecretRef": secret})
    assert refused(grown, volume(csi=csi)) == []
    other = volume(csi={**csi, "controllerExpandSecretRef": {**secret, "name": "t"}})
    assert "persistentvolumesource" in refused(other, grown)[0]


def test_nodes_of_a_volume_stay_but_labels_may_become_stable() -> None:
    old = volume(nodeAffinity=affinity(BETA))
    assert refused(volume(nodeAffinity=affinity(STABLE)), old) == []
    (error,) = refused(volume(nodeAffinity=affinity("other")), old)
    assert error.startswith('nodeAffinity: Invalid value: {"Required":{"NodeSelectorTerms":')
    assert refused(old, volume()) == []


def test_a_class_of_attributes_is_not_taken_away() -> None:
    csi = {"driver": "a.b", "volumeHandle": "h"}
    old = volume(csi=csi, volumeAttributesClassName="gold")
    assert refused(volume(csi=csi), old) == [
        "spec.volumeAttributesClassName: Forbidden: update from non-nil value to nil is forbidden"
    ]


def test_a_volume_inside_an_attachment_has_no_life_of_its_own() -> None:
    spec = {
        "accessModes": ["ReadWriteOnce"],
        "capacity": {"storage": "1Gi"},
        "hostPath": {"path": "/x"},
        "persistentVolumeReclaimPolicy": "Delete",
        "nodeAffinity": {},
        "storageClassName": "c",
        "volumeMode": "Block",
    }
    fields = [error.field for error in validate_inline_volume_spec(spec, Field("s"))]
    assert fields == [
        "s.capacity",
        "s.csi",
        "s.persistentVolumeReclaimPolicy",
        "s.nodeAffinity",
        "s.storageClassName",
        "s.volumeMode",
    ]


def test_both_names_of_a_source_say_the_same() -> None:
    other = {"kind": "PersistentVolumeClaim", "name": "other"}
    for key in ("dataSource", "dataSourceRef"):
        spec = PERSISTENTVOLUMECLAIMS.prepare_for_create(claim(**{key: other}))["spec"]
        assert spec["dataSource"] == spec["dataSourceRef"] == other


def test_only_claims_and_snapshots_are_sources_by_the_old_name() -> None:
    odd = {"apiGroup": "a.b", "kind": "Odd", "name": "o"}
    spec = PERSISTENTVOLUMECLAIMS.prepare_for_create(claim(dataSource=odd))["spec"]
    assert "dataSource" not in spec
    away = {**odd, "namespace": "n"}
    spec = PERSISTENTVOLUMECLAIMS.prepare_for_create(claim(dataSourceRef=away))["spec"]
    assert "dataSource" not in spec


def test_a_claim_may_be_bound_once_and_then_only_grow() -> None:
    old = claim()
    assert refused(claim(volumeName="pv"), old) == []
    bound = claim({"phase": "Bound", "capacity": {"storage": "2Gi"}}, volumeName="pv")
    (error,) = refused(claim({"phase": "Bound"}, volumeName="other"), bound)
    assert error.startswith("spec: Forbidden: spec is immutable after creation except")
    assert '- "VolumeName": "pv",\n+ "VolumeName": "other",\n' in error
    more = {"requests": {"storage": "3Gi"}}
    assert refused(claim({"phase": "Bound"}, volumeName="pv", resources=more), bound) == []
    less = {"requests": {"storage": "1Gi"}}
    assert refused(claim({"phase": "Bound"}, volumeName="pv", resources=less), bound) == [
        "spec.resources.requests.storage: Forbidden: field can not be less than status.capacity"
    ]


def test_a_growth_that_failed_may_be_taken_back() -> None:
    status = {"phase": "Bound", "capacity": {"storage": "1Gi"}}
    assert refused(claim(status), claim(status, resources={"requests": {"storage": "9Gi"}})) == []


def test_a_claim_that_is_not_bound_keeps_its_size() -> None:
    (error,) = refused(claim(resources={"requests": {"storage": "3Gi"}}), claim())
    assert error.startswith("spec: Forbidden")


def test_a_class_may_be_named_later_and_leave_the_annotation() -> None:
    assert refused(claim(storageClassName="fast"), claim()) == []
    assert refused(claim(storageClassName="slow"), claim(storageClassName="fast"))
    metadata = {**METADATA, "annotations": {CLASS: "fast"}}
    old = freeze({**claim(), "metadata": metadata})
    assert refused(claim(storageClassName="fast"), old) == []
    assert [text.split(":")[0] for text in refused(claim(storageClassName="slow"), old)] == [
        f"metadata.annotations.{CLASS}",
        "spec",
    ]


@pytest.mark.parametrize(("name", "word"), [(None, "nil"), ("", "empty string")])
def test_attributes_that_were_applied_are_not_taken_away(name: str | None, word: str) -> None:
    status = {"phase": "Bound", "currentVolumeAttributesClassName": "gold"}
    old = claim(status, volumeAttributesClassName="gold")
    new = claim(status) if name is None else claim(status, volumeAttributesClassName=name)
    (error,) = refused(new, old)
    assert f"update to {word} is forbidden" in error


@pytest.mark.parametrize(
    ("status", "error"),
    [
        ({"capacity": {"storage": "-1"}}, "status.capacity[storage]: Invalid value: -1"),
        (
            {"allocatedResourceStatuses": {"storage": "Odd"}},
            'status.allocatedResourceStatuses: Unsupported value: "storage"',
        ),
        (
            {"allocatedResources": {"cpu": "1"}},
            'status.allocatedResources: Unsupported value: "cpu": supported values: "storage"',
        ),
    ],
)
def test_a_bad_status_of_a_claim_is_refused(status: dict[str, Any], error: str) -> None:
    sub = PERSISTENTVOLUMECLAIMS.subresource("status")
    assert sub is not None
    assert sub.validate is not None
    (found,) = sub.validate(claim(status), None)
    assert str(found).startswith(error)


def test_rows_show_what_is_bound_to_what() -> None:
    assert PERSISTENTVOLUMES.cells is not None
    assert PERSISTENTVOLUMECLAIMS.cells is not None
    reference = {"namespace": "n", "name": "c"}
    modes = ["ReadWriteMany", "ReadWriteOnce", "ReadWriteOnce", "ReadWriteOncePod"]
    row = PERSISTENTVOLUMES.cells(volume(claimRef=reference, accessModes=modes))
    assert row == (
        *("v", "1Gi", "RWO,RWX,RWOP", "Retain", "Pending", "n/c", "", "<unset>", ""),
        Age(NOW),
        "Filesystem",
    )
    bound = {"phase": "Bound", "capacity": {"storage": "5Gi"}, "accessModes": ["ReadOnlyMany"]}
    dying = evolve(claim(bound, volumeName="pv"), "metadata.deletionTimestamp", NOW)
    row = PERSISTENTVOLUMECLAIMS.cells(dying)
    assert row == ("v", "Terminating", "pv", "5Gi", "ROX", "", "<unset>", Age(NOW), "Filesystem")
    assert PERSISTENTVOLUMECLAIMS.cells(claim())[1:5] == ("Pending", "", "", "")


def test_a_broken_byte_is_worth_a_word() -> None:
    odd = claim(resources={"requests": {"storage": "100m"}})
    (warning,) = PERSISTENTVOLUMECLAIMS.warn(odd, None)
    assert warning.startswith('spec.resources.requests[storage]: fractional byte value "100m"')
