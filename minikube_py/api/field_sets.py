"""Sets of fields, in the form in which managed fields store them (`FieldsV1`).

A set is a trie of path elements: `f:name` (a field or a map's key), `k:{...}` (the element of a
list with those keys), `v:...` (an element by its value), `i:n` (by its index). An element that is
in the set itself has the child `.`, or no children at all. Sets are shared, so nobody changes one;
the operations are those of structured-merge-diff's `fieldpath.Set`.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

import orjson

FieldSet = Mapping[str, Any]
MEMBER: Final = "."
LEAF: Final[FieldSet] = {}
"""What stands below an element that has no children."""


def _is_member(node: FieldSet) -> bool:
    return not node or MEMBER in node


def _children(node: FieldSet) -> Iterator[tuple[str, FieldSet]]:
    return ((key, child) for key, child in node.items() if key != MEMBER)


def union(one: FieldSet, other: FieldSet) -> FieldSet:
    """Return the fields that are in either set."""
    if not other or one is other:
        return one
    if not one:
        return other
    out = dict(one)
    for key, node in other.items():
        if key in out:
            out[key] = _union_nodes(out[key], node)
        else:
            out[key] = node
    return out


def _union_nodes(one: FieldSet, other: FieldSet) -> FieldSet:
    """Unite what stands below one element; a node without children is a member."""
    if not one and not other:
        return LEAF
    out = union({key: n for key, n in one.items() if key != MEMBER}, dict(_children(other)))
    return {MEMBER: LEAF, **out} if _is_member(one) or _is_member(other) else out


def difference(one: FieldSet, other: FieldSet) -> FieldSet:
    """Return the fields of one set that are not in the other."""
    if not one or not other:
        return one
    out: dict[str, Any] = {}
    changed = False
    for key, node in one.items():
        taken = other.get(key)
        left = node if taken is None else _difference_nodes(node, taken)
        if left is not None:
            out[key] = left
        changed = changed or left is not node
    return out if changed else one


def _difference_nodes(node: FieldSet, taken: FieldSet) -> FieldSet | None:
    """Return what is left of an element, None where nothing is; the same where all is."""
    if not node:
        return None if _is_member(taken) else node
    out: dict[str, Any] = {}
    if MEMBER in node and not _is_member(taken):
        out[MEMBER] = LEAF
    for key, child in node.items():
        if key == MEMBER:
            continue
        match = taken.get(key)
        left = child if match is None else _difference_nodes(child, match)
        if left is not None:
            out[key] = left
    if len(out) == len(node) and all(out[key] is child for key, child in node.items()):
        return node
    if len(out) == 1 and MEMBER in out:
        return LEAF
    return out or None


def without_all_below(one: FieldSet, other: FieldSet) -> FieldSet:
    """Return the fields that are neither in the other set nor below one of its fields."""
    if not one or not other:
        return one
    out: dict[str, Any] = {}
    for key, node in one.items():
        taken = other.get(key)
        if taken is None:
            out[key] = node
        elif _is_member(taken):
            continue
        elif not node:
            out[key] = LEAF
        elif left := without_all_below(node, taken):
            out[key] = left
    return out


def intersection(one: FieldSet, other: FieldSet) -> FieldSet:
    """Return the fields that are in both sets."""
    out: dict[str, Any] = {}
    for key, node in one.items():
        if key == MEMBER:
            continue
        match = other.get(key)
        if match is None:
            continue
        both = _is_member(node) and _is_member(match)
        children = intersection(node, match)
        if both:
            out[key] = {MEMBER: LEAF, **children} if children else LEAF
        elif children:
            out[key] = children
    return out


def has(fields: FieldSet, element: str) -> bool:
    """Tell whether an element at this level is in the set itself."""
    node = fields.get(element)
    return node is not None and _is_member(node)


def below(fields: FieldSet, element: str) -> FieldSet:
    """Return the part of a set below an element."""
    node = fields.get(element)
    return LEAF if not node else {key: child for key, child in node.items() if key != MEMBER}


def paths(fields: FieldSet, prefix: str = "") -> Iterator[str]:
    """Yield the fields in order, as errors name them: `.spec.ports[port=80].name`."""
    order = sorted(_children(fields), key=lambda pair: _order(pair[0]))
    for key, node in order:
        if _is_member(node):
            yield prefix + element_text(key)
    for key, node in order:
        if node:
            yield from paths(node, prefix + element_text(key))


def _order(element: str) -> tuple[int, Any]:
    kind, value = element[:2], element[2:]
    return ("f:", "k:", "v:", "i:").index(kind), int(value) if kind == "i:" else value


def element_text(element: str) -> str:
    """Return how errors write an element of a path."""
    kind, value = element[:2], element[2:]
    if kind == "f:":
        return f".{value}"
    if kind == "k:":
        keys = orjson.loads(value)
        return f"[{','.join(f'{k}={orjson.dumps(v).decode()}' for k, v in keys.items())}]"
    return f"[={value}]" if kind == "v:" else f"[{value}]"


def of_paths(*listed: tuple[str, ...]) -> FieldSet:
    """Make the set of some fields, each given as the names that lead to it."""
    out: FieldSet = {}
    for path in listed:
        node: FieldSet = LEAF
        for name in reversed(path):
            node = {f"f:{name}": node}
        out = union(out, node)
    return out
