"""Custom resource definitions: kinds that users add.

Checked here is what makes a definition usable at all: its name, names, versions and scope. The
structure of the schemas is checked where schemas are compiled.
"""

from collections.abc import Iterator, Sequence
from typing import Any

from minikube_py.api import jsonpath, names, strategy
from minikube_py.api.apiextensions import structural
from minikube_py.api.fields import Field, FieldError
from minikube_py.api.object import Obj, evolve, get, has_condition
from minikube_py.api.resource import NAME, Column, Resource, Subresource
from minikube_py.api.strategy import changed, with_absent, with_empty

SPEC, STATUS = Field("spec"), Field("status")
SCOPES = frozenset({"Cluster", "Namespaced"})
STRATEGIES = frozenset({"None", "Webhook"})
ESTABLISHED = "Established"
CLEANUP_FINALIZER = "customresourcecleanup.apiextensions.k8s.io"
_NO_NAMES = {"kind": "", "plural": ""}


def default(crd: Obj) -> Obj:
    """Fill in what the user left out."""
    crd = with_absent(crd, {"spec": {}, "status": {}})
    crd = changed(crd, "spec", _default_spec)
    return changed(crd, "status", _default_status)


def _default_spec(spec: Obj) -> Obj:
    spec = with_absent(spec, {"group": "", "scope": "", "names": {}, "versions": []})
    spec = changed(spec, "names", _default_names)
    spec = with_absent(spec, {"conversion": {"strategy": "None"}})
    return changed(spec, "conversion", _default_conversion)


def _default_names(kind: Obj) -> Obj:
    kind = with_absent(kind, _NO_NAMES)
    if not kind["kind"]:
        return kind
    return with_empty(kind, {"singular": kind["kind"].lower(), "listKind": f"{kind['kind']}List"})


def _default_conversion(conversion: Obj) -> Obj:
    def default_client(client: Obj) -> Obj:
        return changed(client, "service", lambda service: with_absent(service, {"port": 443}))

    def default_webhook(webhook: Obj) -> Obj:
        return changed(webhook, "clientConfig", default_client)

    return changed(conversion, "webhook", default_webhook)


def _default_status(status: Obj) -> Obj:
    status = with_absent(status, {"acceptedNames": _NO_NAMES})
    status = status if status.get("conditions") else {**status, "conditions": None}
    return status if status.get("storedVersions") else {**status, "storedVersions": None}


def storage_version(spec: Obj) -> str:
    """Return the name of the version that is stored."""
    versions: Sequence[Obj] = spec.get("versions") or ()
    return next((str(v.get("name", "")) for v in versions if v.get("storage")), "")


def prepare_for_create(crd: Obj) -> Obj:
    """Drop the status but for what is stored from now on."""
    stored = [
        version.get("name", "") for version in crd["spec"]["versions"] if version.get("storage")
    ]
    return strategy.creating(_default_status({"storedVersions": stored}))(crd)


def prepare_for_update(new: Obj, old: Obj) -> Obj:
    """Keep the status, but note a new stored version in it."""
    new = strategy.updating("spec")(new, old)
    version, status = storage_version(new["spec"]), new.get("status") or {}
    stored = list(status.get("storedVersions") or ())
    if not version or version in stored:
        return new
    return {**new, "status": {**status, "storedVersions": [*stored, version]}}


_NO_PRESERVING = (
    "cannot set to true, set x-kubernetes-preserve-unknown-fields to true in "
    "spec.versions[*].schema instead"
)


def validate(new: Obj, old: Obj | None) -> Iterator[FieldError]:
    """Report what is wrong with a new or updated definition."""
    spec, name = new["spec"], new["metadata"].get("name", "")
    required = f"{get(spec, 'names.plural', '')}.{spec['group']}"
    if name != required and (old is None or old["spec"]["group"] == spec["group"]):
        yield (Field("metadata") / "name").invalid(name, f"must be {required}")
    yield from _validate_group(spec["group"], SPEC / "group")
    if not spec["scope"]:
        yield (SPEC / "scope").required()
    elif spec["scope"] not in SCOPES:
        yield (SPEC / "scope").unsupported(spec["scope"], SCOPES)
    yield from _validate_versions(spec["versions"], SPEC / "versions")
    yield from _validate_names(spec["names"], SPEC / "names")
    if spec.get("preserveUnknownFields"):
        yield (SPEC / "preserveUnknownFields").invalid(value=True, detail=_NO_PRESERVING)
    kind = get(spec, "conversion.strategy", "")
    if kind not in STRATEGIES:
        yield (SPEC / "conversion" / "strategy").unsupported(kind, STRATEGIES)
    if old is not None:
        yield from _validate_update(spec, old)
    yield from _validate_stored(new, old)


def _validate_group(group: str, field: Field) -> Iterator[FieldError]:
    if not group:
        yield field.required()
        return
    errors = ",".join(names.dns1123_subdomain(group))
    if errors:
        yield field.invalid(group, errors)
    elif "." not in group:
        yield field.invalid(group, "should be a domain with at least one dot")


def _validate_versions(versions: Sequence[Obj], field: Field) -> Iterator[FieldError]:
    seen: set[str] = set()
    for index, version in enumerate(versions):
        name = version.get("name", "")
        yield from ((field[index] / "name").invalid(name, t) for t in names.dns1035_label(name))
        root = get(version, "schema.openAPIV3Schema")
        if root is None:
            yield (field[index] / "schema" / "openAPIV3Schema").required("schemas are required")
        else:
            yield from structural.validate(root, field[index] / "schema" / "openAPIV3Schema")
        yield from _validate_paths(version, field[index])
        seen.add(name)
    if len(seen) != len(versions):
        yield field.invalid(list(versions), "must contain unique version names")
    if sum(bool(version.get("storage")) for version in versions) != 1:
        yield field.invalid(
            list(versions), "must have exactly one version marked as storage version"
        )


def _validate_paths(version: Obj, field: Field) -> Iterator[FieldError]:
    """Report JSON paths that are none."""
    for index, column in enumerate(version.get("additionalPrinterColumns") or ()):
        at = (field / "additionalPrinterColumns")[index]
        if not column.get("name"):
            yield (at / "name").required()
        if column.get("type") not in COLUMN_TYPES:
            yield (at / "type").invalid(
                column.get("type", ""), f"must be one of {','.join(COLUMN_TYPES)}"
            )
        yield from _validate_path(column.get("jsonPath", ""), at / "jsonPath")
    for index, chosen in enumerate(version.get("selectableFields") or ()):
        at = (field / "selectableFields")[index] / "jsonPath"
        yield from _validate_path(chosen.get("jsonPath", ""), at)
    scale = get(version, "subresources.scale")
    if scale is not None:
        at = field / "subresources" / "scale"
        yield from _validate_scale(scale, at)


def _validate_path(path: str, field: Field) -> Iterator[FieldError]:
    if not path:
        yield field.required()
        return
    try:
        jsonpath.compiled(path)
    except ValueError as error:
        yield field.invalid(path, f"is an invalid path: {error}")


def _validate_scale(scale: Obj, field: Field) -> Iterator[FieldError]:
    for key, root in (
        ("specReplicasPath", ".spec"),
        ("statusReplicasPath", ".status"),
        ("labelSelectorPath", (".spec", ".status")),
    ):
        path = scale.get(key) or ""
        if not path:
            if key != "labelSelectorPath":
                yield (field / key).required()
        elif jsonpath.names(path) is None:
            yield (field / key).invalid(path, "should be a simple json path without arrays")
        elif not path.startswith(root):
            shown = " or ".join((root,) if isinstance(root, str) else root)
            yield (field / key).invalid(path, f"should be a json path under {shown}")


COLUMN_TYPES = ("boolean", "date", "integer", "number", "string")
_MIXED_CASE = "may have mixed case, but should otherwise match: "


def _validate_names(kind: Obj, field: Field) -> Iterator[FieldError]:
    for key in ("plural", "singular", "kind", "listKind"):
        value = kind.get(key, "")
        if not value:
            yield (field / key).required()
            continue
        prefix = _MIXED_CASE if key in {"kind", "listKind"} else ""
        for text in names.dns1035_label(value.lower() if prefix else value):
            yield (field / key).invalid(value, f"{prefix}{text}")
    for key in ("shortNames", "categories"):
        for index, value in enumerate(kind.get(key) or ()):
            for text in names.dns1035_label(value):
                yield (field / key)[index].invalid(value, text)
    if kind.get("kind") and kind.get("kind") == kind.get("listKind"):
        yield (field / "listKind").invalid(
            kind["listKind"], "kind and listKind may not be the same"
        )


def _validate_update(spec: Obj, old: Obj) -> Iterator[FieldError]:
    """Keep what objects that exist already depend on."""
    before = old["spec"]
    paths = ["group", "names.plural"]
    if has_condition(old, ESTABLISHED):
        paths += ["scope", "names.kind"]
    for path in paths:
        value = get(spec, path)
        field = Field(f"spec.{path}")
        yield from strategy.immutable(value, get(before, path), field)


def _validate_stored(new: Obj, old: Obj | None) -> Iterator[FieldError]:
    """Report a version that is stored and no longer defined."""
    if old is None:
        return
    known = {version.get("name") for version in new["spec"]["versions"]}
    field = STATUS / "storedVersions"
    stored = get(new, "status.storedVersions") or ()
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


def warn(new: Obj, old: Obj | None) -> Iterator[str]:
    """Say what of the definition has no effect here."""
    if old is None or old["spec"] != new["spec"]:
        yield from structural.warnings(new)


def prepare_for_delete(crd: Obj) -> Obj:
    """Let a definition stay until its objects are gone."""
    finalizers = crd["metadata"].get("finalizers") or ()
    if crd["metadata"].get("deletionTimestamp") or CLEANUP_FINALIZER in finalizers:
        return crd
    return evolve(crd, "metadata.finalizers", [*finalizers, CLEANUP_FINALIZER])


def validate_status(new: Obj, old: Obj | None) -> Iterator[FieldError]:
    """Report what is wrong with an updated status."""
    yield from _validate_stored(new, old)


def cells(crd: Obj) -> Sequence[Any]:
    """Return the cells of a definition's row."""
    return (crd["metadata"]["name"], get(crd, "metadata.creationTimestamp"))


CUSTOMRESOURCEDEFINITIONS = Resource(
    group="apiextensions.k8s.io",
    kind="CustomResourceDefinition",
    plural="customresourcedefinitions",
    namespaced=False,
    short_names=("crd", "crds"),
    categories=("api-extensions",),
    schema="io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.CustomResourceDefinition",
    subresources=(
        Subresource(
            name="status",
            shares_object=True,
            prepare_for_update=strategy.updating_status("spec", metadata=strategy.RESET_METADATA),
            validate=validate_status,
        ),
    ),
    columns=(NAME, Column("Created At", "date")),
    cells=cells,
    default=default,
    prepare_for_create=prepare_for_create,
    prepare_for_update=prepare_for_update,
    validate=validate,
    warn=warn,
    prepare_for_delete=prepare_for_delete,
    allow_unconditional_update=False,
    stored_version="v1beta1",
)
