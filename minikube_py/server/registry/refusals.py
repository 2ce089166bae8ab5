"""The refusals of the registry, in upstream's words (apimachinery's `api/errors`)."""

from collections.abc import Sequence

from minikube_py.api.errors import (
    AlreadyExistsError,
    BadRequestError,
    ConflictError,
    InvalidError,
    NotFoundError,
)
from minikube_py.api.fields import FieldError, invalid_message
from minikube_py.api.object import Obj
from minikube_py.api.resource import Resource
from minikube_py.server.registry.deletion import details_of


def check_resource_version(resource: Resource, new: Obj, old: Obj) -> None:
    """Raise where the writer has seen another object, or another state of it."""
    given, current = new["metadata"], old["metadata"]
    version = given.get("resourceVersion")
    if not version and not resource.allow_unconditional_update:
        error = FieldError(
            "FieldValueInvalid",
            "metadata.resourceVersion",
            "Invalid value: 0: must be specified for an update",
        )
        raise invalid(resource, current["name"], [error])
    if version and version != current["resourceVersion"]:
        raise modified(resource, current["name"])
    uid = given.get("uid")
    if uid and uid != current.get("uid"):
        raise conflict(
            resource,
            current["name"],
            f"Precondition failed: UID in precondition: {uid}, "
            f"UID in object meta: {current.get('uid')}",
        )


def not_found(resource: Resource, name: str) -> NotFoundError:
    """Make the error that an object is absent."""
    return NotFoundError(
        f'{resource.group_resource} "{name}" not found',
        details=details_of(resource, name),
    )


def already_exists(resource: Resource, name: str) -> AlreadyExistsError:
    """Make the error that an object is there."""
    return AlreadyExistsError(
        f'{resource.group_resource} "{name}" already exists',
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
