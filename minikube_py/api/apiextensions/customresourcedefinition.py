"""Custom resource definitions: kinds that users add.

What a definition may say is in `definition`, what its schemas may say in `schemas` and
`structural`.
"""

from collections.abc import Iterator, Sequence
from typing import Any

from minikube_py.api import strategy
from minikube_py.api.apiextensions import definition, structural
from minikube_py.api.fields import Field, FieldError
from minikube_py.api.object import Obj, evolve, get, has_condition
from minikube_py.api.resource import NAME, Column, Resource, Subresource
from minikube_py.api.strategy import changed, with_absent, with_empty

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


def validate(new: Obj, old: Obj | None) -> Iterator[FieldError]:
    """Report what is wrong with a new or updated definition."""
    if old is None:
        yield from definition.validate_name(new)
    yield from definition.validate_spec(new["spec"])
    if old is not None:
        yield from _validate_update(new["spec"], old)
    yield from validate_status(new, old)
    yield from definition.validate_stored_versions(new)
    yield from definition.validate_approval(new, old)


def _validate_update(spec: Obj, old: Obj) -> Iterator[FieldError]:
    """Keep what objects that exist already depend on."""
    paths = ["group", "names.plural"]
    if has_condition(old, ESTABLISHED):
        paths = ["scope", "names.kind", *paths]
    for path in paths:
        yield from strategy.immutable(get(spec, path), get(old["spec"], path), Field("spec") / path)


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


def validate_status(new: Obj, _old: Obj | None) -> Iterator[FieldError]:
    """Report what is wrong with an updated status."""
    accepted = get(new, "status.acceptedNames") or {}
    yield from definition.validate_names(accepted, Field("status.acceptedNames"))


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
            has_tables=False,
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
