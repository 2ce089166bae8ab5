"""The five kinds of patch on the newest object."""

from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from minikube_py.api import schema_reader
from minikube_py.api.errors import InvalidError, UnsupportedMediaTypeError
from minikube_py.api.fields import Field, invalid_message, quote
from minikube_py.api.object import Obj
from minikube_py.api.patch import json_patch, merge_patch, strategic_merge_patch
from minikube_py.api.patch.go_convert import conversion_error
from minikube_py.api.patch.go_text import go_text
from minikube_py.api.resource import Resource
from minikube_py.client.protocol import PatchType
from minikube_py.server.apiserver import body
from minikube_py.server.apiserver.call import Call

PATCH_TYPES: dict[str, PatchType] = {
    "application/json-patch+json": "json",
    "application/merge-patch+json": "merge",
    "application/strategic-merge-patch+json": "strategic",
    "application/apply-patch+yaml": "apply",
}


def patch_type(content_type: str) -> PatchType:
    """Return the kind of patch that a Content-Type names."""
    kind = PATCH_TYPES.get(content_type.partition(";")[0].strip().lower())
    if kind is None:
        raise _unsupported(tuple(PATCH_TYPES))
    return kind


def patched(call: Call, kind: PatchType, current: Obj, patch: Any) -> dict[str, Any]:
    """Return the patched document, not yet checked against its kind; raises a PatchError."""
    match kind:
        case "json":
            return json_patch.apply(current, patch)
        case "merge":
            return merge_patch.apply(current, patch)
        case "strategic":
            kind_type = call.resource.type
            if kind_type is None or call.resource.custom:
                raise unsupported_patch("strategic")
            return strategic_merge_patch.apply(current, patch, kind_type)
        case "apply":
            raise unsupported_patch("apply")  # an endpoint's document has no owners


def of_own_kind(resource: Resource, kind: PatchType, document: dict[str, Any]) -> dict[str, Any]:
    """Return the patched document under its own kind, which a patch cannot change.

    Upstream sets the kind anew after a strategic patch, and looks for the new one after others.

    Raises:
        UnfitError: it has another kind or version.

    """
    own = {"kind": resource.kind, "apiVersion": resource.api_version}
    given = {name: document.get(name) or own[name] for name in own}
    if given == own:
        return {**document, **own}
    if resource.custom and isinstance(given["kind"], str):
        body.check_custom_kind(document, resource)
    elif kind == "strategic" and all(isinstance(text, str) for text in given.values()):
        return {**document, **own}
    raise body.UnfitError(
        resource,
        f"no kind {quote(str(given['kind']))} is registered for version "
        f'{quote(str(given["apiVersion"]))} in scheme "pkg/api/legacyscheme/scheme.go:30"',
    )


_OPERATION = frozenset({"op", "path", "from", "value"})
"""The fields of one operation of a JSON patch."""


def problems_of(kind: PatchType, patch: Any, raw: bytes) -> list[str]:
    """Return what a strict reader finds wrong with the text of a patch: keys that stand twice.

    A JSON patch has a type of its own, and what its operations do not have is told too.
    """
    duplicates: list[str] = []
    if raw and schema_reader.has_duplicates(raw, patch):
        duplicates = schema_reader.read_all(raw)[1]
    if kind != "json":
        return schema_reader.in_order(duplicates, [], raw)
    operations = patch if isinstance(patch, list) else []
    unknown = [
        f"[{number}].{name}"
        for number, operation in enumerate(operations)
        if isinstance(operation, dict)
        for name in operation
        if name not in _OPERATION
    ]
    known = [path for path in duplicates if path.count(".") == 1]  # a value may hold anything
    return [f"json patch {text}" for text in schema_reader.in_order(known, unknown, raw)]


def unfit_patch(call: Call, kind: PatchType, patch: Any, document: Obj, why: str) -> InvalidError:
    """Make the error of a patch after which the document is not of its kind any more.

    Custom objects are maps to upstream, which it writes in the order of their keys.
    """
    custom, type_ = call.resource.custom, call.resource.type
    if kind == "strategic" and type_ is not None:
        why = conversion_error(type_, document) or why
    option = orjson.OPT_SORT_KEYS if custom else 0
    ordered = dict(sorted(document.items()))
    if not custom and isinstance(document.get("metadata"), Mapping):
        ordered["metadata"] = _as_struct(document["metadata"])
    shown = go_text(patch) if kind == "strategic" else orjson.dumps(ordered, option=option).decode()
    error = Field("patch").invalid(shown, why)
    return InvalidError(invalid_message("", "", [error]), causes=[error.cause()])


def _as_struct(metadata: Obj) -> Obj:
    """Return metadata in the order in which Go writes its fields."""
    first = {name: metadata[name] for name in _METADATA if name in metadata}
    return {**first, **metadata}


_METADATA = (
    "name",
    "generateName",
    "namespace",
    "selfLink",
    "uid",
    "resourceVersion",
    "generation",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "labels",
    "annotations",
    "ownerReferences",
    "finalizers",
    "managedFields",
)


def unsupported_patch(kind: PatchType) -> UnsupportedMediaTypeError:
    """Make the error of a kind of patch that the resource does not take."""
    return _unsupported(tuple(name for name, known in PATCH_TYPES.items() if known != kind))


def _unsupported(known: Sequence[str]) -> UnsupportedMediaTypeError:
    return UnsupportedMediaTypeError(
        "the body of the request was in an unknown format - accepted media types include: "
        + ", ".join(known)
    )
