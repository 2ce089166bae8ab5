"""Walks over typed values: which fields an object has, and what changed between two.

The rules are structured-merge-diff's. Atomic lists and maps, scalars, nulls and empty containers
are leaves. Elements of a list of type `map` are named by their keys, those of a `set` by their
value. A container that appears or vanishes is itself a field that was added or removed.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Final

import orjson

from minikube_py.api import schema
from minikube_py.api.field_sets import LEAF, MEMBER, FieldSet
from minikube_py.api.object import Obj
from minikube_py.api.schema import Type
from minikube_py.api.schema_complete import complete
from minikube_py.lib import patience

Walk = Callable[[Any], FieldSet]

MEMBERS_AT_ONCE: Final = 512
"""Members of a map between two looks at the clock."""
KEY_KEPT_MAX: Final = 63
"""The longest key whose path element is remembered: a DNS label."""
_CONTAINERS: Final = ("object", "map", "list")
_ABSENT: Final = object()
OPAQUE: Final = Type({}, schema.type_of)
"""The type of what has none: one field, whatever it holds."""
DEDUCED: Final = Type({"x-kubernetes-preserve-unknown-fields": True}, schema.type_of)
"""The type of what no schema describes: a map where the value is one, else one field."""
_PROTOCOL_DEFAULTS: Final = ("ContainerPort", "ServicePort")
"""Types whose `protocol`, a key of its list, is TCP where it is not given."""
_ZEROS: Final[Mapping[str, Any]] = {"string": "", "int32": 0, "int64": 0, "boolean": False}


class MissingKeyError(ValueError):
    """An element of a list lacks one of the keys that name it."""


def is_leaf(kind: Type) -> bool:
    """Tell whether a type is one field, whatever it holds."""
    if kind.kind == "list":
        return kind.list_type not in ("map", "set")
    if kind.kind == "any":
        if kind.preserve_unknown:
            return kind.map_type == "atomic"
        return kind.schema.get("type") != "object" or kind.map_type == "atomic"
    return kind.kind not in _CONTAINERS or kind.map_type == "atomic"


def element(kind: Type, item: Any) -> str:
    """Return the path element of a list's item; raises MissingKeyError."""
    if kind.list_type == "set":
        return f"v:{orjson.dumps(item).decode()}"
    if item.__class__ is not dict and not isinstance(item, Mapping):
        what = "have a null element" if item is None else "have non-map elements"
        raise MissingKeyError(f"associative list with keys may not {what}")
    if len(kind.map_keys) == 1:
        (name,) = kind.map_keys
        key = item[name] if name in item else _key_default(kind, name)
        if key.__class__ is str and len(key) <= KEY_KEPT_MAX:
            return _kept_element(name, key)
        return f'k:{{"{name}":{orjson.dumps(key).decode()}}}'
    keys = {key: item[key] if key in item else _key_default(kind, key) for key in kind.map_keys}
    return f"k:{orjson.dumps(keys, option=orjson.OPT_SORT_KEYS).decode()}"


@lru_cache(4096)
def _kept_element(name: str, key: str) -> str:
    """Return the path element of an item with one key; most names stand in many objects."""
    return f'k:{{"{name}":{orjson.dumps(key).decode()}}}'


def _key_default(kind: Type, key: str) -> Any:
    """Return what a key is where an item does not say it."""
    items = kind.items
    if key == "protocol" and items.name.rpartition(".")[2] in _PROTOCOL_DEFAULTS:
        return "TCP"
    node = items.field(key)
    if node is not None and node.emit == "always" and node.kind in _ZEROS:
        return _ZEROS[node.kind]
    raise MissingKeyError(
        f'associative list with keys has an element that omits key field "{key}" '
        "(and doesn't have default value)"
    )


def indexed(kind: Type, items: Sequence[Any]) -> dict[str, Any]:
    """Return a list's items by their path elements; of equal ones the last."""
    return {element(kind, item): item for item in items}


def child(kind: Type, name: str) -> Type | None:
    """Return the type of a field, None where an object has no such field."""
    if kind.kind == "any":
        return DEDUCED if kind.preserve_unknown else OPAQUE
    node = kind.field(name)
    return DEDUCED if node is None and kind.preserve_unknown else node


def is_one_field(kind: Type, value: Any) -> bool:
    """Tell whether a value is one field: of a leaf's type, or of no type and no map."""
    return is_leaf(kind) or (kind.kind == "any" and not isinstance(value, Mapping))


# --- what appears ---------------------------------------------------------------------------------


def added(kind: Type, value: Any, *, completing: bool = False) -> FieldSet:
    """Return what stands below a field that was not there before.

    With `completing` the value counts as if `complete` had filled in what is always written.
    """
    walk = _walk_of(kind, completing=completing)
    if walk is None:
        return LEAF
    return walk(value) if value else _below_empty(kind, value, completing=completing)


def _below_empty(kind: Type, value: Any, *, completing: bool) -> FieldSet:
    """Return what stands below an object that has no field but what is always written."""
    if not completing or kind.kind != "object" or value is None or not zero(kind):
        return LEAF
    return added(kind, zero(kind))


def _walk_of(kind: Type, *, completing: bool) -> Walk | None:
    """Return the compiled walk of a type, None for a leaf."""
    if is_leaf(kind):
        return None
    walk = kind.adders.get(completing)
    if walk is None:
        make = {"list": _list_walk, "object": _object_walk}.get(kind.kind, _map_walk)
        walk = kind.adders[completing] = make(kind, completing)
    return walk


class _Fields(dict[str, tuple[str, Walk | None, FieldSet]]):
    """Of an object's fields the path element, the walk and what is below an empty one.

    They are made when first asked for.
    """

    def __init__(self, kind: Type, *, completing: bool) -> None:
        super().__init__()
        self._kind = kind
        self._completing = completing

    def __missing__(self, name: str) -> tuple[str, Walk | None, FieldSet]:
        node = child(self._kind, name)
        if node is None:
            return "", None, LEAF
        walk = _walk_of(node, completing=self._completing)
        empty = _below_empty(node, {}, completing=self._completing)
        found = self[name] = (f"f:{name}", walk, empty)
        return found


def _object_walk(kind: Type, completing: bool) -> Walk:  # noqa: FBT001 -- private
    fields = _Fields(kind, completing=completing)
    always: FieldSet | None = None if completing else {}

    def walk(value: Any) -> FieldSet:
        nonlocal always
        out: dict[str, FieldSet] = {MEMBER: LEAF}
        for name, inner in value.items():
            key, below, empty = fields[name]
            if below is None:
                out[key] = LEAF
            elif inner:
                out[key] = below(inner)
            else:
                out[key] = LEAF if inner is None else empty
        if always is None:  # at the first use, so that a type may hold itself
            always = _below_zeros(kind)
        for name in always:
            if name not in value:
                out[f"f:{name}"] = always[name]
        out.pop("", None)  # fields that the type does not have
        return out

    return walk


def _below_zeros(kind: Type) -> FieldSet:
    """Return what stands below each field that is always written, where it is not given."""
    nodes = ((name, child(kind, name), value) for name, value in zero(kind).items())
    return {name: added(node, value) for name, node, value in nodes if node is not None}


def _map_walk(kind: Type, completing: bool) -> Walk:  # noqa: FBT001 -- private
    if kind.kind == "map":
        below = _walk_of(kind.values, completing=completing)
        empty = _below_empty(kind.values, {}, completing=completing)
    else:
        below, empty = (_deduced_walk if kind.preserve_unknown else None), LEAF

    def walk(value: Any) -> FieldSet:
        if not isinstance(value, Mapping):
            return LEAF
        out: dict[str, FieldSet] = {MEMBER: LEAF}
        for name, inner in value.items():
            if below is None:
                out[f"f:{name}"] = LEAF
            else:
                out[f"f:{name}"] = below(inner) if inner else empty if inner is not None else LEAF
            if len(out) % MEMBERS_AT_ONCE == 0:
                patience.check()
        return out

    return walk


def _deduced_walk(value: Any) -> FieldSet:
    return added(DEDUCED, value)


def _list_walk(kind: Type, completing: bool) -> Walk:  # noqa: FBT001 -- private
    def walk(value: Any) -> FieldSet:
        out: dict[str, FieldSet] = {MEMBER: LEAF}
        out.update(_items(kind, value, completing=completing))
        return out

    return walk


def _items(kind: Type, value: Sequence[Any], *, completing: bool) -> dict[str, FieldSet]:
    """Return what stands below a list, by the path elements of its items."""
    items = kind.items
    below = _walk_of(items, completing=completing)
    if below is None:
        return {element(kind, item): LEAF for item in value}
    return {
        element(kind, item): below(item)
        if item
        else _below_empty(items, item, completing=completing)
        for item in value
    }


def created(kind: Type, obj: Obj) -> dict[str, Any]:
    """Return the fields of a new object: all that a complete one has beyond `zero`.

    The object need not be complete. This is what `compare` would tell of the complete one, in one
    pass instead of two.
    """
    return _beyond(kind, zero(kind), obj)


def _beyond(kind: Type, zeros: Obj, value: Obj) -> dict[str, Any]:
    found = Comparison()
    for name, inner in value.items():
        if (node := child(kind, name)) is None:
            continue
        key, before = f"f:{name}", zeros.get(name, _ABSENT)
        if before is _ABSENT:
            found.changed[key] = added(node, inner, completing=True)
        elif not inner or is_leaf(node) or node.kind not in ("object", "list"):
            _compare(node, before, None if inner is None else complete(node, inner), key, found)
        elif node.kind == "list" and not before:
            found.changed[key] = _items(node, inner, completing=True)
        elif below := _beyond(node, before or {}, inner):
            found.changed[key] = below
    return found.changed


# --- what changed ---------------------------------------------------------------------------------


@dataclass
class Comparison:
    """The fields that two values of one type differ in."""

    changed: dict[str, Any] = field(default_factory=dict)
    """Added and modified ones."""
    removed: dict[str, Any] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.changed or self.removed)


def zero(kind: Type) -> Obj:
    """Return what upstream compares a new object with: all that is always written."""
    if kind.zero is None:
        kind.zero = complete(kind, {})
    return kind.zero


def compare(kind: Type, old: Obj, new: Obj) -> Comparison:
    """Return what changed from one object to another of the same type."""
    comparison = Comparison()
    _compare_children(kind, old, new, comparison)
    return comparison


def _compare(kind: Type, old: Any, new: Any, key: str, out: Comparison) -> None:
    """Compare the values of one field that is in both."""
    if old is new or old == new:
        return
    if is_one_field(kind, old) or is_one_field(kind, new) or (not old and not new):
        out.changed[key] = LEAF
        return
    inner = Comparison()
    if kind.kind == "list":
        _compare_items(kind, old or (), new or (), inner)
    else:
        _compare_children(kind, old or {}, new or {}, inner)
    if inner.changed:
        out.changed[key] = inner.changed
    if inner.removed:
        out.removed[key] = inner.removed


def _compare_children(kind: Type, old: Obj, new: Obj, out: Comparison) -> None:
    for count, (name, value) in enumerate(new.items(), 1):
        if count % MEMBERS_AT_ONCE == 0:
            patience.check()
        before = old.get(name, _ABSENT)
        if before is value:
            continue
        node = child(kind, name)
        if node is None:
            continue
        if before is _ABSENT:
            out.changed[f"f:{name}"] = added(node, value)
        else:
            _compare(node, before, value, f"f:{name}", out)
    for name, value in old.items():
        if name not in new and (node := child(kind, name)) is not None:
            out.removed[f"f:{name}"] = added(node, value)


def _compare_items(kind: Type, old: Sequence[Any], new: Sequence[Any], out: Comparison) -> None:
    before, after = indexed(kind, old), indexed(kind, new)
    items = kind.items
    for key, item in after.items():
        if key in before:
            _compare(items, before[key], item, key, out)
        else:
            out.changed[key] = added(items, item)
    for key, item in before.items():
        if key not in after:
            out.removed[key] = added(items, item)


# --- what an applied configuration names ----------------------------------------------------------


def field_set(kind: Type, value: Any) -> FieldSet:
    """Return the fields of a value, containers only where they are empty or items of a list."""
    if is_one_field(kind, value) or not value:
        return LEAF
    if kind.kind == "list":
        out = {}
        for item in value:
            inner = field_set(kind.items, item)
            out[element(kind, item)] = {MEMBER: LEAF, **inner} if inner else LEAF
        return out
    found = {}
    for name, inner in value.items():
        node = child(kind, name)
        if node is not None and not _is_empty_list(node, inner):
            fields = field_set(node, inner)
            # The keys of a map are fields themselves; those of an object lead to them.
            own = fields and (kind.kind != "object" or node.kind == "any")
            found[f"f:{name}"] = {MEMBER: LEAF, **fields} if own else fields
    return found


def _is_empty_list(kind: Type, value: Any) -> bool:
    """Tell whether a value is a list that names no field: empty and not atomic."""
    return kind.kind == "list" and value is not None and not value and not is_leaf(kind)
