"""What may stand at the root of a schema whose custom objects have a status of their own.

A status is validated by the schema of `properties.status` alone, so that whatever the root said
about it beyond that would be lost: upstream's `ValidateCustomResourceDefinition` allows there only
what cannot matter to a status. Its message shows the whole schema by Go's names of the fields.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

from minikube_py.api.fields import Field, FieldError
from minikube_py.api.object import Obj

_FIELDS: Final[tuple[tuple[str, str, Any], ...]] = (
    ("id", "ID", ""),
    ("$schema", "Schema", ""),
    ("$ref", "Ref", None),
    ("description", "Description", ""),
    ("type", "Type", ""),
    ("nullable", "Nullable", False),
    ("format", "Format", ""),
    ("title", "Title", ""),
    ("default", "Default", None),
    ("maximum", "Maximum", None),
    ("exclusiveMaximum", "ExclusiveMaximum", False),
    ("minimum", "Minimum", None),
    ("exclusiveMinimum", "ExclusiveMinimum", False),
    ("maxLength", "MaxLength", None),
    ("minLength", "MinLength", None),
    ("pattern", "Pattern", ""),
    ("maxItems", "MaxItems", None),
    ("minItems", "MinItems", None),
    ("uniqueItems", "UniqueItems", False),
    ("multipleOf", "MultipleOf", None),
    ("enum", "Enum", None),
    ("maxProperties", "MaxProperties", None),
    ("minProperties", "MinProperties", None),
    ("required", "Required", None),
    ("items", "Items", None),
    ("allOf", "AllOf", None),
    ("oneOf", "OneOf", None),
    ("anyOf", "AnyOf", None),
    ("not", "Not", None),
    ("properties", "Properties", None),
    ("additionalProperties", "AdditionalProperties", None),
    ("patternProperties", "PatternProperties", None),
    ("dependencies", "Dependencies", None),
    ("additionalItems", "AdditionalItems", None),
    ("definitions", "Definitions", None),
    ("externalDocs", "ExternalDocs", None),
    ("example", "Example", None),
    ("x-kubernetes-preserve-unknown-fields", "XPreserveUnknownFields", None),
    ("x-kubernetes-embedded-resource", "XEmbeddedResource", False),
    ("x-kubernetes-int-or-string", "XIntOrString", False),
    ("x-kubernetes-list-map-keys", "XListMapKeys", None),
    ("x-kubernetes-list-type", "XListType", None),
    ("x-kubernetes-map-type", "XMapType", None),
    ("x-kubernetes-validations", "XValidations", None),
)
"""A field's name in JSON, in Go, and what it is where it is absent, in Go's order."""
_ALLOWED: Final = (
    "Description",
    "Type",
    "Format",
    "Title",
    "Maximum",
    "ExclusiveMaximum",
    "Minimum",
    "ExclusiveMinimum",
    "MaxLength",
    "MinLength",
    "Pattern",
    "MaxItems",
    "MinItems",
    "UniqueItems",
    "MultipleOf",
    "Required",
    "Items",
    "Properties",
    "ExternalDocs",
    "Example",
    "XPreserveUnknownFields",
    "XValidations",
)
_WHERE: Final = "at the root of the schema if the status subresource is enabled"


def validate(root: Obj, field: Field) -> Iterator[FieldError]:
    """Report the first field that may not stand there."""
    for key, name, absent in _FIELDS:
        value = root.get(key, absent)
        if value == absent:
            continue
        if name == "Type" and value != "object":
            at = field / "openAPIV3Schema.type"
            yield at.invalid(value, f'only "object" is allowed as the type {_WHERE}')
            return
        if name not in _ALLOWED:
            detail = f"only [{' '.join(_ALLOWED)}] fields are allowed {_WHERE}"
            yield (field / "openAPIV3Schema").invalid(_in_go(root), detail)
            return


def _in_go(schema: Obj) -> dict[str, Any]:
    """Return a schema with Go's names, absent fields too."""
    return {name: _value(name, schema.get(key, absent)) for key, name, absent in _FIELDS}


def _value(name: str, value: Any) -> Any:
    shown = _SHOWN.get(name)
    return value if shown is None or value is None else shown(value)


def _by_name(schemas: Obj) -> dict[str, Any]:
    return {key: _in_go(inner) for key, inner in sorted(schemas.items())}


def _all(schemas: Sequence[Obj]) -> list[Any]:
    return [_in_go(inner) for inner in schemas]


def _schema_or_flag(value: Any) -> dict[str, Any]:
    if isinstance(value, Mapping):
        return {"Allows": True, "Schema": _in_go(value)}
    return {"Allows": bool(value), "Schema": None}


def _documentation(value: Obj) -> dict[str, Any]:
    return {"Description": value.get("description", ""), "URL": value.get("url", "")}


def _one_or_many(items: Any) -> dict[str, Any]:
    if isinstance(items, Mapping):
        return {"Schema": _in_go(items), "JSONSchemas": None}
    return {"Schema": None, "JSONSchemas": _all(items)}


def _rule(rule: Obj) -> dict[str, Any]:
    return {
        "Rule": rule.get("rule", ""),
        "Message": rule.get("message", ""),
        "MessageExpression": rule.get("messageExpression", ""),
        "Reason": rule.get("reason"),
        "FieldPath": rule.get("fieldPath", ""),
        "OptionalOldSelf": rule.get("optionalOldSelf"),
    }


_SHOWN: Final[Mapping[str, Callable[[Any], Any]]] = {
    **dict.fromkeys(("Properties", "PatternProperties", "Definitions"), _by_name),
    **dict.fromkeys(("AllOf", "OneOf", "AnyOf"), _all),
    **dict.fromkeys(("AdditionalProperties", "AdditionalItems"), _schema_or_flag),
    "Not": _in_go,
    "Items": _one_or_many,
    "ExternalDocs": _documentation,
    "XValidations": lambda rules: [_rule(rule) for rule in rules],
}
