"""The runtime of controllers: queues, workers, back-off and what a `reconcile` is given.

A controller is level based: an event only says at which key to look. `reconcile` reads the caches,
computes a plan with a pure function, applies it, and may return in how many seconds it wants to
look again. Whatever it raises is retried with a growing wait; nothing it raises ends the process.
"""

import asyncio
import functools
import logging
from collections.abc import Awaitable, Callable, Hashable, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, Protocol

from minikube_py.api.errors import ConflictError, NotFoundError, StatusError
from minikube_py.api.item import Item
from minikube_py.api.object import Obj
from minikube_py.api.resource import Resource
from minikube_py.client.actions import Action
from minikube_py.client.events import Recorder
from minikube_py.client.everything import Everything
from minikube_py.client.executor import Executor, is_terminating
from minikube_py.client.informer import Informer, Informers
from minikube_py.client.protocol import Client
from minikube_py.client.workqueue import SECONDS, WorkQueue
from minikube_py.lib.clock import Clock
from minikube_py.lib.prometheus import Histogram
from minikube_py.lib.tallies import Tallies
from minikube_py.lib.tasks import Nursery

if TYPE_CHECKING:
    from minikube_py.lib.pki import Pair

log = logging.getLogger(__name__)
RECONCILE_SECONDS = 300.0
"""No single look at a key may take longer; the largest namespaces are deleted in several."""
REST_FACTOR, REST_SECONDS_MAX = 4.0, 0.25
"""After a look a key rests four times as long as that took: what is large, or slow because all are
busy, is looked at less often, and a small object is not held up. Upstream has the same effect from
a limit of 20 requests a second for all its controllers."""


class TryAgainError(Exception):
    """Something outside of the cluster failed, or is not done yet: the key is looked at again.

    Where `seconds` is given, after that time, and that is no failure.
    """

    def __init__(self, message: str, seconds: float | None = None) -> None:
        super().__init__(message)
        self.seconds = seconds


LOOKS_MAX, STREAK_SECONDS = 100, 1.0
"""So many looks at a key, each within a second of the one before, follow each other as they come;
then the key rests after each for the longest time.

Two controllers that undo each other's work (or one and the kubelet) would go on as fast as the
machine can; this way they do so four times a second, which their metrics show.
"""


class Load:
    """How much a controller has to do, and how long it takes."""

    def __init__(self, queue: WorkQueue[Hashable]) -> None:
        self.queue = queue
        self.seconds = Histogram(SECONDS)


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What controllers are told beside the objects of the cluster."""

    root_ca: str = ""
    """PEM of the certificates that clients in pods trust the API server by."""
    authority: Callable[[str], "Pair"] | None = None
    """Returns an authority by name (`client-ca`, `cluster-ca`); None where nobody here signs."""
    legacy_token: Callable[[Obj, Obj], str] | None = None
    """(secret, account) -> the token that the Secret is to hold; None where nobody here signs."""
    own_names: frozenset[str] = frozenset()
    """Names and addresses of the API server, which nobody else may have a certificate for."""
    cluster_cidr: str = "10.42.0.0/16"
    """The network that nodes get their pods' addresses from."""
    node_monitor_grace_seconds: float = 50.0
    """A node whose Lease is older is not ready; upstream's default since v1.32."""
    autoscaler_sync_seconds: float = 15.0
    """How often a horizontal pod autoscaler looks at its metrics."""
    loads: dict[str, "Load"] = field(default_factory=dict)
    """Where each controller leaves its load, by name, for whoever wants to look."""
    tallies: Tallies = field(default_factory=Tallies)
    """Where controllers count what Prometheus asks for."""
    terminated_pods_max: int = 12500
    """Finished pods beyond this many are deleted, oldest first."""


@dataclass(frozen=True, kw_only=True)
class Identity:
    """With what a controller works: its rights, its events, its clock."""

    client: Client
    events: Recorder
    clock: Clock
    settings: Settings


class Context:
    """All that one controller may use."""

    def __init__(self, identity: Identity, informers: Informers, everything: Everything) -> None:
        self.client = identity.client
        self.events = identity.events
        self.clock = identity.clock
        self.settings = identity.settings
        self.tallies = identity.settings.tallies
        self.informers = informers
        self.everything = everything
        self.memory: dict[Any, Any] = {}
        """What the controller remembers between two looks; a restart forgets it."""
        self._executor = Executor(identity.client, informers, identity.events)

    def lister(self, resource: Resource) -> Informer:
        """Return the cache of a kind."""
        return self.informers.get(resource)

    def now(self) -> datetime:
        """Return the wall time."""
        return self.clock.now()

    async def apply(self, actions: Iterable[Action]) -> list[Obj]:
        """Carry out a plan; returns when the caches show what was written."""
        return await self._executor.apply(actions)


KeysOf = Callable[[Item | None, Item | None, Context], Iterable[Hashable]]
"""(old, new, context) -> the keys to look at after a change; old or new is None."""
AnyKeysOf = Callable[[Resource, Item | None, Item | None, Context], Iterable[Hashable]]
Reconcile = Callable[[Any, Context], Awaitable[float | None]]
"""(key, context) -> in how many seconds to look again, or None. Keys are mostly `Key`."""


@dataclass(frozen=True)
class Also:
    """Another kind whose changes make a controller look."""

    resource: Resource
    keys: KeysOf


@dataclass(frozen=True, kw_only=True)
class Controller:
    """One control loop."""

    name: str
    """As upstream names it: `replicaset-controller`; its events come from that component."""
    user: str = ""
    """The service account in kube-system that it acts as, where not called like it."""
    watches: Resource | None = None
    reconcile: Reconcile
    owns: tuple[Resource, ...] = ()
    """Kinds whose objects lead to their owner by ownerReference."""
    also: tuple[Also, ...] = ()
    anything: AnyKeysOf | None = None
    """Called for changes of every kind."""
    reads: tuple[Resource, ...] = ()
    """Kinds that are only read; their changes start nothing."""
    workers: int = 5
    start: Callable[[Context], None] | None = None
    """Called once before the first event: the place to add indexes."""

    async def run(self, context: Context) -> None:
        """Run the loop; never ends by itself."""
        await _Loop(self, context).run()


class Part(Protocol):
    """What a process of controllers runs; a Controller is one."""

    @property
    def name(self) -> str:
        """What it is called in logs and events."""

    @property
    def user(self) -> str:
        """The service account that it acts as; "" for the one called like it."""

    async def run(self, context: Context) -> None:
        """Work until cancelled."""


class _Loop:
    """One controller at work."""

    def __init__(self, controller: Controller, context: Context) -> None:
        self._controller = controller
        self._context = context
        self._queue: WorkQueue[Hashable] = WorkQueue(context.clock)
        self._ends: list[Callable[[], None]] = []
        self._load = context.settings.loads[controller.name] = Load(self._queue)
        self._streaks: dict[Hashable, tuple[float, int]] = {}
        """When each key was last looked at, and how many looks followed each other closely."""

    async def run(self) -> None:
        controller = self._controller
        try:
            if controller.start is not None:
                controller.start(self._context)
            await self._sync()
            self._subscribe()
            async with Nursery(controller.name) as nursery:
                for number in range(controller.workers):
                    nursery.start(f"{controller.name} {number}", self._work())
                await nursery.join()
        finally:
            self._queue.close()
            for end in self._ends:
                end()

    async def _sync(self) -> None:
        controller = self._controller
        others = (also.resource for also in controller.also)
        own = (controller.watches,) if controller.watches is not None else ()
        resources = (*own, *controller.owns, *others, *controller.reads)
        await self._context.informers.synced(resources)
        if controller.anything is not None:
            await self._context.everything.wait_synced()

    def _subscribe(self) -> None:
        controller, context = self._controller, self._context
        if controller.watches is not None:
            owners = context.lister(controller.watches)
            self._ends.append(owners.subscribe(self._changed))
            for resource in controller.owns:
                handler = functools.partial(self._owned_changed, owners)
                self._ends.append(context.lister(resource).subscribe(handler))
        for also in controller.also:
            handler = functools.partial(self._also_changed, also.keys)
            self._ends.append(context.lister(also.resource).subscribe(handler))
        if controller.anything is not None:
            handler_of_any = functools.partial(self._any_changed, controller.anything)
            self._ends.append(context.everything.subscribe(handler_of_any))

    def _changed(self, old: Item | None, new: Item | None) -> None:
        item = new or old
        if item is not None:
            self._queue.add(item.key)

    def _owned_changed(self, owners: Informer, old: Item | None, new: Item | None) -> None:
        uids = {uid for item in (old, new) if item is not None for uid in item.owners}
        for uid in uids:
            owner = owners.with_uid(uid)
            if owner is not None:
                self._queue.add(owner.key)

    def _also_changed(self, keys: KeysOf, old: Item | None, new: Item | None) -> None:
        for key in keys(old, new, self._context):
            self._queue.add(key)

    def _any_changed(
        self, keys: AnyKeysOf, resource: Resource, old: Item | None, new: Item | None
    ) -> None:
        for key in keys(resource, old, new, self._context):
            self._queue.add(key)

    async def _work(self) -> None:
        clock = self._context.clock
        while True:
            key = await self._queue.get()
            start = clock.monotonic()
            try:
                await self._look(key)
            finally:
                took = clock.monotonic() - start
                self._load.seconds.observe(took)
                self._queue.done(key, rest=self._rest(key, took))

    def _rest(self, key: Hashable, took: float) -> float:
        """Return how long a key rests after a look."""
        now = self._context.clock.monotonic()
        last, looks = self._streaks.pop(key, (now, 0))
        looks = looks + 1 if now - last - took <= STREAK_SECONDS else 1
        self._streaks[key] = now, looks
        while now - next(iter(self._streaks.values()))[0] > STREAK_SECONDS:
            del self._streaks[next(iter(self._streaks))]
        return REST_SECONDS_MAX if looks > LOOKS_MAX else min(took * REST_FACTOR, REST_SECONDS_MAX)

    async def _look(self, key: Hashable) -> None:
        name = self._controller.name
        try:
            async with asyncio.timeout(RECONCILE_SECONDS):
                again = await self._controller.reconcile(key, self._context)
        except (ConflictError, NotFoundError) as error:
            log.debug("object changed meanwhile controller=%s key=%s error=%s", name, key, error)
            self._queue.retry(key)
        except StatusError as error:
            if is_terminating(error):
                return  # the deletion of the namespace is an event too
            log.warning("reconcile failed controller=%s key=%s error=%s", name, key, error)
            self._queue.retry(key)
        except TryAgainError as error:
            log.warning("looking again later controller=%s key=%s error=%s", name, key, error)
            self._again(key, error.seconds)
        except Exception:
            log.exception("reconcile failed controller=%s key=%s", name, key)
            self._queue.retry(key)
        else:
            self._queue.forget(key)
            if again is not None:
                self._queue.add_after(key, again)

    def _again(self, key: Hashable, seconds: float | None) -> None:
        if seconds is None:
            self._queue.retry(key)
        else:
            self._queue.forget(key)
            self._queue.add_after(key, seconds)
