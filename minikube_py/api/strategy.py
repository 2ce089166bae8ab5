"""What a write keeps and what the server decides: the parts that most kinds share.

A kind's main endpoint writes what users want (spec), its status endpoint what was observed. Each
keeps the part of the other as it was, and `metadata.generation` counts the changes of the first.
These are makers of `prepare_for_create`, `prepare_for_update` and a status endpoint's
`prepare_for_update` for a `Resource`, as upstream's strategies in `pkg/registry` do it.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from minikube_py.api.fields import Field, FieldError
from minikube_py.api.object import Obj, evolve
from minikube_py.api.resource import PrepareForCreate, PrepareForUpdate

NOT_NEGATIVE = "must be greater than or equal to 0"


def with_absent(obj: Obj, values: Mapping[str, Any]) -> Obj:
    """Return the object with values for the keys that it lacks."""
    missing = {key: value for key, value in values.items() if obj.get(key) is None}
    return {**obj, **missing} if missing else obj


def with_empty(obj: Obj, values: Mapping[str, Any]) -> Obj:
    """Return the object with values for the keys that it lacks or that are empty in it."""
    missing = {key: value for key, value in values.items() if not obj.get(key)}
    return {**obj, **missing} if missing else obj


def without_empty(obj: Obj, *keys: str) -> Obj:
    """Return the object without those keys whose value is empty, as Go's omitempty prints it."""
    empty = [key for key in keys if key in obj and not obj[key]]
    return {key: value for key, value in obj.items() if key not in empty} if empty else obj


def changed(obj: Obj, key: str, change: Callable[[Any], Any]) -> Obj:
    """Return the object with the value of a key changed, where it is there and does change."""
    value = obj.get(key)
    if value is None or (new := change(value)) is value:
        return obj
    return {**obj, key: new}


def each(items: Sequence[Any], change: Callable[[Any], Any]) -> Sequence[Any]:
    """Return the list with each item changed, or itself where none changes."""
    new = [change(item) for item in items]
    return items if all(a is b for a, b in zip(new, items, strict=True)) else new


def with_generation(obj: Obj, generation: int) -> Obj:
    """Return the object with that metadata.generation."""
    return evolve(obj, "metadata.generation", generation)


def creating(status: Obj | None = None, *, generation: bool = True) -> PrepareForCreate:
    """Make a `prepare_for_create`: the status is the given empty one, the generation is 1.

    Without a status the kind has none; without generation the kind does not count its changes.
    """

    def prepare(obj: Obj) -> Obj:
        if status is not None:
            obj = {**obj, "status": status}
        return with_generation(obj, 1) if generation else obj

    return prepare


def keeping(new: Obj, old: Obj, *keys: str) -> Obj:
    """Return the new object with those top-level fields as they were."""
    kept: dict[str, Any] = dict(new)
    for key in keys:
        if key in old:
            kept[key] = old[key]
        else:
            kept.pop(key, None)
    return kept


def updating(*counted: str, keep: Sequence[str] = ("status",)) -> PrepareForUpdate:
    """Make a `prepare_for_update`: fields in `keep` stay, a change of one in `counted` counts.

    `metadata.annotations` may be counted too (deployments do that).
    """

    def prepare(new: Obj, old: Obj) -> Obj:
        new = keeping(new, old, *keep)
        return counting(new, old, *counted)

    return prepare


def counting(new: Obj, old: Obj, *counted: str) -> Obj:
    """Return the new object, its generation raised where a counted field differs."""
    if all(_at(new, path) == _at(old, path) for path in counted):
        return new
    return with_generation(new, (old["metadata"].get("generation") or 0) + 1)


def _at(obj: Obj, path: str) -> Any:
    """Return what stands there; nothing and empty are the same."""
    value: Any = obj
    for key in path.split("."):
        value = value.get(key) or {}
    return value


def updating_status(*keep: str, metadata: Sequence[str] = ()) -> PrepareForUpdate:
    """Make the `prepare_for_update` of a status endpoint.

    Top-level fields in `keep` stay as they were, and so do the fields of the metadata in
    `metadata`.
    """

    def prepare(new: Obj, old: Obj) -> Obj:
        new = keeping(new, old, *keep)
        if not metadata:
            return new
        return {**new, "metadata": keeping(new["metadata"], old["metadata"], *metadata)}

    return prepare


RESET_METADATA = (
    "deletionTimestamp",
    "generation",
    "labels",
    "annotations",
    "finalizers",
    "ownerReferences",
)
"""What `ResetObjectMetaForStatus` keeps as it was, for kinds that use it."""


def non_negative(obj: Obj, field: Field, *keys: str) -> Iterator[FieldError]:
    """Report those fields of an object that are below zero."""
    for key in keys:
        value = obj.get(key)
        if value is not None and value < 0:
            yield (field / key).invalid(value, NOT_NEGATIVE)


def immutable(new: Any, old: Any, field: Field) -> Iterator[FieldError]:
    """Report a value that changed and may not; nothing and empty are the same."""
    if (new or None) != (old or None):
        yield field.immutable(new)
