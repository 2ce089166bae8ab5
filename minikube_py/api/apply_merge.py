"""Merging and removing by type: the two operations that server-side apply is made of.

What is merged wins, lists of type `map` and `set` are merged by element and keep the order of both
sides; what is removed takes its containers along where they become empty.
"""

from collections.abc import Sequence
from typing import Any

from minikube_py.api.field_sets import LEAF, MEMBER, FieldSet, below, has
from minikube_py.api.field_walks import child, element, indexed, is_one_field
from minikube_py.api.object import Obj
from minikube_py.api.schema import Type


def merge(kind: Type, live: Obj, applied: Obj) -> Obj:
    """Return the live object with the applied one merged into it."""
    out: Obj = _merge(kind, live, applied)
    return out


def _merge(kind: Type, live: Any, applied: Any) -> Any:
    if is_one_field(kind, live) or is_one_field(kind, applied) or not live:
        return applied
    if not applied:  # an empty container states nothing about its fields
        return live
    if kind.kind == "list":
        return _merge_items(kind, live, applied)
    out = dict(live)
    for name, value in applied.items():
        node = child(kind, name)
        out[name] = value if node is None or name not in live else _merge(node, live[name], value)
    return out


def _merge_items(kind: Type, live: Sequence[Any], applied: Sequence[Any]) -> list[Any]:
    """Merge two lists by element.

    Elements of both keep the applied order; elements of one alone stay after what precedes them
    there, live ones first.
    """
    ours, theirs = indexed(kind, live), indexed(kind, applied)
    left, right = list(ours), list(theirs)
    shared = [key for key in right if key in ours]
    out: dict[str, Any] = {}
    while left or right:
        if left and left[0] in theirs and (left[0] in out or (shared and shared[0] != left[0])):
            left.pop(0)  # merged already, or to be merged where the applied list has it
        elif left and left[0] not in theirs:
            key = left.pop(0)
            out[key] = ours[key]
        else:
            key = right.pop(0)
            if left and left[0] == key:
                left.pop(0)
            if shared and shared[0] == key:
                shared.pop(0)
            out[key] = _merge(kind.items, ours[key], theirs[key]) if key in ours else theirs[key]
    return list(out.values())


def remove(kind: Type, value: Obj, fields: FieldSet) -> Obj:
    """Return the object without some fields; containers that become empty are null."""
    out: Obj = _remove(kind, value, fields) or {}
    return out


def _remove(kind: Type, value: Any, fields: FieldSet) -> Any:
    if is_one_field(kind, value) or not value:
        return value
    if kind.kind == "list":
        return _remove_items(kind, value, fields)
    out = {}
    for name, inner in value.items():
        key = f"f:{name}"
        if has(fields, key):
            continue
        node, inside = child(kind, name), below(fields, key)
        out[name] = _remove(node, inner, inside) if node is not None and inside else inner
    return out or None


def _remove_items(kind: Type, value: Sequence[Any], fields: FieldSet) -> list[Any] | None:
    out = []
    for item in value:
        key = element(kind, item)
        if has(fields, key):
            continue
        inside = below(fields, key)
        out.append(_remove(kind.items, item, inside) if inside else item)
    return out or None


def members(kind: Type, fields: FieldSet) -> FieldSet:
    """Return the set with every named field that leads to one of its fields."""
    out: dict[str, Any] = {}
    for key, node in fields.items():
        if key == MEMBER:
            continue
        inner = _type_below(kind, key)
        if not node or inner is None:
            out[key] = node
            continue
        named = key.startswith("f:") and kind.kind == "object"
        inside = dict(members(inner, node))
        out[key] = {MEMBER: LEAF, **inside} if named or MEMBER in node else inside
    return out


def _type_below(kind: Type, key: str) -> Type | None:
    if key.startswith("f:"):
        return child(kind, key[2:])
    return kind.items if kind.kind == "list" else None
