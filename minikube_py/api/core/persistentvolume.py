"""Persistent volumes: storage that outlives pods."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any, Final

from minikube_py.api import printing
from minikube_py.api.core.persistentvolume_validation import validate
from minikube_py.api.core.pod_defaults import (
    default_azure_disk,
    default_host_path,
    default_iscsi,
    default_rbd,
    default_scale_io,
    with_values,
)
from minikube_py.api.core.pod_prepare import with_spec_of, with_status_of
from minikube_py.api.core.pod_warnings import warn_node_selector_term, warn_volume_source
from minikube_py.api.fields import Field
from minikube_py.api.object import Obj, annotations_of, evolve, get, is_deleting, without
from minikube_py.api.resource import AGE, NAME, Age, Column, Resource, Subresource

STORAGE_CLASS: Final = "volume.beta.kubernetes.io/storage-class"
"""The annotation that named the class before there was a field; where it is set, it counts."""
_TRANSITION: Final = "status.lastPhaseTransitionTime"
_SOURCES: Final[Mapping[str, Callable[[Obj], Obj]]] = {
    "hostPath": default_host_path,
    "iscsi": default_iscsi,
    "rbd": default_rbd,
    "azureDisk": default_azure_disk,
    "scaleIO": default_scale_io,
}
_MODES: Final = {
    "ReadWriteOnce": "RWO",
    "ReadOnlyMany": "ROX",
    "ReadWriteMany": "RWX",
    "ReadWriteOncePod": "RWOP",
}


def default(volume: Obj) -> Obj:
    """Fill in what the user left out."""
    spec: Obj = volume.get("spec") or {}
    changes: dict[str, Any] = {
        key: change(spec[key]) for key, change in _SOURCES.items() if spec.get(key) is not None
    }
    if not spec.get("persistentVolumeReclaimPolicy"):
        changes["persistentVolumeReclaimPolicy"] = "Retain"
    if spec.get("volumeMode") is None:
        changes["volumeMode"] = "Filesystem"
    status = volume.get("status") or {}
    if not status.get("phase"):
        status = {**status, "phase": "Pending"}
    return {**volume, "spec": with_values(spec, changes), "status": status}


def prepare_for_create(volume: Obj) -> Obj:
    """Give a new volume its first phase."""
    now = volume["metadata"].get("creationTimestamp")
    return with_transition_time({**volume, "status": {"phase": "Pending"}}, now)


def prepare_status_update(new: Obj, old: Obj) -> Obj:
    """Keep the spec, and the time of the last change of phase where there was none now.

    Where the phase did change and the writer told no new time, none is left: it is now, which
    `with_transition_time` writes.
    """
    new, told = with_spec_of(new, old), get(new, _TRANSITION)
    before = get(old, _TRANSITION)
    if get(new, "status.phase") == get(old, "status.phase"):
        return evolve(new, _TRANSITION, before) if told is None and before else new
    return without(new, _TRANSITION) if told == before else new


def with_transition_time(volume: Obj, now: str) -> Obj:
    """Return the volume with the time of its last change of phase."""
    return volume if get(volume, _TRANSITION) else evolve(volume, _TRANSITION, now)


def warn(volume: Obj, _old: Obj | None) -> Iterator[str]:
    """Yield what is old about a volume."""
    spec = volume.get("spec") or {}
    yield from warn_class_annotation(volume)
    yield from warn_volume_source(spec, Field("spec"))
    if spec.get("persistentVolumeReclaimPolicy") == "Recycle":
        yield (
            "spec.persistentVolumeReclaimPolicy: The Recycle reclaim policy is deprecated. "
            "Instead, the recommended approach is to use dynamic provisioning."
        )
    terms = get(spec, "nodeAffinity.required.nodeSelectorTerms") or ()
    for index, term in enumerate(terms):
        path = Field("spec.nodeAffinity.required.nodeSelectorTerms")[index]
        yield from warn_node_selector_term(term, path)


def warn_class_annotation(obj: Obj) -> Iterator[str]:
    """Tell of a class that is named by the old annotation."""
    if STORAGE_CLASS in annotations_of(obj):
        yield (
            f"metadata.annotations[{STORAGE_CLASS}]: deprecated since v1.8; "
            'use "storageClassName" attribute instead'
        )


def class_of(obj: Obj) -> str:
    """Return the name of the storage class of a volume or claim, or ""."""
    annotation = annotations_of(obj).get(STORAGE_CLASS)
    return str(annotation if annotation is not None else get(obj, "spec.storageClassName", ""))


def short_modes(modes: Collection[str]) -> str:
    """Return access modes as columns show them: `RWO,ROX`."""
    return ",".join(short for mode, short in _MODES.items() if mode in modes)


def phase_of(obj: Obj) -> str:
    """Return the word of the STATUS column of a volume or claim."""
    return "Terminating" if is_deleting(obj) else str(get(obj, "status.phase", ""))


def _or_unset(value: str | None) -> str:
    return printing.UNSET if value is None else value


def cells(volume: Obj) -> Sequence[Any]:
    """Return the row of a volume."""
    metadata, spec = volume["metadata"], volume.get("spec") or {}
    claim = spec.get("claimRef")
    return (
        metadata["name"],
        get(spec, "capacity.storage") or "0",
        short_modes(spec.get("accessModes") or ()),
        spec.get("persistentVolumeReclaimPolicy") or "",
        phase_of(volume),
        f"{claim.get('namespace') or ''}/{claim.get('name') or ''}" if claim else "",
        class_of(volume),
        _or_unset(spec.get("volumeAttributesClassName")),
        get(volume, "status.reason") or "",
        Age(metadata.get("creationTimestamp")),
        _or_unset(spec.get("volumeMode")),
    )


PERSISTENTVOLUMES = Resource(
    returns_deleted_object=True,
    kind="PersistentVolume",
    plural="persistentvolumes",
    namespaced=False,
    short_names=("pv",),
    schema="io.k8s.api.core.v1.PersistentVolume",
    subresources=(
        Subresource(
            name="status",
            shares_object=True,
            prepare_for_update=prepare_status_update,
            validate=lambda _new, _old: (),
        ),
    ),
    columns=(
        NAME,
        Column("Capacity"),
        Column("Access Modes"),
        Column("Reclaim Policy"),
        Column("Status"),
        Column("Claim"),
        Column("StorageClass"),
        Column("VolumeAttributesClass"),
        Column("Reason"),
        AGE,
        Column("VolumeMode", priority=1),
    ),
    cells=cells,
    default=default,
    prepare_for_create=prepare_for_create,
    prepare_for_update=with_status_of,
    validate=validate,
    warn=warn,
    metadata_checks=("create", "create"),
)
