"""What a kind needs beyond its pure rules when it is written: I/O, allocation, other objects.

A hook is found by the kind's group resource in one visible mapping that the composition root
builds. What a failed write had allocated is given back by `undo`.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from minikube_py.api.object import Obj
from minikube_py.api.resource import Resource
from minikube_py.server.attributes import AuditAnnotations, Operation, User

if TYPE_CHECKING:
    from minikube_py.server.registry.store import Store

Undo = Callable[[], Awaitable[None]]


async def nothing() -> None:
    """Undo nothing."""


@dataclass(frozen=True)
class View:
    """What a subresource with a kind of its own shows of an object, such as its Scale.

    Admission sees and changes that, not the object behind it.
    """

    of: Callable[[Obj], Obj]
    into: Callable[[Obj, Obj], Obj]
    """(shown, object) -> the object with what is shown."""


@dataclass(frozen=True, kw_only=True)
class Write:
    """One request to write, as the registry sees it."""

    user: User
    resource: Resource
    operation: Operation
    namespace: str = ""
    name: str = ""
    subresource: str = ""
    dry_run: bool = False
    trusted: bool = False
    """The server itself makes the change (a binding): the kind's rules of updates do not apply,
    and admission has seen what was asked for."""
    view: View | None = None
    applied: bool = False
    """A server-side apply: the change itself brings the managed fields."""
    field_manager: str = ""
    """Who owns what is written; "" tracks nothing."""
    of_collection: bool = False
    """Part of a deletecollection: admission is told of no name."""
    options: Obj = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    """Collected for the client; with the annotations what grows of a request."""
    annotations: AuditAnnotations = field(default_factory=AuditAnnotations)
    """Collected for the audit log."""


class Hook(Protocol):
    """What one kind needs when it is written."""

    async def before_create(self, store: "Store", write: Write, obj: Obj) -> tuple[Obj, Undo]:
        """Return the object with what was allocated for it."""

    async def before_update(
        self, store: "Store", write: Write, new: Obj, old: Obj
    ) -> tuple[Obj, Undo]:
        """Return the new object with what was allocated for it."""

    async def after_write(self, store: "Store", new: Obj | None, old: Obj | None) -> None:
        """Give back what the write made superfluous; `new` is None after a removal."""
