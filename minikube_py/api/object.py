"""Objects are immutable parsed JSON; a change is a copy along the changed path.

An object may be shared by a cache, a controller and a request at the same time, so nobody ever
assigns into one: `evolve` and `without` return a new object that shares all that did not change.
A path is dotted text (`spec.replicas`) or, where a key holds dots, a tuple of keys.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

Obj = Mapping[str, Any]
Path = str | tuple[str, ...]


class Key(NamedTuple):
    """Where an object of a known kind lives; namespace is "" for cluster-scoped kinds."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}" if self.namespace else self.name


def _split(path: Path) -> Sequence[str]:
    return path.split(".") if isinstance(path, str) else path


def get(obj: Any, path: Path, default: Any = None) -> Any:
    """Return what stands at the path, or `default` where any step is absent or null."""
    for key in path.split(".") if isinstance(path, str) else path:
        if not isinstance(obj, dict) and not isinstance(obj, Mapping):  # the former is quick
            return default
        obj = obj.get(key)
        if obj is None:
            return default
    return obj


def evolve(obj: Obj, path: Path, value: Any) -> dict[str, Any]:
    """Return the object with `value` at the path; steps that are absent become maps."""
    return _evolve(obj, _split(path), value)


def _evolve(obj: Any, keys: Sequence[str], value: Any) -> dict[str, Any]:
    copy = dict(obj) if isinstance(obj, Mapping) else {}
    copy[keys[0]] = value if len(keys) == 1 else _evolve(copy.get(keys[0]), keys[1:], value)
    return copy


def without(obj: Obj, path: Path) -> Obj:
    """Return the object without the path; the same object where there was nothing."""
    return _without(obj, _split(path))


def _without(obj: Obj, keys: Sequence[str]) -> Obj:
    if not isinstance(obj, Mapping) or keys[0] not in obj:
        return obj
    copy = dict(obj)
    if len(keys) == 1:
        del copy[keys[0]]
        return copy
    inner = _without(copy[keys[0]], keys[1:])
    if inner is copy[keys[0]]:
        return obj
    copy[keys[0]] = inner
    return copy


def key_of(obj: Obj) -> Key:
    """Return the namespace and name of an object."""
    metadata = obj["metadata"]
    return Key(metadata.get("namespace", ""), metadata["name"])


def labels_of(obj: Obj) -> Mapping[str, str]:
    """Return the labels of an object, empty where it has none."""
    return obj["metadata"].get("labels") or {}


def annotations_of(obj: Obj) -> Mapping[str, str]:
    """Return the annotations of an object, empty where it has none."""
    return obj["metadata"].get("annotations") or {}


def uid_of(obj: Obj) -> str:
    """Return the uid of an object."""
    return str(obj["metadata"].get("uid", ""))


def is_deleting(obj: Obj) -> bool:
    """Tell whether the object waits for its finalizers or its grace period."""
    return obj["metadata"].get("deletionTimestamp") is not None


def owners_of(obj: Obj) -> Sequence[Obj]:
    """Return the ownerReferences of an object."""
    return obj["metadata"].get("ownerReferences") or ()


def controller_of(obj: Obj) -> Obj | None:
    """Return the ownerReference whose `controller` is true, or None."""
    return next((owner for owner in owners_of(obj) if owner.get("controller")), None)


def owner_reference(owner: Obj) -> dict[str, Any]:
    """Return the reference that a controller puts on what it creates for `owner`."""
    return {
        "apiVersion": owner["apiVersion"],
        "kind": owner["kind"],
        "name": owner["metadata"]["name"],
        "uid": owner["metadata"]["uid"],
        "controller": True,
        "blockOwnerDeletion": True,
    }


def condition_of(obj: Obj, kind: str) -> Obj | None:
    """Return the entry of status.conditions with that type, or None."""
    conditions: Sequence[Obj] = get(obj, "status.conditions") or ()
    return next((condition for condition in conditions if condition.get("type") == kind), None)


def has_condition(obj: Obj, kind: str, status: str = "True") -> bool:
    """Tell whether the condition of that type has the status."""
    condition = condition_of(obj, kind)
    return condition is not None and condition.get("status") == status


def walk(value: Any) -> Iterator[Any]:
    """Yield every map, list and scalar of a JSON value, outside in."""
    yield value
    if isinstance(value, Mapping):
        for inner in value.values():
            yield from walk(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from walk(inner)
