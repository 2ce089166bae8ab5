"""Values of custom objects against their schema: OpenAPI v3 in the words of kube-openapi.

An error's field is a path from the root; its text names the value once more, relative to where
validation began. A part that an update leaves as it was is not judged again (ratcheting), so that
objects from before a stricter schema can still be changed elsewhere.
"""

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

import orjson

from minikube_py.api.apiextensions.formats import FORMATS
from minikube_py.api.apiextensions.pruning import EMBEDDED
from minikube_py.api.cel.errors import CelEvaluationError
from minikube_py.api.cel.patterns import Pattern, compile_pattern
from minikube_py.api.fields import Field, FieldError
from minikube_py.api.object import Obj

_NOTHING: Final = object()
_LIMITS: Mapping[str, int] = {"int32": 31, "int64": 63}


class _Place(NamedTuple):
    """Where a value stands: `prefix` is what the texts leave out."""

    field: Field
    name: str

    def child(self, key: str) -> "_Place":
        return _Place(self.field / key, f"{self.name}.{key}" if self.name else key)

    def item(self, index: int) -> "_Place":
        return _Place(self.field[index], f"{self.name}[{index}]")

    def invalid(self, value: Any, text: str) -> FieldError:
        return self.field.invalid(value, f"{self.name} in body {text}")


def validate(
    node: Obj, value: Any, field: Field, *, old: Any = _NOTHING, root: bool = False
) -> Iterator[FieldError]:
    """Report where a value does not fit its schema; `old` is what stood there before."""
    place = _Place(field, "")
    yield from _validate(node, value, place, old)
    if root:
        yield from _lists(node, value, field)


def _validate(node: Obj, value: Any, place: _Place, old: Any = _NOTHING) -> Iterator[FieldError]:
    if old is not _NOTHING and old == value and type(old) is type(value):
        return
    if value is None and node.get("nullable"):
        return
    yield from _type(node, value, place)
    yield from _combined(node, value, place)
    match value:
        case str():
            yield from _text(node, value, place)
        case bool() | None:
            pass
        case int() | float():
            yield from _number(node, value, place)
        case list():
            yield from _list(node, value, place, old)
    yield from _enum(node, value, place)
    if isinstance(value, Mapping):
        yield from _object(node, value, place, old)


def _enum(node: Obj, value: Any, place: _Place) -> Iterator[FieldError]:
    if isinstance(enum := node.get("enum"), list) and value not in enum:
        shown = [each if isinstance(each, str) else orjson.dumps(each).decode() for each in enum]
        yield place.field.unsupported(value, shown)


# --- types ----------------------------------------------------------------------------------------

_NAMES: tuple[tuple[type, str], ...] = (
    (bool, "boolean"), (int, "integer"), (float, "number"), (str, "string"), (list, "array"),
    (dict, "object"),
)  # fmt: skip


_EITHER = ("integer", "string")


def _type(node: Obj, value: Any, place: _Place) -> Iterator[FieldError]:
    wanted = _EITHER if node.get("x-kubernetes-int-or-string") else (node.get("type") or "",)
    if wanted == ("",):
        return
    actual = next((name for kind, name in _NAMES if isinstance(value, kind)), "null")
    if isinstance(value, float) and value.is_integer() and "integer" in wanted:
        actual = "integer"
    if actual in wanted or (actual == "integer" and "number" in wanted):
        bits = _LIMITS.get(node.get("format", ""))
        if actual == "integer" and bits and not -(1 << bits) <= value < 1 << bits:
            kind = f"type integer with format {node['format']}"
            text = f"Checked value must be of {kind} in {place.name}"
            yield Field().invalid("", text)
        return
    text = f'must be of type {",".join(map(str, wanted))}: "{actual}"'
    yield place.field.type_invalid(actual, f"{place.name} in body {text}")


# --- combinations ---------------------------------------------------------------------------------


def _combined(node: Obj, value: Any, place: _Place) -> Iterator[FieldError]:
    if any_of := node.get("anyOf"):
        results = _results(any_of, value, place)
        if all(results):
            yield _whole(place, "must validate at least one schema (anyOf)")
            yield from min(results, key=len)
    if one_of := node.get("oneOf"):
        yield from _exactly_one(_results(one_of, value, place), place)
    if (all_of := node.get("allOf")) and any(results := _results(all_of, value, place)):
        yield from itertools.chain.from_iterable(results)
        none = ". None validated" if all(results) else ""
        yield _whole(place, f"must validate all the schemas (allOf){none}")
    if (inverted := node.get("not")) and not list(_validate(inverted, value, place)):
        yield _whole(place, "must not validate the schema (not)")


def _exactly_one(results: list[list[FieldError]], place: _Place) -> Iterator[FieldError]:
    valid = sum(not errors for errors in results)
    if valid == 1:
        return
    found = f"Found {valid} valid alternatives" if valid else "Found none valid"
    yield _whole(place, f"must validate one and only one schema (oneOf). {found}")
    if not valid:
        yield from min(results, key=len)


def _results(nodes: Sequence[Obj], value: Any, place: _Place) -> list[list[FieldError]]:
    return [list(_validate(node, value, place)) for node in nodes]


def _whole(place: _Place, text: str) -> FieldError:
    return Field().invalid("", f'"{place.name}" {text}')


# --- scalars --------------------------------------------------------------------------------------


def compiled(pattern: str) -> Pattern | None:
    """Return a pattern of Go's syntax, bounded in time; None where we have no such pattern."""
    try:
        return compile_pattern(pattern)
    except CelEvaluationError:
        return None


def _text(node: Obj, value: str, place: _Place) -> Iterator[FieldError]:
    length = len(value)
    if (limit := node.get("maxLength")) is not None and length > limit:
        yield place.field.too_long(limit)
    if (limit := node.get("minLength")) is not None and length < limit:
        yield place.invalid(value, f"should be at least {limit} chars long")
    pattern = node.get("pattern")
    if pattern and (found := compiled(pattern)) is not None and not found.matches(value):
        yield place.invalid(value, f"should match '{pattern}'")
    check = FORMATS.get(node.get("format", ""))
    if check is not None and not check(value):
        kind = node["format"]
        yield place.field.type_invalid(
            value, f'{place.name} in body must be of type {kind}: "{value}"'
        )


def _number(node: Obj, value: float, place: _Place) -> Iterator[FieldError]:
    step = node.get("multipleOf")
    if step and value % step:
        yield place.invalid(value, f"should be a multiple of {_go(step)}")
    limit = node.get("maximum")
    if limit is not None:
        exclusive = bool(node.get("exclusiveMaximum"))
        if value > limit or (exclusive and value == limit):
            word = "less than" if exclusive else "less than or equal to"
            yield place.invalid(value, f"should be {word} {_go(limit)}")
    limit = node.get("minimum")
    if limit is not None:
        exclusive = bool(node.get("exclusiveMinimum"))
        if value < limit or (exclusive and value == limit):
            word = "greater than" if exclusive else "greater than or equal to"
            yield place.invalid(value, f"should be {word} {_go(limit)}")


def _go(number: float) -> str:
    """Return a number as Go's `%v` prints it."""
    return str(int(number)) if float(number).is_integer() and abs(number) < 1e21 else f"{number:g}"


# --- containers -----------------------------------------------------------------------------------


def _list(node: Obj, value: list[Any], place: _Place, old: Any) -> Iterator[FieldError]:
    items = node.get("items")
    if isinstance(items, Mapping):
        before = _correlated(node, old)
        for index, item in enumerate(value):
            yield from _validate(items, item, place.item(index), before(index, item))
    count = len(value)
    if (limit := node.get("minItems")) is not None and count < limit:
        yield place.invalid(count, f"should have at least {limit} items")
    if (limit := node.get("maxItems")) is not None and count > limit:
        yield place.field.too_many(count, limit)


def _correlated(node: Obj, old: Any) -> Callable[[int, Any], Any]:
    """Return what finds the old element that a new one follows: by its keys, or by its place."""
    if not isinstance(old, list):
        return lambda _index, _item: _NOTHING
    keys = node.get("x-kubernetes-list-map-keys")
    if node.get("x-kubernetes-list-type") == "map" and keys:
        known = {_key(keys, item): item for item in old if isinstance(item, Mapping)}
        return lambda _index, item: (
            known.get(_key(keys, item), _NOTHING) if isinstance(item, Mapping) else _NOTHING
        )
    return lambda _index, item: item if item in old else _NOTHING


def _key(keys: Sequence[str], item: Obj) -> str:
    return orjson.dumps([item.get(key) for key in keys]).decode()


def _object(node: Obj, value: Obj, place: _Place, old: Any) -> Iterator[FieldError]:
    yield from _count(node, len(value), place)
    properties = node.get("properties") or {}
    others = node.get("additionalProperties")
    before = old if isinstance(old, Mapping) else {}
    for name, inner in value.items():
        child = properties.get(name, others)
        if isinstance(child, Mapping):
            yield from _validate(child, inner, place.child(name), before.get(name, _NOTHING))
    missing = [name for name in node.get("required") or () if name not in value]
    if node.get(EMBEDDED):
        missing += [name for name in ("apiVersion", "kind") if not value.get(name)]
    for name in missing:
        yield (place.field / name).required()


def _count(node: Obj, count: int, place: _Place) -> Iterator[FieldError]:
    if (limit := node.get("maxProperties")) is not None and count > limit:
        yield place.field.too_many(count, limit)
    if (limit := node.get("minProperties")) is not None and count < limit:
        yield place.invalid(count, f"should have at least {limit} properties")


# --- sets and maps --------------------------------------------------------------------------------


def _lists(node: Obj, value: Any, field: Field) -> Iterator[FieldError]:
    """Report elements that stand twice in a list that is a set or a map."""
    if isinstance(value, Mapping):
        properties = node.get("properties") or {}
        others = node.get("additionalProperties")
        for name, inner in value.items():
            child = properties.get(name)
            if child is not None:
                yield from _lists(child, inner, field / name)
            elif isinstance(others, Mapping):
                yield from _lists(others, inner, field[name])
    elif isinstance(value, list):
        yield from _duplicates(node, value, field)
        items = node.get("items")
        if isinstance(items, Mapping):
            for index, item in enumerate(value):
                yield from _lists(items, item, field[index])


def _duplicates(node: Obj, value: list[Any], field: Field) -> Iterator[FieldError]:
    keys: Sequence[str] = ()
    match node.get("x-kubernetes-list-type"):
        case "set":
            pass
        case "map":
            keys = node.get("x-kubernetes-list-map-keys") or ()
        case _:
            return
    seen: set[bytes] = set()
    for index, item in enumerate(value):
        shown = item
        if keys:
            shown = {k: item[k] for k in keys if k in item} if isinstance(item, Mapping) else item
        text = orjson.dumps(shown, option=orjson.OPT_SORT_KEYS)
        if text in seen:
            yield field[index].duplicate(shown)
        seen.add(text)
