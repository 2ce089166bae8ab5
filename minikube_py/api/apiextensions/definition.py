"""What a definition may say beside its schemas: names, versions, columns, scale, conversion.

Upstream keeps what all versions have in common (schema, subresources, columns, selectable fields)
once for all of them and checks it there, so that fields of errors are those of that form:
`spec.validation.openAPIV3Schema` instead of `spec.versions[0].schema.openAPIV3Schema`.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final
from urllib.parse import urlsplit

from minikube_py.api import names
from minikube_py.api.admissionregistration import webhooks
from minikube_py.api.apiextensions import root_schema, selection, structural
from minikube_py.api.fields import Field, FieldError, quote
from minikube_py.api.object import Obj, annotations_of, get

SPEC: Final = Field("spec")
SCOPES: Final = ("Cluster", "Namespaced")
STRATEGIES: Final = ("None", "Webhook")
COLUMN_TYPES: Final = ("boolean", "date", "integer", "number", "string")
COLUMN_FORMATS: Final = (
    "byte",
    "date",
    "date-time",
    "double",
    "float",
    "int32",
    "int64",
    "password",
)
DEPRECATION_MAX: Final = 256
APPROVAL: Final = "api-approved.kubernetes.io"
_COMMON: Final = ("schema", "subresources", "additionalPrinterColumns", "selectableFields")
_MIXED_CASE: Final = "may have mixed case, but should otherwise match: "
_NO_PRESERVING: Final = (
    "cannot set to true, set x-kubernetes-preserve-unknown-fields to true in "
    "spec.versions[*].schema instead"
)
_ENHANCEMENT: Final = "see https://github.com/kubernetes/enhancements/pull/1111"


def validate_name(crd: Obj) -> Iterator[FieldError]:
    """Report a definition that is not named after the kind."""
    spec, name = crd["spec"], crd["metadata"].get("name", "")
    if name != f"{get(spec, 'names.plural', '')}.{spec['group']}":
        yield Field("metadata.name").invalid(name, 'must be spec.names.plural+"."+spec.group')


def validate_spec(spec: Obj) -> Iterator[FieldError]:
    """Report what is wrong with the spec of a definition."""
    versions: Sequence[Obj] = spec["versions"]
    yield from _validate_group(spec["group"], SPEC / "group")
    yield from _one_of(spec["scope"], SCOPES, SPEC / "scope")
    common = _common(versions)
    if not common.get("schema"):
        for index, version in enumerate(versions):
            if get(version, "schema.openAPIV3Schema") is None:
                at = (SPEC / "versions")[index] / "schema" / "openAPIV3Schema"
                yield at.required("schemas are required")
    yield from _validate_versions(versions, common)
    for key in ("plural", "singular", "kind", "listKind"):
        if not spec["names"].get(key):
            yield (SPEC / "names" / key).required()
    yield from validate_names(spec["names"], SPEC / "names")
    yield from _validate_parts(common, SPEC, "validation")
    yield from _validate_conversion(spec.get("conversion") or {}, SPEC / "conversion")
    if spec.get("preserveUnknownFields"):
        yield (SPEC / "preserveUnknownFields").invalid(value=True, detail=_NO_PRESERVING)


def _common(versions: Sequence[Obj]) -> dict[str, Any]:
    """Return the parts that all versions have in common."""
    if not versions:
        return {}
    first = versions[0]
    return {
        key: first.get(key)
        for key in _COMMON
        if all((version.get(key) or None) == (first.get(key) or None) for version in versions)
    }


def _validate_group(group: str, field: Field) -> Iterator[FieldError]:
    if not group:
        yield field.required()
        return
    errors = ",".join(names.dns1123_subdomain(group))
    if errors:
        yield field.invalid(group, errors)
    elif "." not in group:
        yield field.invalid(group, "should be a domain with at least one dot")


def _one_of(value: str, known: Sequence[str], field: Field) -> Iterator[FieldError]:
    if not value:
        yield field.required()
    elif value not in known:
        yield field.unsupported(value, known)


def _validate_versions(versions: Sequence[Obj], common: Obj) -> Iterator[FieldError]:
    field = SPEC / "versions"
    for index, version in enumerate(versions):
        name, at = version.get("name", ""), field[index]
        if errors := ",".join(names.dns1035_label(name)):
            yield (at / "name").invalid(name, errors)
        yield from _validate_deprecation(version, at / "deprecationWarning")
        own = {key: version.get(key) for key in _COMMON if key not in common}
        yield from _validate_parts(own, at, "schema")
    known = {version.get("name", "") for version in versions}
    if len(known) != len(versions):
        yield field.invalid(_shown(versions, common), "must contain unique version names")
    if sum(bool(version.get("storage")) for version in versions) != 1:
        yield field.invalid(
            _shown(versions, common), "must have exactly one version marked as storage version"
        )


def _shown(versions: Sequence[Obj], common: Obj) -> list[dict[str, Any]]:
    """Return versions in Go's words, without what stands once for all of them."""
    return [
        {
            "Name": version.get("name", ""),
            "Served": version.get("served", False),
            "Storage": version.get("storage", False),
            "Deprecated": version.get("deprecated", False),
            "DeprecationWarning": version.get("deprecationWarning"),
            **{
                f"{key[0].upper()}{key[1:]}": None if key in common else version.get(key)
                for key in _COMMON
            },
        }
        for version in versions
    ]


def _validate_deprecation(version: Obj, field: Field) -> Iterator[FieldError]:
    text = version.get("deprecationWarning")
    if text is None:
        return
    if not version.get("deprecated"):
        yield field.invalid(text, "can only be set for deprecated versions")
        return
    if len(text.encode()) > DEPRECATION_MAX:
        yield field.invalid(text, f"must be <= {DEPRECATION_MAX} characters long")
    if not text:
        yield field.invalid(text, "must not be an empty string")
    bad = next((index for index, char in enumerate(text) if not char.isprintable()), None)
    if bad is not None:
        at = len(text[:bad].encode())
        yield field.invalid(
            text,
            "must only contain printable UTF-8 characters; non-printable character found at "
            f"index {at}",
        )


def _validate_parts(parts: Obj, field: Field, schema_key: str) -> Iterator[FieldError]:
    """Report what is wrong with schema, subresources, columns and selectable fields."""
    schema, subresources = parts.get("schema"), parts.get("subresources") or {}
    root = get(schema, "openAPIV3Schema")
    if root is not None:
        at = field / schema_key / "openAPIV3Schema"
        if subresources.get("status") is not None:
            yield from root_schema.validate(root, field / schema_key)
        if root.get("nullable"):
            yield (at / "nullable").forbidden("nullable cannot be true at the root")
        yield from structural.validate(root, at)
    if subresources.get("scale") is not None:
        yield from _validate_scale(subresources["scale"], field / "subresources" / "scale")
    for index, column in enumerate(parts.get("additionalPrinterColumns") or ()):
        yield from _validate_column(column, (field / "additionalPrinterColumns")[index])
    chosen = parts.get("selectableFields") or ()
    if chosen:
        yield from selection.validate(chosen, root, field / "selectableFields")


def _validate_column(column: Obj, field: Field) -> Iterator[FieldError]:
    kind, shape = column.get("type") or "", column.get("format") or ""
    if not column.get("name"):
        yield (field / "name").required()
    text = f"must be one of {','.join(COLUMN_TYPES)}"
    if not kind:
        yield (field / "type").required(text)
    elif kind not in COLUMN_TYPES:
        yield (field / "type").invalid(kind, text)
    if shape and shape not in COLUMN_FORMATS:
        yield (field / "format").invalid(shape, f"must be one of {','.join(COLUMN_FORMATS)}")
    path = column.get("jsonPath") or ""
    if not path:
        yield (field / "JSONPath").required()
    else:
        yield from _validate_path(path, field / "JSONPath")


def _validate_path(path: str, field: Field) -> Iterator[FieldError]:
    if not path.startswith("."):
        yield field.invalid(path, "must be a simple json path starting with .")


def _validate_scale(scale: Obj, field: Field) -> Iterator[FieldError]:
    for key, roots in (
        ("specReplicasPath", (".spec",)),
        ("statusReplicasPath", (".status",)),
        ("labelSelectorPath", (".spec", ".status")),
    ):
        path, at = scale.get(key) or "", field / key
        if not path:
            if len(roots) == 1:
                yield at.required()
        elif errors := list(_validate_path(path, at)):
            yield from errors
        elif not path.startswith(tuple(f"{root}." for root in roots)):
            shown = roots[0] if len(roots) == 1 else f"either {' or '.join(reversed(roots))}"
            yield at.invalid(path, f"should be a json path under {shown}")


def validate_names(kind: Obj, field: Field) -> Iterator[FieldError]:
    """Report names that could be no part of a path, or that are the same."""
    for key in ("plural", "singular", "kind", "listKind"):
        value = kind.get(key, "")
        prefix = _MIXED_CASE if key in {"kind", "listKind"} else ""
        errors = ",".join(names.dns1035_label(value.lower() if prefix else value))
        if value and errors:
            yield (field / key).invalid(value, f"{prefix}{errors}")
    yield from _validate_labels(kind.get("shortNames") or (), field / "shortNames")
    if kind.get("kind") and kind.get("kind") == kind.get("listKind"):
        yield (field / "listKind").invalid(
            kind["listKind"], "kind and listKind may not be the same"
        )
    yield from _validate_labels(kind.get("categories") or (), field / "categories")


def _validate_labels(values: Sequence[str], field: Field) -> Iterator[FieldError]:
    for index, value in enumerate(values):
        if errors := ",".join(names.dns1035_label(value)):
            yield field[index].invalid(value, errors)


def _validate_conversion(conversion: Obj, field: Field) -> Iterator[FieldError]:
    kind, webhook = conversion.get("strategy") or "", conversion.get("webhook")
    yield from _one_of(kind, STRATEGIES, field / "strategy")
    client = get(webhook, "clientConfig")
    versions: Sequence[str] = get(webhook, "conversionReviewVersions") or ()
    if kind == "Webhook":
        if client is None:
            yield (field / "webhookClientConfig").required(
                "required when strategy is set to Webhook"
            )
        else:
            yield from webhooks.validate_client(client, field / "webhookClientConfig")
        yield from webhooks.validate_versions(versions, field / "conversionReviewVersions")
        return
    for key, given in (("webhookClientConfig", client), ("conversionReviewVersions", versions)):
        if given:
            yield (field / key).forbidden("should not be set when strategy is not set to Webhook")


def validate_stored_versions(crd: Obj) -> Iterator[FieldError]:
    """Report a version that is stored and no longer defined."""
    known = {version.get("name") for version in crd["spec"]["versions"]}
    field = Field("status.storedVersions")
    stored = get(crd, "status.storedVersions") or ()
    if not stored:
        yield field.invalid([], "must have at least one stored version")
    for index, version in enumerate(stored):
        if version not in known:
            yield field[index].invalid(
                version,
                "missing from spec.versions; "
                f"{version} was previously a storage version, and must remain in spec.versions "
                "until a storage migration ensures no data remains persisted in "
                f"{version} and removes {version} from status.storedVersions",
            )


def validate_approval(new: Obj, old: Obj | None) -> Iterator[FieldError]:
    """Report kinds in the groups of Kubernetes itself that nobody approved."""
    group = new["spec"]["group"]
    if not f".{group}".endswith((".k8s.io", ".kubernetes.io")):
        return
    given = annotations_of(new).get(APPROVAL, "")
    state = _approval(annotations_of(new))
    if old is not None and _approval(annotations_of(old)) == state:
        return
    field = (Field("metadata") / "annotations")[APPROVAL]
    text = f"protected groups must have approval annotation {quote(APPROVAL)}"
    if state == "missing":
        yield field.required(f"{text}, {_ENHANCEMENT}")
    elif state == "invalid":
        yield field.invalid(
            given,
            f'{text} with either a URL or a reason starting with "unapproved", {_ENHANCEMENT}',
        )


def _approval(annotations: Mapping[str, str]) -> str:
    given = annotations.get(APPROVAL, "")
    if not given:
        return "missing"
    if given.startswith("unapproved"):
        return "bypassed"
    try:
        url = urlsplit(given)
    except ValueError:
        return "invalid"
    return "approved" if url.scheme and url.netloc else "invalid"
