"""What a plan consists of: writes as values, which a test compares and an executor carries out."""

from dataclasses import dataclass, field
from typing import Any, Literal

from minikube_py.api.object import Key, Obj
from minikube_py.api.resource import Resource
from minikube_py.client.protocol import PatchType


@dataclass(frozen=True)
class Create:
    """Create an object.

    With `announce` the outcome is told by an event on that object, in the words of upstream's
    pod control: "Created pod: x", or "Error creating: why".
    """

    resource: Resource
    obj: Obj
    announce: Obj | None = None
    subresource: str = ""
    name: str = ""
    """Name of the parent, with a subresource."""


@dataclass(frozen=True)
class Update:
    """Replace an object; it carries the resourceVersion that it was made from."""

    resource: Resource
    obj: Obj
    subresource: str = ""


def update_status(resource: Resource, obj: Obj) -> Update:
    """Replace the status of an object."""
    return Update(resource, obj, "status")


@dataclass(frozen=True)
class Patch:
    """Change part of an object."""

    resource: Resource
    key: Key
    patch: Any
    patch_type: PatchType = "merge"
    subresource: str = ""
    missing_ok: bool = False
    """An object that is gone is no error."""


@dataclass(frozen=True)
class Delete:
    """Delete the object of that key if it still has the uid; one that is gone is no error."""

    resource: Resource
    key: Key
    uid: str
    announce: Obj | None = None
    options: Obj = field(default_factory=dict)
    """More of DeleteOptions: propagationPolicy, gracePeriodSeconds, further preconditions."""


@dataclass(frozen=True)
class Emit:
    """Record an event about an object."""

    obj: Obj
    type: Literal["Normal", "Warning"]
    reason: str
    message: str


Write = Create | Update | Patch | Delete
Action = Write | Emit
