"""All kinds that are stored, as one graph by uid: what garbage collection and namespaces follow.

The graph is nothing but the informers' own indexes: who has this uid, and who names it as owner.
Kinds that join the scheme later are followed from then on.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from minikube_py.api.item import Item
from minikube_py.api.resource import Resource
from minikube_py.api.scheme import Scheme
from minikube_py.client.informer import Informer, Informers

AnyHandler = Callable[[Resource, Item | None, Item | None], None]
NEEDED = frozenset({"list", "watch", "delete"})
IGNORED = frozenset({"events", "events.events.k8s.io"})
"""Upstream's garbage collector ignores these too: they own nothing, and there are many."""


class Found(NamedTuple):
    """An item and its kind."""

    resource: Resource
    item: Item


def is_stored(resource: Resource) -> bool:
    """Tell whether objects of this resource are stored, and stored in this version."""
    return resource.storage is None and set(resource.verbs) >= NEEDED


def is_followed(resource: Resource) -> bool:
    """Tell whether objects of this resource may own or be owned."""
    return is_stored(resource) and resource.group_resource not in IGNORED


class Everything:
    """The informers of every kind that can be listed, watched and deleted."""

    def __init__(self, informers: Informers, scheme: Scheme) -> None:
        self.scheme = scheme
        self._informers = informers
        self._handlers: list[AnyHandler] = []
        self._followed: dict[str, Informer] = {}
        self._informer_of: dict[str, Informer] = {}
        self._begun = False
        """Whether somebody follows; kinds that come later are followed only then."""
        scheme.subscribe(self._scheme_changed)

    def _scheme_changed(self, resource: Resource, there: bool) -> None:  # noqa: FBT001
        """Follow a kind that came and drop one that went."""
        path = resource.path()
        if there:
            if self._begun and path not in self._followed and is_followed(resource):
                self._follow(resource)
            elif path in self._followed and not is_followed(resource):
                self._drop(resource)
        elif path in self._followed:
            self._drop(resource)

    def _drop(self, resource: Resource) -> None:
        """Follow a kind no longer; its objects may be followed in another version by now."""
        del self._followed[resource.path()]
        moved = self.scheme.by_group_plural(resource.group, resource.plural) is not None
        self._informers.forget(resource, gone=not moved)

    def _all(self) -> Sequence[Informer]:
        self._begun = True
        for resource in self.scheme:
            if resource.path() not in self._followed and is_followed(resource):
                self._follow(resource)
        return tuple(self._followed.values())

    def _follow(self, resource: Resource) -> None:
        informer = self._followed[resource.path()] = self._informers.get(resource)

        def tell(old: Item | None, new: Item | None) -> None:
            if new is not None:
                self._informer_of[new.uid] = informer
            elif old is not None:
                self._informer_of.pop(old.uid, None)
            for handler in tuple(self._handlers):
                handler(resource, old, new)

        informer.subscribe(tell)

    async def wait_synced(self) -> None:
        """Follow all kinds there are now and wait for their first listings."""
        for informer in self._all():
            await informer.wait_synced()

    def subscribe(self, handler: AnyHandler) -> Callable[[], None]:
        """Call the handler for all there is and every change from now on; return the way out."""
        for informer in self._all():
            for item in informer.items():
                handler(informer.resource, None, item)
        self._handlers.append(handler)
        return lambda: self._handlers.remove(handler)

    def with_uid(self, uid: str) -> Found | None:
        """Return the object with that uid, or None."""
        informer = self._informer_of.get(uid)
        item = informer.with_uid(uid) if informer is not None else None
        return Found(informer.resource, item) if informer is not None and item else None

    def owned_by(self, uid: str) -> Iterator[Found]:
        """Yield the objects of any kind with an ownerReference to that uid."""
        for informer in tuple(self._followed.values()):
            for item in informer.items_owned_by(uid):
                yield Found(informer.resource, item)
