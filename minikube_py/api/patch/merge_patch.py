"""JSON merge patch (RFC 7386): a map merges into a map, null removes, all else replaces."""

from collections.abc import Mapping
from typing import Any

from minikube_py.api.object import Obj
from minikube_py.api.patch.errors import MalformedPatchError, go_type


def apply(obj: Obj, patch: Any) -> dict[str, Any]:
    """Return the object with the patch merged in.

    Raises:
        MalformedPatchError: the patch is not a map.

    """
    if patch is None:
        raise MalformedPatchError("Invalid JSON Patch")
    if not isinstance(patch, Mapping):
        raise MalformedPatchError(
            f"error decoding patch: json: cannot unmarshal {go_type(patch)} into Go value of type "
            "map[string]interface {}"
        )
    try:
        return _merge(obj, patch)
    except RecursionError as error:
        raise MalformedPatchError("error decoding patch: exceeded max depth") from error


def _merge(target: Any, patch: Obj) -> dict[str, Any]:
    merged: dict[str, Any] = dict(target) if isinstance(target, Mapping) else {}
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        elif isinstance(value, Mapping):
            merged[key] = _merge(merged.get(key), value)
        else:
            merged[key] = value
    return merged


def diff(old: Obj, new: Obj) -> dict[str, Any]:
    """Return the merge patch that turns `old` into `new`, which holds no null in a map."""
    patch: dict[str, Any] = dict.fromkeys(key for key in old if key not in new)
    for key, value in new.items():
        before = old.get(key)
        if isinstance(value, Mapping) and isinstance(before, Mapping):
            if inner := diff(before, value):
                patch[key] = inner
        elif key not in old or not same(before, value):
            patch[key] = value
    return patch


def same(left: Any, right: Any) -> bool:
    """Tell whether two JSON values are equal; unlike in Python, 1 is neither true nor 1.0."""
    if isinstance(left, Mapping) and isinstance(right, Mapping):
        return left.keys() == right.keys() and all(same(left[key], right[key]) for key in left)
    if isinstance(left, list | tuple) and isinstance(right, list | tuple):
        return len(left) == len(right) and all(map(same, left, right))
    return type(left) is type(right) and bool(left == right)
