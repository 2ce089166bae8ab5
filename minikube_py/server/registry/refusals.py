"""The refusals of the registry, in upstream's words (apimachinery's `api/errors`)."""

import itertools
from collections.abc import Iterable, Sequence

from minikube_py.api import names
from minikube_py.api.errors import (
    AlreadyExistsError,
    BadRequestError,
    ConflictError,
    InvalidError,
    NotFoundError,
    StatusError,
)
from minikube_py.api.fields import Field, FieldError, invalid_message, quote
from minikube_py.api.object import Obj
from minikube_py.api.resource import Resource
from minikube_py.server.registry.deletion import details_of

ERRORS_MAX = 1_000
"""Errors of one object that are told."""
_STORED_APART = {
    "replicationcontrollers": "controllers",
    "endpoints": "services/endpoints",
    "nodes": "minions",
    "services": "services/specs",
    "ingresses.networking.k8s.io": "ingress",
}
"""Kinds whose place in upstream's storage has a name of its own."""
_STORED_BY_GROUP = ("apiregistration.k8s.io", "apiextensions.k8s.io")


def check_resource_version(resource: Resource, new: Obj, old: Obj) -> None:
    """Raise where the writer has seen another state of the object."""
    current = old["metadata"]
    version = new["metadata"].get("resourceVersion")
    if version == current["resourceVersion"]:
        return
    if not version or version == "0":
        if resource.allow_unconditional_update:
            return
        error = Field("metadata.resourceVersion").invalid(0, "must be specified for an update")
        raise _unconditional(resource, current["name"], error)
    if not (version.isascii() and version.isdigit()):
        raise _no_number(version)
    raise modified(resource, current["name"])


def _unconditional(resource: Resource, name: str, error: FieldError) -> InvalidError:
    """Make the one 422 that names the resource where others name the kind."""
    details = {"name": name, "group": resource.group, "kind": resource.plural}
    return InvalidError(
        invalid_message(resource.group_resource, name, [error]),
        details={key: value for key, value in details.items() if value},
        causes=[error.cause()],
    )


def versioned_already() -> StatusError:
    """Make upstream's answer to a new object with a resourceVersion: a 500 without a reason."""
    error = StatusError("resourceVersion should not be set on objects to be created")
    error.reason = ""
    return error


def _no_number(version: str) -> StatusError:
    """Make upstream's answer to a resourceVersion that is no number: a 500 without a reason."""
    error = StatusError(f'strconv.ParseUint: parsing "{version}": invalid syntax')
    error.reason = ""
    return error


def check_uid(resource: Resource, new: Obj, old: Obj) -> None:
    """Raise where the writer replaces another object of the same name."""
    uid, current = new["metadata"].get("uid"), old["metadata"]
    if uid and uid != current.get("uid"):
        raise conflict(
            resource,
            current["name"],
            f"StorageError: invalid object, Code: 4, Key: {_storage_key(resource, current)}, "
            f"ResourceVersion: 0, AdditionalErrorMsg: Precondition failed: UID in precondition: "
            f"{uid}, UID in object meta: {current.get('uid')}",
        )


def _storage_key(resource: Resource, metadata: Obj) -> str:
    """Return where upstream stores an object."""
    place = _STORED_APART.get(resource.group_resource, resource.plural)
    if resource.custom or resource.group in _STORED_BY_GROUP:
        place = f"{resource.group}/{resource.plural}"
    parts = ["/registry", place, metadata.get("namespace"), metadata["name"]]
    return "/".join(part for part in parts if part)


def not_found(resource: Resource, name: str) -> NotFoundError:
    """Make the error that an object is absent."""
    if resource.kind == "ComponentStatus":  # upstream names it so
        details = {"kind": "componentstatus", "name": name}
        return NotFoundError(f"componentstatus {quote(name)} not found", details=details)
    return NotFoundError(
        f"{resource.group_resource} {quote(name)} not found",
        details=details_of(resource, name),
    )


def check_name(name: str) -> None:
    """Raise where the name of a path can be that of no object."""
    if "%" in name or name in (".", ".."):
        why = ";".join(names.path_segment(name))
        raise BadRequestError(f"Name parameter invalid: {quote(name)}: {why}")


def already_exists(resource: Resource, name: str, *, ending: bool = False) -> AlreadyExistsError:
    """Make the error that an object is there; `ending` tells that it is being deleted."""
    prefix = "object is being deleted: " if ending else ""
    return AlreadyExistsError(
        f'{prefix}{resource.group_resource} "{name}" already exists',
        details=details_of(resource, name),
    )


def conflict(resource: Resource, name: str, why: str) -> ConflictError:
    """Make the error that the object is not as the writer thinks."""
    return ConflictError(
        f'Operation cannot be fulfilled on {resource.group_resource} "{name}": {why}',
        details=details_of(resource, name),
    )


def modified(resource: Resource, name: str) -> ConflictError:
    """Make the error that somebody else wrote first."""
    return conflict(
        resource,
        name,
        "the object has been modified; please apply your changes to the latest version "
        "and try again",
    )


def invalid(resource: Resource, name: str, errors: Sequence[FieldError]) -> InvalidError:
    """Make the 422 of an object's errors, in the name of the stored kind."""
    stored = resource.storage.resource if resource.storage is not None else resource
    details = {"name": name, "group": stored.group, "kind": stored.kind}
    return InvalidError(
        invalid_message(stored.group_kind, name, errors),
        details={key: value for key, value in details.items() if value},
        causes=[error.cause() for error in errors],
    )


def mismatched_namespace() -> BadRequestError:
    """Make the error that body and path name different namespaces."""
    return BadRequestError(
        "the namespace of the provided object does not match the namespace sent on the request"
    )


def first_errors(*errors: Iterable[FieldError]) -> list[FieldError]:
    """Return the errors; of an absurd number the first ones, which is all that anybody reads."""
    return list(itertools.islice(itertools.chain(*errors), ERRORS_MAX))
