"""What a claim of storage gets where its author said nothing: claims and templates of claims."""

from collections.abc import Mapping
from typing import Any

from minikube_py.api.object import Obj


def default_claim_spec(spec: Obj) -> Obj:
    """Fill in the volume mode; the two ways to name a source are one field in truth."""
    changes: dict[str, Any] = {}
    if spec.get("volumeMode") is None:
        changes["volumeMode"] = "Filesystem"
    if spec.get("resources") is None:
        changes["resources"] = {}
    return {**spec, **changes} if changes else spec


def default_claim_template(template: Obj) -> Obj:
    """Fill in what the user left out of a template of claims."""
    changes: dict[str, Any] = {}
    if "metadata" not in template:
        changes["metadata"] = {}
    spec: Mapping[str, Any] = template.get("spec") or {}
    defaulted = default_claim_spec(spec)
    if defaulted is not spec:
        changes["spec"] = defaulted
    return {**template, **changes} if changes else template


def with_sources(spec: Obj, old: Obj | None = None) -> Obj:
    """Return the spec of a claim with both of its sources saying the same.

    dataSource alone may only name a claim or a snapshot, other sources are dropped; a source in
    another namespace has no place in dataSource.
    """
    source, reference = spec.get("dataSource"), spec.get("dataSourceRef")
    had = old is not None and (old.get("dataSource") or old.get("dataSourceRef"))
    if source is not None and reference is None:
        if not had and not _is_claim_or_snapshot(source):
            return {key: value for key, value in spec.items() if key != "dataSource"}
        return {**spec, "dataSourceRef": _reference(source)}
    if reference is not None and source is None and not reference.get("namespace"):
        return {**spec, "dataSource": _reference(reference)}
    return spec


def _is_claim_or_snapshot(source: Obj) -> bool:
    known = {("PersistentVolumeClaim", ""), ("VolumeSnapshot", "snapshot.storage.k8s.io")}
    return (source.get("kind"), source.get("apiGroup") or "") in known


def _reference(source: Obj) -> Obj:
    return {key: source[key] for key in ("apiGroup", "kind", "name") if key in source}
