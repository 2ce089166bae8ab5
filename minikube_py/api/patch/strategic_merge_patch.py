"""Strategic merge patch: a merge patch that knows which lists are sets and which are maps.

Behaves as apimachinery's `util/strategicpatch` of v1.36. The schema says of a field how it is
patched (`merge`, `replace`, `retainKeys`) and by which key the elements of a list are known. The
patch may hold directives beside fields:

    $patch: replace | delete          in a map: put the patch in its place, or empty it
                                      in a list's element: replace the list, delete the element
    $retainKeys: [...]                in a map: first drop every key that is not named
    $deleteFromPrimitiveList/<field>  values to take out of a list
    $setElementOrder/<field>          the order of a list, as values or as maps with the merge key

What a list is merged from stands in three orders; the order given by the patch wins over that of
the object, and what only the object has stays, as well as it can, where it was.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from minikube_py.api.object import Obj
from minikube_py.api.patch import lists
from minikube_py.api.patch.directives import (
    DELETE_FROM_LIST,
    DIRECTIVE,
    ELEMENT_ORDER,
    RETAIN_KEYS,
    Node,
    bad_directive,
    without_directives,
    without_nulls,
)
from minikube_py.api.patch.errors import MalformedPatchError, UnusablePatchError, go_type
from minikube_py.api.patch.go_text import go_name


def apply(obj: Obj, patch: Any, schema: Node) -> dict[str, Any]:
    """Return the object with the patch merged in as its schema says.

    Raises:
        MalformedPatchError: the patch is not a map, or a directive is not of its form.
        InapplicablePatchError: it merges lists of lists.
        UnusablePatchError: directives contradict each other or the object.

    """
    if patch is None:
        return dict(obj)
    if not isinstance(patch, Mapping):
        raise MalformedPatchError(
            f"json: cannot unmarshal {go_type(patch)} into Go value of type "
            "map[string]interface {}"
        )
    try:
        return merge_map(obj, patch, schema)
    except RecursionError as error:
        raise MalformedPatchError("exceeded max depth") from error


def merge_map(obj: Obj, patch: Obj, schema: Node) -> dict[str, Any]:
    """Return the map with a patch map merged in."""
    if DIRECTIVE in patch:
        return _directed(patch)
    retained = _retained(obj, patch)
    rest = {key: value for key, value in patch.items() if key != RETAIN_KEYS}
    merged, rest = _ordered(retained, rest, schema)
    for key, value in rest.items():
        if key.startswith(DELETE_FROM_LIST):
            _delete_from_list(merged, _field_of(key, DELETE_FROM_LIST), value, schema)
        elif value is None:
            merged.pop(key, None)
        else:
            _merge_field(merged, key, value, schema)
    return merged


def _directed(patch: Obj) -> dict[str, Any]:
    """Return what becomes of a map whose patch has `$patch`."""
    directive = patch[DIRECTIVE]
    if directive == "replace":
        return {key: value for key, value in patch.items() if key != DIRECTIVE}
    if directive == "delete":
        return {}
    raise bad_directive(directive, patch)


def _retained(obj: Obj, patch: Obj) -> dict[str, Any]:
    """Return the part of the map that `$retainKeys` keeps."""
    if RETAIN_KEYS not in patch:
        return dict(obj)
    keys = patch[RETAIN_KEYS]
    if not isinstance(keys, list | tuple):
        raise MalformedPatchError("invalid patch format of retainKeys")
    for key, value in patch.items():
        directive = key == RETAIN_KEYS or key.startswith((DELETE_FROM_LIST, ELEMENT_ORDER))
        if value is not None and not directive and key not in keys:
            raise MalformedPatchError("invalid patch format of retainKeys")
    return {key: value for key, value in obj.items() if key in keys}


def _ordered(
    obj: dict[str, Any], patch: dict[str, Any], schema: Node
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Merge the lists that `$setElementOrder` names; return the map and what is left to merge."""
    for directive in [key for key in patch if key.startswith(ELEMENT_ORDER)]:
        order = _list(patch.pop(directive))
        name = _field_of(directive, ELEMENT_ORDER)
        node = _node(schema, name)
        old = _list(obj[name]) if name in obj else None
        new = _list(patch.pop(name)) if name in patch else None
        lists.check_order(new or (), order, node.merge_key)
        if old is None and new is None:
            continue
        merged = _merge_list(old, new, node)
        obj[name] = lists.in_order(merged, order, old or (), node.merge_key)
    return obj, patch


def _merge_list(old: Sequence[Any] | None, new: Sequence[Any] | None, node: Node) -> Sequence[Any]:
    if new is None:
        return old or ()
    if old is None:
        return list(without_directives(new))
    if _strategy(node) == "merge":
        return lists.merge(old, new, node, merge_map)
    return new


def _merge_field(merged: dict[str, Any], key: str, value: Any, schema: Node) -> None:
    old: Any = merged.get(key)
    if go_name(old) != go_name(value) or not isinstance(value, Mapping | list | tuple):
        kept = without_directives(without_nulls(value))
        if kept is None:
            merged.pop(key, None)
        else:
            merged[key] = kept
        return
    node = _node(schema, key)
    if not isinstance(value, Mapping):
        merged[key] = _merge_list(old, value, node)
    elif _strategy(node) == "replace":
        merged[key] = value
    else:
        merged[key] = merge_map(old, value, node)


def _delete_from_list(merged: dict[str, Any], key: str, values: Any, schema: Node) -> None:
    old = merged.get(key)
    if values is None:
        merged.pop(key, None)
    elif isinstance(old, list | tuple) and isinstance(values, list | tuple):
        node = _node(schema, key)
        if _strategy(node) != "merge":
            merged[key] = values  # upstream's behaviour, for want of a better meaning
        elif lists.holds_maps(old, values):
            merged[key] = lists.merge(old, values, node, merge_map)
        else:
            merged[key] = lists.delete_from(old, values)


def _strategy(node: Node) -> str:
    """Return how a field is merged; `retainKeys` only makes clients send `$retainKeys`."""
    return next((s for s in node.patch_strategy.split(",") if s != "retainKeys"), "")


def _node(schema: Node, name: str) -> Node:
    node = schema.field(name)
    if node is None:
        struct = schema.go.rpartition(".")[2]
        raise UnusablePatchError(
            f'unable to find api field in struct {struct} for the json field "{name}"'
        )
    return node


def _field_of(directive: str, prefix: str) -> str:
    head, slash, name = directive.partition("/")
    if head != prefix or not slash:
        what = "primitive list" if prefix == DELETE_FROM_LIST else "setElementOrder list"
        raise MalformedPatchError(f"invalid patch format of {what}")
    return name


def _list(value: Any) -> Sequence[Any]:
    if not isinstance(value, list | tuple):
        raise UnusablePatchError(f"expected a []interface {{}}, but received a {go_name(value)}")
    return value
