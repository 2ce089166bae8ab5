"""What a definition's schema must be: structural, so that pruning and defaulting know every field.

The rules and words are those of apiextensions-apiserver's `schema/validation.go` and
`apis/apiextensions/validation`. Expression rules (x-kubernetes-validations) are `rules`.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from minikube_py.api.apiextensions import rules, values
from minikube_py.api.apiextensions.pruning import EMBEDDED, PRESERVE
from minikube_py.api.fields import Field, FieldError
from minikube_py.api.object import Obj

_TYPES = ("array", "boolean", "integer", "number", "object", "string")
_LIST_TYPES = ("atomic", "map", "set")
_MAP_TYPES = ("atomic", "granular")
_EITHER = "x-kubernetes-int-or-string"
_STRUCTURE = ("additionalProperties", "nullable", "default", EMBEDDED, PRESERVE)
"""What only the structure may say, not the alternatives inside allOf, anyOf, oneOf and not."""


def validate(root: Obj, field: Field) -> Iterator[FieldError]:
    """Report where a schema is not structural."""
    kind = root.get("type") or ""
    if not kind:
        yield (field / "type").required("must not be empty at the root")
    elif kind != "object":
        yield (field / "type").invalid(kind, "must be object at the root")
    yield from _node(root, field, "")
    yield from rules.validate_schema(root, field)


def _node(node: Obj, field: Field, where: str) -> Iterator[FieldError]:
    yield from _type(node, field, where)
    yield from _unsupported(node, field)
    yield from _lists(node, field)
    yield from _junctors(node, field)
    if "default" in node and node["default"] is not None:
        yield from values.validate(node, node["default"], field / "default")
    for name, inner in (node.get("properties") or {}).items():
        below = (field / "properties")[name]
        yield from _node(inner, below, "specified object fields")
    items = node.get("items")
    if isinstance(items, Mapping):
        yield from _node(items, field / "items", "specified array items")
    others = node.get("additionalProperties")
    if isinstance(others, Mapping):
        below = field / "additionalProperties"
        yield from _node(others, below, "specified object fields")


def _type(node: Obj, field: Field, where: str) -> Iterator[FieldError]:
    kind = node.get("type") or ""
    if kind and kind not in _TYPES:
        yield (field / "type").unsupported(kind, list(_TYPES))
    if node.get(EMBEDDED):
        text = f"must be object if {EMBEDDED} is true"
        if not kind:
            yield (field / "type").required(text)
        elif kind != "object":
            yield (field / "type").invalid(kind, text)
        if not node.get("properties") and not node.get(PRESERVE):
            why = f"must not be empty if {EMBEDDED} is true without {PRESERVE}"
            yield (field / "properties").required(why)
    elif not kind and where and not node.get(_EITHER) and not node.get(PRESERVE):
        yield (field / "type").required(f"must not be empty for {where}")
    if kind and node.get(_EITHER):
        yield (field / "type").invalid(kind, f"must be empty if {_EITHER} is true")


def _unsupported(node: Obj, field: Field) -> Iterator[FieldError]:
    if node.get("$ref"):
        yield (field / "$ref").forbidden("$ref is not supported")
    if node.get("uniqueItems"):
        yield (field / "uniqueItems").forbidden(
            "uniqueItems cannot be set to true since the runtime complexity becomes quadratic"
        )
    others = node.get("additionalProperties")
    if others is False:
        yield (field / "additionalProperties").forbidden(
            "additionalProperties cannot be set to false"
        )
    if others and node.get("properties"):
        yield (field / "additionalProperties").forbidden(
            "additionalProperties and properties are mutual exclusive"
        )
    pattern = node.get("pattern")
    if pattern:
        yield from _pattern(pattern, field / "pattern")
    if node.get("type") == "array" and not isinstance(node.get("items"), Mapping):
        yield (field / "items").required("must be specified")
    if node.get(PRESERVE) is False:
        yield (field / PRESERVE).invalid(value=False, detail="must be true or undefined")


def _pattern(pattern: str, field: Field) -> Iterator[FieldError]:
    """Report a pattern that is surely none; what only Go can read is left to Go's users."""
    try:
        re.compile(pattern)
    except re.error as error:
        if "(?" not in pattern and "\\p" not in pattern and "\\z" not in pattern:
            yield field.invalid(
                pattern, f"must be a valid regular expression, but isn't: error parsing: {error}"
            )


def _lists(node: Obj, field: Field) -> Iterator[FieldError]:
    kind = node.get("x-kubernetes-list-type")
    keys = node.get("x-kubernetes-list-map-keys")
    if kind is not None:
        where = field / "x-kubernetes-list-type"
        if node.get("type") != "array":
            what = "must be array if x-kubernetes-list-type is specified"
            yield (field / "type").invalid(node.get("type") or "", what)
        if kind not in _LIST_TYPES:
            yield where.unsupported(kind, list(_LIST_TYPES))
    if keys and kind != "map":
        why = "must be map if x-kubernetes-list-map-keys is non-empty"
        yield (field / "x-kubernetes-list-type").invalid(kind or "", why)
    if kind == "map":
        yield from _keys(node, keys or (), field)
    map_kind = node.get("x-kubernetes-map-type")
    if map_kind is not None and map_kind not in _MAP_TYPES:
        yield (field / "x-kubernetes-map-type").unsupported(map_kind, list(_MAP_TYPES))


def _keys(node: Obj, keys: Any, field: Field) -> Iterator[FieldError]:
    where = field / "x-kubernetes-list-map-keys"
    if not keys:
        yield where.required("must not be empty if x-kubernetes-list-type is map")
    items = node.get("items")
    if not isinstance(items, Mapping):
        return
    required = items.get("required") or ()
    for index, key in enumerate(keys):
        inner = (items.get("properties") or {}).get(key)
        if inner is None:
            yield where[index].invalid(key, "entries must all be names of item properties")
        elif key not in required and "default" not in inner:
            yield ((field / "items" / "properties")[key] / "default").required(
                "this property is in x-kubernetes-list-map-keys, so it must have a default or be "
                "a required property"
            )


def _junctors(node: Obj, field: Field) -> Iterator[FieldError]:
    """Report alternatives that say what only the structure may say."""
    for name in ("allOf", "anyOf", "oneOf"):
        for index, inner in enumerate(node.get(name) or ()):
            yield from _alternative(node, inner, (field / name)[index])
    if isinstance(inverted := node.get("not"), Mapping):
        yield from _alternative(node, inverted, field / "not")


def _alternative(node: Obj, inner: Obj, field: Field) -> Iterator[FieldError]:
    for name in _STRUCTURE:
        if inner.get(name):
            what = "undefined" if name in ("default", "additionalProperties") else "false"
            yield (field / name).forbidden(f"must be {what} to be structural")
    if inner.get("type") and not node.get(_EITHER):
        yield (field / "type").forbidden("must be empty to be structural")
    for name in inner.get("properties") or {}:
        if name not in (node.get("properties") or {}) and not node.get("additionalProperties"):
            yield (field / "properties")[name].required(
                "because it is defined in an alternative, so that it must be defined outside too"
            )


def warnings(crd: Obj) -> Iterator[str]:
    """Yield what of a definition is stored and without effect here."""
    spec = crd["spec"]
    if (spec.get("conversion") or {}).get("strategy") == "Webhook" and len(spec["versions"]) > 1:
        yield "spec.conversion: no webhooks are called; only the storage version is served"
