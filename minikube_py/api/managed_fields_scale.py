"""Managed fields of the `scale` subresource: the owners of one field of the parent.

A Scale is made for the request; its managed fields are those entries of the parent that own the
number of replicas, said in the terms of a Scale, and what an apply makes of them goes back.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Final

from minikube_py.api.field_sets import FieldSet, difference, intersection, of_paths
from minikube_py.api.managed_fields import Entry, entries_of, with_entries
from minikube_py.api.object import Obj

SCALE_VERSION: Final = "autoscaling/v1"
_REPLICAS: Final = of_paths(("spec", "replicas"))


def to_scale(parent: Iterable[Entry], path: tuple[str, ...]) -> list[Entry]:
    """Return the entries of a Scale; `path` leads to the replicas of the parent."""
    replicas = of_paths(path)
    return [
        replace(entry, fields=_REPLICAS) for entry in parent if intersection(entry.fields, replicas)
    ]


def to_parent(
    parent: Sequence[Entry], scale: Iterable[Entry], path: tuple[str, ...], api_version: str
) -> list[Entry]:
    """Return the parent's entries after a write of its Scale."""
    replicas = of_paths(path)
    left = {entry.identity: entry for entry in scale if entry.fields}
    kept = [_kept(entry, left, replicas) for entry in parent]
    new = [replace(entry, api_version=api_version, fields=replicas) for entry in left.values()]
    return [*(entry for entry in kept if entry.fields), *new]


def _kept(entry: Entry, scale: dict[tuple[str, str, str, str], Entry], replicas: FieldSet) -> Entry:
    """Return an entry of the parent, without the replicas where the Scale took them from it."""
    if not intersection(entry.fields, replicas):
        return entry
    if scale.pop(entry.identity, None) is not None:
        return entry
    return replace(entry, fields=difference(entry.fields, replicas))


def with_scale_owners(scale: Obj, parent: Obj, path: tuple[str, ...]) -> Obj:
    """Return the Scale with the entries of those who own the replicas of its parent."""
    return with_entries(scale, to_scale(entries_of(parent), path))


def with_parent_owners(parent: Obj, scale: Obj, path: tuple[str, ...]) -> Obj:
    """Return the parent with what the managed fields of its Scale make of its own."""
    entries = to_parent(entries_of(parent), entries_of(scale), path, str(parent["apiVersion"]))
    return with_entries(parent, entries)
