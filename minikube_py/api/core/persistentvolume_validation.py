"""Checks of persistent volumes, in the order and words of upstream."""

import posixpath
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from minikube_py.api import diff
from minikube_py.api.core import volume_sources as sources
from minikube_py.api.core.claim_validation import (
    VOLUME_MODES,
    validate_access_modes,
    validate_class_name,
)
from minikube_py.api.core.go_values import go_value
from minikube_py.api.core.pod_validation_scheduling import validate_node_selector
from minikube_py.api.core.resources import validate_basic, validate_positive
from minikube_py.api.fields import Field, FieldError
from minikube_py.api.object import Obj, annotations_of, get

_SPEC: Final = Field("spec")
_RECLAIM: Final = frozenset({"Delete", "Recycle", "Retain"})
_MOUNT_OPTIONS: Final = "volume.beta.kubernetes.io/mount-options"
_INLINE: Final = "in the context of inline volumes"
_CLASS: Final = "volumeAttributesClassName"
_GA_LABELS: Final = {
    "failure-domain.beta.kubernetes.io/zone": "topology.kubernetes.io/zone",
    "failure-domain.beta.kubernetes.io/region": "topology.kubernetes.io/region",
    "beta.kubernetes.io/os": "kubernetes.io/os",
    "beta.kubernetes.io/arch": "kubernetes.io/arch",
    "beta.kubernetes.io/instance-type": "node.kubernetes.io/instance-type",
}
_SOURCES: Final[Mapping[str, tuple[str, str, sources.Check]]] = {
    "hostPath": ("hostPath", "hostPath", sources.validate_host_path),
    "gcePersistentDisk": (
        "gcePersistentDisk",
        "persistentDisk",
        sources.partitioned("pdName"),
    ),
    "awsElasticBlockStore": (
        "awsElasticBlockStore",
        "awsElasticBlockStore",
        sources.partitioned("volumeID"),
    ),
    "glusterfs": ("glusterfs", "glusterfs", sources.validate_glusterfs_persistent),
    "flocker": ("flocker", "flocker", sources.validate_flocker),
    "nfs": ("nfs", "nfs", sources.validate_nfs),
    "rbd": ("rbd", "rbd", sources.requires("monitors", "image")),
    "quobyte": ("quobyte", "quobyte", sources.validate_quobyte),
    "cephfs": ("cephFS", "cephfs", sources.requires("monitors")),
    "iscsi": ("iscsi", "iscsi", sources.validate_iscsi_persistent),
    "cinder": ("cinder", "cinder", sources.validate_cinder_persistent),
    "fc": ("fc", "fc", sources.validate_fc),
    "flexVolume": ("", "flexVolume", sources.validate_flex),
    "azureFile": ("azureFile", "azureFile", sources.validate_azure_file_persistent),
    "vsphereVolume": ("vsphereVolume", "vsphereVolume", sources.requires("volumePath")),
    "photonPersistentDisk": (
        "photonPersistentDisk",
        "photonPersistentDisk",
        sources.requires("pdID"),
    ),
    "portworxVolume": ("portworxVolume", "portworxVolume", sources.requires("volumeID")),
    "azureDisk": ("azureDisk", "azureDisk", sources.validate_azure_disk),
    "scaleIO": ("scaleIO", "scaleIO", sources.requires("gateway", "system", "volumeName")),
    "local": ("local", "local", sources.validate_local),
    "storageos": ("storageos", "storageos", sources.validate_storage_os_persistent),
    "csi": ("csi", "csi", sources.validate_csi_persistent),
}
"""By key in JSON: the path of "more than 1", the path of the check (upstream's spelling), the
check. A flexVolume beside others is let stand."""
_WITH_MOUNT_OPTIONS: Final = frozenset(
    {
        "gcePersistentDisk", "awsElasticBlockStore", "glusterfs", "nfs", "rbd", "quobyte", "iscsi",
        "cinder", "cephfs", "azureFile", "vsphereVolume", "azureDisk", "photonPersistentDisk",
    }
)  # fmt: skip


def validate(volume: Obj, old: Obj | None) -> Iterator[FieldError]:
    """Report what is wrong with a new or updated volume."""
    name, spec = volume["metadata"].get("name") or "", volume.get("spec") or {}
    yield from validate_volume_spec(spec, _SPEC, name)
    yield from _validate_mount_options(volume, spec)
    if old is not None:
        yield from validate_volume_spec(spec, _SPEC, name)
        yield from _validate_changes(spec, old.get("spec") or {})


def _validate_mount_options(volume: Obj, spec: Obj) -> Iterator[FieldError]:
    if _MOUNT_OPTIONS in annotations_of(volume) and not _WITH_MOUNT_OPTIONS & spec.keys():
        yield (Field("metadata.annotations") / _MOUNT_OPTIONS).forbidden(
            "may not specify mount options for this volume type"
        )


def validate_volume_spec(spec: Obj, path: Field, name: str) -> Iterator[FieldError]:
    """Report what is wrong with the spec of a volume of that name."""
    yield from _validate_modes(spec.get("accessModes") or (), path / "accessModes")
    yield from _validate_capacity(spec.get("capacity") or {}, path / "capacity")
    policy = spec.get("persistentVolumeReclaimPolicy")
    if policy and policy not in _RECLAIM:
        yield (path / "persistentVolumeReclaimPolicy").unsupported(policy, _RECLAIM)
    yield from _validate_node_affinity(spec, path)
    yield from _validate_sources(spec, path, name)
    if _is_root(spec) and policy == "Recycle":
        yield (path / "persistentVolumeReclaimPolicy").forbidden(
            "may not be 'recycle' for a hostPath mount of '/'"
        )
    yield from validate_class_name(spec.get("storageClassName"), path / "storageClassName")
    mode = spec.get("volumeMode")
    if mode is not None and mode not in VOLUME_MODES:
        yield (path / "volumeMode").unsupported(mode, VOLUME_MODES)
    yield from _validate_attributes(spec, path)


def validate_inline_volume_spec(spec: Obj, path: Field) -> Iterator[FieldError]:
    """Report what is wrong with the spec of a volume inside a VolumeAttachment."""
    for key in ("claimRef", "capacity"):
        if spec.get(key):
            yield (path / key).forbidden(f"may not be specified {_INLINE}")
    if spec.get("csi") is None:
        yield (path / "csi").required(f"has to be specified {_INLINE}")
    yield from _validate_modes(spec.get("accessModes") or (), path / "accessModes")
    policy = spec.get("persistentVolumeReclaimPolicy")
    if policy and policy != "Retain":
        yield (path / "persistentVolumeReclaimPolicy").forbidden(f"may only be Retain {_INLINE}")
    if spec.get("nodeAffinity") is not None:
        yield (path / "nodeAffinity").forbidden(f"may not be specified {_INLINE}")
    yield from _validate_sources(spec, path, "")
    if spec.get("storageClassName"):
        yield (path / "storageClassName").forbidden(f"may not be specified {_INLINE}")
    if spec.get("volumeMode") not in {None, "Filesystem"}:
        yield (path / "volumeMode").forbidden(
            f"may not specify volumeMode other than Filesystem {_INLINE}"
        )
    yield from _validate_attributes(spec, path)


def _validate_modes(modes: Sequence[str], path: Field) -> Iterator[FieldError]:
    if not modes:
        yield path.required()
    yield from validate_access_modes(modes, path)


def _validate_capacity(capacity: Mapping[str, str], path: Field) -> Iterator[FieldError]:
    if not capacity:
        yield path.required()
    if capacity.keys() != {"storage"}:
        yield path.unsupported(dict(sorted(capacity.items())) or None, ("storage",))
    for name, amount in capacity.items():
        yield from validate_basic(amount, path[name])
        yield from validate_positive(amount, path[name])


def _validate_node_affinity(spec: Obj, path: Field) -> Iterator[FieldError]:
    affinity = spec.get("nodeAffinity")
    if affinity is None:
        return
    required, path = affinity.get("required"), path / "nodeAffinity" / "required"
    if required is None:
        yield path.required("must specify required node constraints")
    else:
        yield from validate_node_selector(required, path)


def _validate_sources(spec: Obj, path: Field, name: str) -> Iterator[FieldError]:
    first = True
    for key, (forbidden_as, checked_as, check) in _SOURCES.items():
        if (source := spec.get(key)) is None:
            continue
        if not first and forbidden_as:
            yield (path / forbidden_as).forbidden(sources.ONE_TYPE)
            continue
        if key == "iscsi":
            yield from _validate_portal(source, path / key, name)
        yield from check(source, path / checked_as)
        if key == "local" and spec.get("nodeAffinity") is None:
            yield (path / "nodeAffinity").required("Local volume requires node affinity")
        first = False
    if first:
        yield path.required("must specify a volume type")


def _validate_portal(source: Obj, path: Field, name: str) -> Iterator[FieldError]:
    portal = source.get("targetPortal") or ""
    if source.get("initiatorName") is not None and len(f"{name}:{portal}".encode()) > 64:
        yield (path / "targetportal").invalid(portal, sources.INITIATOR_LENGTH)


def _is_root(spec: Obj) -> bool:
    value = get(spec, "hostPath.path") or ""
    return bool(value) and posixpath.normpath(value).strip("/") == "" and value.startswith("/")


def _validate_attributes(spec: Obj, path: Field) -> Iterator[FieldError]:
    name = spec.get(_CLASS)
    if name is None:
        return
    if not name:
        yield (path / _CLASS).required("an empty string is disallowed")
    yield from validate_class_name(name, path / _CLASS)
    if spec.get("csi") is None:
        yield (path / "csi").required(f"has to be specified when using {_CLASS}")


def _validate_changes(spec: Obj, old: Obj) -> Iterator[FieldError]:
    before, after = _source_of(old), _source_of(_without_new_secret(spec, old))
    if before != after:
        name = "PersistentVolumeSource"
        shown = diff.unified(go_value(before, name), go_value(after, name))
        yield (_SPEC / "persistentvolumesource").forbidden(
            f"spec.persistentvolumesource is immutable after creation\n{shown}"
        )
    if spec.get("volumeMode") != old.get("volumeMode"):
        yield Field("volumeMode").immutable(spec.get("volumeMode"))
    affinity, was = spec.get("nodeAffinity"), old.get("nodeAffinity")
    if was is not None and affinity != was and affinity != _with_stable_labels(was, affinity):
        yield Field("nodeAffinity").invalid(
            go_value(affinity, "VolumeNodeAffinity"),
            "field is immutable, except for updating from beta label to GA",
        )
    if old.get(_CLASS) is not None and spec.get(_CLASS) is None:
        yield (_SPEC / _CLASS).forbidden("update from non-nil value to nil is forbidden")


def _source_of(spec: Obj) -> Obj:
    return {key: spec[key] for key in _SOURCES if spec.get(key) is not None}


def _without_new_secret(spec: Obj, old: Obj) -> Obj:
    """Return the spec without the secret for expansion, which may be added once."""
    key = "controllerExpandSecretRef"
    new, before = spec.get("csi"), old.get("csi")
    if new is None or before is None or before.get(key) is not None or key not in new:
        return spec
    return {**spec, "csi": {name: value for name, value in new.items() if name != key}}


def _with_stable_labels(old: Obj, new: Obj | None) -> Obj:
    """Return the old affinity with those labels renamed to stable ones that the new one renames."""
    terms = get(old, "required.nodeSelectorTerms") or ()
    wanted = get(new, "required.nodeSelectorTerms") or ()
    if len(terms) != len(wanted):
        return old
    renamed = [_renamed_term(term, like) for term, like in zip(terms, wanted, strict=True)]
    return {**old, "required": {**(old.get("required") or {}), "nodeSelectorTerms": renamed}}


def _renamed_term(term: Obj, like: Obj) -> Obj:
    changed = dict(term)
    for key in ("matchExpressions", "matchFields"):
        requirements, wanted = term.get(key) or (), like.get(key) or ()
        if requirements and len(requirements) == len(wanted):
            changed[key] = [
                {**one, "key": new["key"]}
                if _GA_LABELS.get(one.get("key") or "") == new.get("key")
                else one
                for one, new in zip(requirements, wanted, strict=True)
            ]
    return changed
