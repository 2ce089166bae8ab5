"""What a definition's schema must be: structural, so that pruning and defaulting know every field.

Structure (types, properties, items) stands once, outside of allOf, anyOf, oneOf and not; what is
inside of these may only restrict values. The rules, words and order are those of upstream's
`schema/validation.go`, whose errors come sorted.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from minikube_py.api.apiextensions import schemas, values
from minikube_py.api.apiextensions.pruning import EMBEDDED, PRESERVE
from minikube_py.api.apiextensions.rule_validation import RULES, validate_rules
from minikube_py.api.fields import Field, FieldError
from minikube_py.api.object import Obj

EITHER: Final = "x-kubernetes-int-or-string"
_ROOT, _FIELD, _ITEM = "root", "field", "item"
_NO_TYPE: Final = {
    _ROOT: "must not be empty at the root",
    _FIELD: "must not be empty for specified object fields",
    _ITEM: "must not be empty for specified array items",
}
_ANY_OF: Final = ({"type": "integer"}, {"type": "string"})
_ONLY_OUTSIDE: Final = (
    # what only the structure may say, and what it has to be elsewhere
    ("type", "empty"),
    ("additionalProperties", "undefined"),
    ("default", "undefined"),
    ("title", "empty"),
    ("description", "empty"),
    ("nullable", "false"),
    (PRESERVE, "false"),
    (EMBEDDED, "false"),
    (EITHER, "false"),
    ("x-kubernetes-list-map-keys", "empty"),
    ("x-kubernetes-list-type", "undefined"),
    ("x-kubernetes-map-type", "undefined"),
    (RULES, "empty"),
)
_METADATA: Final = (
    "must not specify anything other than name and generateName, but metadata is implicitly "
    "specified"
)
_EMBEDDED_EMPTY: Final = f"must not be empty if {EMBEDDED} is true without {PRESERVE}"


def validate(root: Obj, field: Field) -> Iterator[FieldError]:
    """Report where a schema is not structural, or is no good schema; then look at its rules."""
    structure: list[FieldError] = []
    if not schemas.is_beyond_structure(root):
        found = [*_node(root, field, _ROOT), *_completeness(root, root, field, field)]
        structure = sorted(found, key=str)
    yield from structure
    defaults = list(_defaults(root, field)) if not structure else []
    yield from defaults
    errors = list(schemas.validate(root, field, is_root=True))
    yield from errors
    yield from validate_rules(root, field, sound=not (structure or defaults or errors))


def _defaults(node: Obj, field: Field) -> Iterator[FieldError]:
    """Report defaults that do not fit."""
    if node.get("default") is not None:
        yield from values.validate(node, node["default"], field / "default")
    for inner, below in schemas.children(node, field):
        yield from _defaults(inner, below)


def _node(node: Obj, field: Field, level: str) -> Iterator[FieldError]:
    if isinstance(node.get("items"), Mapping):
        yield from _node(node["items"], field / "items", _ITEM)
    for name, inner in (node.get("properties") or {}).items():
        yield from _node(inner, (field / "properties")[name], _FIELD)
    others = node.get("additionalProperties")
    if others is not None:
        if level == _ROOT:
            yield (field / "additionalProperties").forbidden("must not be used at the root")
        if isinstance(others, Mapping):
            yield from _node(others, field / "additionalProperties", _FIELD)
    yield from _extensions(node, field)
    yield from _restrictions(node, field)
    yield from _type(node, field, level)
    yield from _known_fields(node, field, level)


def _extensions(node: Obj, field: Field) -> Iterator[FieldError]:
    for name in (PRESERVE, EMBEDDED):
        if node.get(EITHER) and node.get(name):
            yield (field / name).invalid(value=True, detail=f"must be false if {EITHER} is true")


def _type(node: Obj, field: Field, level: str) -> Iterator[FieldError]:
    kind, at = node.get("type") or "", field / "type"
    if kind == "array" and node.get("items") is None:
        yield (field / "items").required("must be specified")
    if node.get(EMBEDDED) and kind != "object":
        text = f"must be object if {EMBEDDED} is true"
        yield at.invalid(kind, text) if kind else at.required(text)
    elif not kind and not node.get(EITHER) and not node.get(PRESERVE):
        yield at.required(_NO_TYPE[level])
    if node.get(EMBEDDED) and node.get("additionalProperties") is not None:
        yield (field / "additionalProperties").forbidden(f"must not be used if {EMBEDDED} is set")
    if level == _ROOT and kind and kind != "object":
        yield at.invalid(kind, "must be object at the root")


def _known_fields(node: Obj, field: Field, level: str) -> Iterator[FieldError]:
    """Report schemas of what every object has anyway."""
    properties = node.get("properties") or {}
    whole = level == _ROOT or bool(node.get(EMBEDDED))
    for name in ("kind", "apiVersion"):
        if whole and name in properties and properties[name].get("type") != "string":
            yield ((field / "properties")[name] / "type").invalid(
                properties[name].get("type") or "", "must be string"
            )
    metadata = properties.get("metadata")
    if metadata is not None:
        at = (field / "properties")["metadata"]
        if whole and metadata.get("type") != "object":
            yield (at / "type").invalid(metadata.get("type") or "", "must be object")
        if level == _ROOT and not _is_plain_metadata(metadata):
            yield at.forbidden(_METADATA)
    if node.get(EMBEDDED) and not node.get(PRESERVE) and not properties:
        yield (field / "properties").required(_EMBEDDED_EMPTY)


def _is_plain_metadata(metadata: Obj) -> bool:
    """Tell whether a schema of metadata restricts no more than the name."""
    names = set(metadata.get("properties") or ())
    if names - {"name", "generateName"}:
        return False
    return not any(
        value for key, value in metadata.items() if key not in {"type", "properties", "default"}
    )


def _restrictions(node: Obj, field: Field) -> Iterator[FieldError]:
    """Report alternatives that say what only the structure may say."""
    either = bool(node.get(EITHER))
    for name in ("anyOf", "allOf", "oneOf"):
        for index, inner in enumerate(node.get(name) or ()):
            if either and name == "anyOf" and tuple(node["anyOf"]) == _ANY_OF:
                continue
            at = (field / name)[index]
            first = either and name == "allOf" and index == 0 and _is_either(inner)
            yield from _restriction(_without_any_of(inner) if first else inner, at)
    if isinstance(node.get("not"), Mapping):
        yield from _restriction(node["not"], field / "not")


def _is_either(inner: Any) -> bool:
    return tuple(inner.get("anyOf") or ()) == _ANY_OF


def _without_any_of(inner: Obj) -> Obj:
    return {key: value for key, value in inner.items() if key != "anyOf"}


def _restriction(inner: Obj, field: Field) -> Iterator[FieldError]:
    yield from _restrictions(inner, field)
    if isinstance(inner.get("items"), Mapping):
        yield from _restriction(inner["items"], field / "items")
    for name, below in (inner.get("properties") or {}).items():
        yield from _restriction(below, (field / "properties")[name])
    for name, what in _ONLY_OUTSIDE:
        value = inner.get(name)
        if value or (value is not None and what == "undefined"):
            yield (field / name).forbidden(f"must be {what} to be structural")
    if "metadata" in (inner.get("properties") or {}):
        yield (field / "properties")["metadata"].forbidden(
            "must not be specified in a nested context"
        )


def _completeness(part: Obj, node: Obj | None, outside: Field, here: Field) -> Iterator[FieldError]:
    """Report fields that only alternatives know: `part` stands at `here`, `node` is outside."""
    for name in ("allOf", "anyOf", "oneOf"):
        for index, inner in enumerate(part.get(name) or ()):
            yield from _known_outside(inner, node, outside, (here / name)[index])
    if isinstance(part.get("not"), Mapping):
        yield from _known_outside(part["not"], node, outside, here / "not")
    if part is node:
        for inner, below in schemas.children(part, here):
            yield from _completeness(inner, inner, below, below)


def _known_outside(
    part: Obj, node: Obj | None, outside: Field, here: Field
) -> Iterator[FieldError]:
    if node is None:
        yield outside.required(f"because it is defined in {here}")
        return
    yield from _completeness(part, node, outside, here)
    if isinstance(part.get("items"), Mapping):
        items = node.get("items")
        inner = items if isinstance(items, Mapping) else None
        yield from _known_outside(part["items"], inner, outside / "items", here / "items")
    others = node.get("additionalProperties")
    for name, below in (part.get("properties") or {}).items():
        found = (node.get("properties") or {}).get(name)
        place = (outside / "properties")[name]
        if found is None and isinstance(others, Mapping):
            found, place = others, outside / "additionalProperties"
        yield from _known_outside(below, found, place, (here / "properties")[name])


def warnings(crd: Obj) -> Iterator[str]:
    """Yield what of a definition is stored and without effect here."""
    spec = crd["spec"]
    if (spec.get("conversion") or {}).get("strategy") == "Webhook" and len(spec["versions"]) > 1:
        yield "spec.conversion: no webhooks are called; only the storage version is served"
