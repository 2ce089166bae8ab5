"""The five kinds of patch on the newest object."""

from collections.abc import Sequence
from typing import Any

import orjson

from minikube_py.api.errors import InvalidError, UnsupportedMediaTypeError
from minikube_py.api.fields import Field, invalid_message
from minikube_py.api.object import Obj
from minikube_py.api.patch import json_patch, merge_patch, strategic_merge_patch
from minikube_py.api.patch.go_text import go_text
from minikube_py.client.protocol import PatchType
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


def unfit_patch(
    kind: PatchType, patch: Any, document: Obj, why: str, *, custom: bool
) -> InvalidError:
    """Make the error of a patch after which the document is not of its kind any more.

    Custom objects are maps to upstream, which it writes in the order of their keys.
    """
    option = orjson.OPT_SORT_KEYS if custom else 0
    text = orjson.dumps(dict(sorted(document.items())), option=option).decode()
    shown = go_text(patch) if kind == "strategic" else text
    error = Field("patch").invalid(shown, why)
    return InvalidError(invalid_message("", "", [error]), causes=[error.cause()])


def unsupported_patch(kind: PatchType) -> UnsupportedMediaTypeError:
    """Make the error of a kind of patch that the resource does not take."""
    return _unsupported(tuple(name for name, known in PATCH_TYPES.items() if known != kind))


def _unsupported(known: Sequence[str]) -> UnsupportedMediaTypeError:
    return UnsupportedMediaTypeError(
        "the body of the request was in an unknown format - accepted media types include: "
        + ", ".join(known)
    )
