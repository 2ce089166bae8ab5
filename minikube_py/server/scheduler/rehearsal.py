"""Plugins in front of a cluster at rest: to see that they can be made, and what they would say.

Nothing is written: there is no cluster behind the client, and what a plugin starts does not run.
"""

from collections.abc import Callable, Coroutine, Iterable
from typing import Any, NoReturn

from minikube_py.api.resource import Resource
from minikube_py.client.events import Recorder
from minikube_py.client.protocol import Lister
from minikube_py.client.store import ItemStore
from minikube_py.lib.clock import Clock, SystemClock
from minikube_py.server.scheduler.cache import Cache
from minikube_py.server.scheduler.extender import Extenders
from minikube_py.server.scheduler.framework import Handle, Waiting


class NoCluster:
    """A client of nothing: every verb raises."""

    def __getattr__(self, verb: str) -> NoReturn:
        raise RuntimeError(f"{verb}: nothing is asked or written in a rehearsal")


class NobodyWaits:
    """No pod waits for permission."""

    def get(self, _: str) -> Waiting | None:
        """Return none."""
        return None

    def all(self) -> Iterable[Waiting]:
        """Return none."""
        return ()


def rehearsal(
    cache: Cache | None = None,
    lister: Callable[[Resource], Lister] | None = None,
    clock: Clock | None = None,
) -> Handle:
    """Return a handle for plugins that are only asked; without listers all kinds are empty."""
    stores: dict[str, Lister] = {}
    at = clock or SystemClock()
    client: Any = NoCluster()
    return Handle(
        client=client,
        lister=lister or (lambda kind: stores.setdefault(kind.path(), ItemStore())),
        clock=at,
        events=Recorder(client, "", at),
        waiting=NobodyWaits(),
        activate=lambda _: None,
        start=_never,
        cache=cache or Cache(),
        extenders=Extenders(()),
    )


def _never(_: str, work: Coroutine[Any, Any, None]) -> None:
    work.close()
