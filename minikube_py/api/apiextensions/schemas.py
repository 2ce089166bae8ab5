"""What a definition's schema may say: the parts of OpenAPI v3 that there are, and the extensions.

These are the rules of upstream's `ValidateCustomResourceDefinitionOpenAPISchema`, which look at
every schema wherever it stands; whether the whole is structural is `structural`'s concern.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from minikube_py.api.apiextensions.pruning import EMBEDDED, PRESERVE
from minikube_py.api.fields import Field, FieldError
from minikube_py.api.object import Obj

TYPES: Final = ("array", "boolean", "integer", "number", "object", "string")
LIST_TYPE: Final = "x-kubernetes-list-type"
LIST_KEYS: Final = "x-kubernetes-list-map-keys"
MAP_TYPE: Final = "x-kubernetes-map-type"
_LIST_TYPES: Final = ("atomic", "set", "map")
_MAP_TYPES: Final = ("atomic", "granular")
_NOT_SUPPORTED: Final = (
    "id",
    "additionalItems",
    "patternProperties",
    "definitions",
    "dependencies",
    "$ref",
)
_BEYOND: Final = (*_NOT_SUPPORTED, "uniqueItems")
"""What no structure can be made of; of such a schema upstream tells nothing but that."""
_SLOW: Final = "uniqueItems cannot be set to true since the runtime complexity becomes quadratic"
_NO_DEFAULT: Final = (
    "this property is in x-kubernetes-list-map-keys, so it must have a default or be a required "
    "property"
)


def children(node: Obj, field: Field) -> Iterator[tuple[Obj, Field]]:
    """Yield the schemas of a schema's structure with their places."""
    for name, inner in (node.get("properties") or {}).items():
        yield inner, (field / "properties")[name]
    for name in ("items", "additionalProperties"):
        if isinstance(node.get(name), Mapping):
            yield node[name], field / name


def _everywhere(node: Obj, field: Field) -> Iterator[tuple[Obj, Field]]:
    """Yield the schemas directly below a schema, those of alternatives too."""
    yield from children(node, field)
    if isinstance(node.get("not"), Mapping):
        yield node["not"], field / "not"
    for name in ("allOf", "oneOf", "anyOf"):
        for index, inner in enumerate(node.get(name) or ()):
            yield inner, (field / name)[index]


def is_beyond_structure(node: Obj) -> bool:
    """Tell whether no structure can be made of a schema."""
    if any(node.get(key) for key in _BEYOND) or isinstance(node.get("items"), list | tuple):
        return True
    if node.get("type") == "null":
        return True
    return any(is_beyond_structure(inner) for inner, _ in _everywhere(node, Field()))


def validate(
    node: Obj, field: Field, *, is_root: bool = False, no_default: str = ""
) -> Iterator[FieldError]:
    """Report what a schema may not say; `no_default` tells why there may be no defaults."""
    yield from _supported(node, field, no_default)
    if node.get("uniqueItems"):
        yield (field / "uniqueItems").forbidden(_SLOW)
    others = node.get("additionalProperties")
    if others is not None and node.get("properties") and others is not True:
        yield (field / "additionalProperties").forbidden(
            "additionalProperties and properties are mutual exclusive"
        )
    if node.get("pattern"):
        yield from _pattern(node["pattern"], field / "pattern")
    whole = is_root or bool(node.get(EMBEDDED))
    for name, inner in (node.get("properties") or {}).items():
        top = whole and name in {"metadata", "apiVersion", "kind"}
        why = f"in top-level {name}" if top else no_default
        yield from validate(inner, (field / "properties")[name], no_default=why)
    for inner, below in _everywhere({**node, "properties": None}, field):
        yield from validate(inner, below, no_default=no_default)
    yield from _extensions(node, field)
    yield from _lists(node, field)


def _supported(node: Obj, field: Field, no_default: str) -> Iterator[FieldError]:
    kind = node.get("type") or ""
    if kind and kind not in TYPES:
        yield (field / "type").unsupported(kind, TYPES)
    if node.get("default") is not None and no_default:
        yield (field / "default").forbidden(f"must not be set {no_default}")
    for key in _NOT_SUPPORTED:
        if node.get(key):
            yield (field / key).forbidden(f"{key} is not supported")
    if kind == "null":
        yield (field / "type").forbidden(
            "type cannot be set to null, use nullable as an alternative"
        )
    if isinstance(node.get("items"), list | tuple):
        yield (field / "items").forbidden("items must be a schema object and not an array")


def _pattern(pattern: str, field: Field) -> Iterator[FieldError]:
    """Report a pattern that is surely none; what only Go can read is left to Go's users."""
    try:
        re.compile(pattern)
    except re.error as error:
        if "(?" in pattern or "\\p" in pattern or "\\z" in pattern:
            return
        yield field.invalid(
            pattern, f"must be a valid regular expression, but isn't: {_in_go(pattern, error)}"
        )


_FAULTS: Final[tuple[tuple[str, str], ...]] = (
    ("unterminated character set", "missing closing ]: `{rest}`"),
    ("missing )", "missing closing ): `{pattern}`"),
    ("unbalanced parenthesis", "unexpected ): `{pattern}`"),
    ("nothing to repeat", "missing argument to repetition operator: `{first}`"),
    ("bad escape (end of pattern)", "trailing backslash at end of expression: ``"),
    ("bad escape", "invalid escape sequence: `{pair}`"),
)
"""The commonest faults of patterns in Python's words, and in those of Go's parser."""


def _in_go(pattern: str, error: re.error) -> str:
    rest = pattern[error.pos or 0 :]
    words = next(
        (text for known, text in _FAULTS if known in error.msg), f"{error.msg}: `{{rest}}`"
    )
    shown = words.format(rest=rest, pattern=pattern, first=rest[:1], pair=rest[:2])
    return f"error parsing regexp: {shown}"


def _extensions(node: Obj, field: Field) -> Iterator[FieldError]:
    kind = node.get("type") or ""
    if node.get(PRESERVE) is False:
        yield (field / PRESERVE).invalid(value=False, detail="must be true or undefined")
    for key, wanted, known in (
        (MAP_TYPE, "object", _MAP_TYPES),
        (LIST_TYPE, "array", _LIST_TYPES),
    ):
        value = node.get(key)
        if value is None:
            continue
        if kind != wanted:
            text, at = f"must be {wanted} if {key} is specified", field / "type"
            yield at.invalid(kind, text) if kind else at.required(text)
        elif value == "set":
            yield from _set_items(node.get("items") or {}, field / "items")
        if value not in known:
            yield (field / key).unsupported(value, known)


def _set_items(items: Any, field: Field) -> Iterator[FieldError]:
    """Report items of a set that are not compared as a whole."""
    text = f"must be atomic as item of a list with {LIST_TYPE}=set"
    if not isinstance(items, Mapping):
        return
    shown = items.get(LIST_TYPE)
    if items.get("type") == "array" and shown not in {None, "atomic"}:
        yield (field / LIST_TYPE).invalid(shown, text)
    if items.get("type") == "object" and items.get(MAP_TYPE) != "atomic":
        yield (field / MAP_TYPE).invalid(shown, text)


def _lists(node: Obj, field: Field) -> Iterator[FieldError]:
    kind, keys, items = node.get(LIST_TYPE), node.get(LIST_KEYS) or (), node.get("items")
    text = f"must be map if {LIST_KEYS} is non-empty"
    if keys and kind is None:
        yield (field / LIST_TYPE).required(text)
    elif keys and kind != "map":
        yield (field / LIST_TYPE).invalid(kind, text)
    if kind == "map":
        yield from _map(keys, items, field)
    if isinstance(items, Mapping) and kind in {"map", "set"}:
        if items.get("nullable"):
            yield (field / "items" / "nullable").forbidden(
                f"cannot be nullable when {LIST_TYPE} is {kind}"
            )
        if kind == "map":
            yield from _key_fields(keys, items, field / "items" / "properties")


def _map(keys: Any, items: Any, field: Field) -> Iterator[FieldError]:
    if not keys:
        yield (field / LIST_KEYS).required(f"must not be empty if {LIST_TYPE} is map")
    if items is None:
        yield (field / "items").required(f"must have a schema if {LIST_TYPE} is map")
    elif isinstance(items, Mapping):
        yield from _keys(keys, items, field)


def _keys(keys: Any, items: Obj, field: Field) -> Iterator[FieldError]:
    kind, at = items.get("type") or "", field / "items"
    tail = f"if parent array's {LIST_TYPE} is map"
    if kind != "object":
        yield (at / "type").invalid(kind, f"must be object {tail}")
        return
    properties = items.get("properties") or {}
    for index, key in enumerate(keys):
        if key not in properties:
            yield (field / LIST_KEYS)[index].invalid(
                key, "entries must all be names of item properties"
            )
        elif properties[key].get("type") in {"array", "object"}:
            place = (at / "properties")[key] / "type"
            yield place.invalid(kind, f"must be a scalar type {tail}")
        if key in keys[:index]:
            yield (field / LIST_KEYS)[index].invalid(key, "must not contain duplicate entries")


def _key_fields(keys: Any, items: Obj, field: Field) -> Iterator[FieldError]:
    required, properties = items.get("required") or (), items.get("properties") or {}
    for key in keys:
        inner = properties.get(key)
        if inner is None:
            continue
        if key not in required and inner.get("default") is None:
            yield (field[key] / "default").required(_NO_DEFAULT)
        if inner.get("nullable"):
            yield (field[key] / "nullable").forbidden(
                f"this property is in {LIST_KEYS}, so it cannot be nullable"
            )
