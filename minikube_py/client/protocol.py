"""The one way to a cluster: in process a function call, on a worker HTTPS, with equal meaning."""

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, Protocol

from minikube_py.api.item import Item
from minikube_py.api.object import Key, Obj
from minikube_py.api.resource import Resource

PatchType = Literal["json", "merge", "strategic", "apply"]
EventType = Literal["ADDED", "MODIFIED", "DELETED", "BOOKMARK"]


@dataclass(frozen=True)
class ItemList:
    """A listing and the revision from which a watch continues it."""

    items: Sequence[Item]
    revision: int
    continue_: str = ""


class WatchEvent(NamedTuple):
    """One event of a watch; of a BOOKMARK only `item.revision` means something."""

    type: EventType
    item: Item


def bookmark(revision: int) -> WatchEvent:
    """Return the event that tells nothing but how far the watch has come."""
    return WatchEvent("BOOKMARK", Item({"metadata": {"name": ""}}, b"", revision, {}))


class Client(Protocol):
    """The verbs. All raise a child of `StatusError` where the server refuses.

    Network failures raise `ServiceUnavailableError`, so that a caller retries on one family.
    """

    async def get(self, resource: Resource, name: str, namespace: str = "") -> Obj:
        """Return one object."""

    async def list(
        self,
        resource: Resource,
        namespace: str = "",
        *,
        label_selector: str = "",
        field_selector: str = "",
        limit: int = 0,
        continue_: str = "",
    ) -> ItemList:
        """Return the objects of a namespace, or of all where it is ""."""

    def watch(
        self,
        resource: Resource,
        namespace: str = "",
        *,
        revision: int,
        label_selector: str = "",
        field_selector: str = "",
    ) -> AsyncIterator[Sequence[WatchEvent]]:
        """Yield what changes after a revision, in batches, bookmarks included.

        Ends when the server ends the watch; raises ExpiredError where the revision is too old.
        """

    async def read(self, path: str, query: Mapping[str, str] | None = None) -> Obj:
        """Return the document at a path of the API.

        For what has no `Resource` at hand: a subresource, or a kind that another server answers
        for, such as the metrics of an aggregated API.
        """

    async def remove(self, path: str) -> None:
        """Delete what is at a path of the API, in the background: an object, or a whole list.

        For a kind that another server answers for; what has a `Resource` is deleted by that.
        """

    async def create(
        self, resource: Resource, obj: Obj, *, subresource: str = "", name: str = ""
    ) -> Obj:
        """Create the object in the namespace that its metadata names; return it as stored.

        With a subresource (`binding`, `eviction`, `token`) `name` is the parent's name.
        """

    async def update(self, resource: Resource, obj: Obj, *, subresource: str = "") -> Obj:
        """Replace the object; its resourceVersion, where given, must be the current one."""

    async def patch(  # noqa: PLR0913 -- the verb has that many parts
        self,
        resource: Resource,
        name: str,
        patch: Any,
        namespace: str = "",
        *,
        patch_type: PatchType = "merge",
        subresource: str = "",
        field_manager: str = "",
        force: bool = False,
    ) -> Obj:
        """Change part of the object; return it as stored."""

    async def delete(
        self, resource: Resource, name: str, namespace: str = "", *, options: Obj | None = None
    ) -> Obj:
        """Delete the object; `options` is a DeleteOptions document."""

    async def delete_collection(
        self,
        resource: Resource,
        namespace: str = "",
        *,
        label_selector: str = "",
        field_selector: str = "",
        options: Obj | None = None,
    ) -> None:
        """Delete all objects that match."""


class Lister(Protocol):
    """What a cache of one kind answers, at once and without waiting.

    The server's watch cache and a client's informer are listers alike.
    """

    @property
    def revision(self) -> int:
        """The revision up to which the cache has seen everything; rises with every change."""

    def get(self, key: Key) -> Obj | None:
        """Return one object, or None."""

    def item(self, key: Key) -> Item | None:
        """Return the item of one object, or None."""

    def items(self, namespace: str = "") -> Iterable[Item]:
        """Return the items of a namespace, or of all where it is ""; in no order."""

    def owned_by(self, uid: str) -> Sequence[Obj]:
        """Return the objects with an ownerReference to that uid; found by an index."""
