"""The five kinds of patch on the newest object."""

from typing import Any

from minikube_py.api import schema
from minikube_py.api.errors import BadRequestError, InvalidError, UnsupportedMediaTypeError
from minikube_py.api.object import Obj
from minikube_py.api.patch import PatchError, json_patch, merge_patch, strategic_merge_patch
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
        raise UnsupportedMediaTypeError(
            "the body of the request was in an unknown format - accepted media types include: "
            + ", ".join(PATCH_TYPES)
        )
    return kind


def patched(call: Call, kind: PatchType, current: Obj, patch: Any) -> dict[str, Any]:
    """Return the patched document, not yet checked against its kind."""
    try:
        match kind:
            case "json":
                document: Any = json_patch.apply(current, patch)
            case "merge":
                document = merge_patch.apply(current, patch)
            case "strategic":
                if not call.resource.schema:
                    raise UnsupportedMediaTypeError(
                        "the body of the request was in an unknown format - accepted media types "
                        "include: application/json-patch+json, application/merge-patch+json, "
                        "application/apply-patch+yaml"
                    )
                kind_of = schema.type_of(call.resource.schema)
                document = strategic_merge_patch.apply(current, patch, kind_of)
            case "apply":
                raise BadRequestError("server-side apply is handled before")
    except PatchError as error:
        raise _refused(error) from error
    if not isinstance(document, dict):
        raise BadRequestError("the patch does not leave an object")
    return document


def _refused(error: PatchError) -> BadRequestError | InvalidError:
    return BadRequestError(str(error))
