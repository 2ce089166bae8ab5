"""Managed fields stay readable, whatever a mutating webhook makes of them."""

from collections.abc import Sequence
from typing import Any

from minikube_py.api.object import Obj
from minikube_py.server.registry.hooks import Write

_INVALID_OWNERS = (
    ".metadata.managedFields was in an invalid state after admission; this could be caused by an "
    "outdated mutating admission controller; please fix your requests: "
)


def with_valid_owners(write: Write, admitted: Obj, obj: Obj) -> Obj:
    """Return the object after admission, with the owners from before where they are nonsense now.

    The rule and the words are apiserver's `fieldmanager/admission`.
    """
    after, before = _owners(admitted), _owners(obj)
    why = _wrong_owners(after) if after is not before else ""
    if not why:
        return admitted
    write.warnings.append(_INVALID_OWNERS + why)
    metadata = {key: v for key, v in admitted["metadata"].items() if key != "managedFields"}
    return {**admitted, "metadata": {**metadata, **({"managedFields": before} if before else {})}}


def _owners(obj: Obj) -> Any:
    return (obj.get("metadata") or {}).get("managedFields")


def _wrong_owners(entries: Sequence[Obj] | None) -> str:
    for number, entry in enumerate(entries or ()):
        if entry.get("operation") not in ("Apply", "Update"):
            return "operation must be `Apply` or `Update`"
        if not entry.get("apiVersion"):
            return "apiVersion must not be empty"
        kind = entry.get("fieldsType")
        if not kind:
            return f"missing fieldsType in managed fields entry {number}"
        if kind != "FieldsV1":
            return f'invalid fieldsType "{kind}" in managed fields entry {number}'
    return ""
