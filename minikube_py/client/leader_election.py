"""Leader election: of several that could do a work, the one that holds a Lease does it.

No clock of another machine is believed. A contender notes on its own clock when it saw the Lease
change, and takes it when it then has not changed for as long as it says it lasts (15 s). The
leader counts from before it sent its last good renewal, and stops working after 10 s. So it has
stopped 5 s before anybody else begins, however far apart the clocks and however slow the server.
The rules, numbers and events are client-go's.
"""

import asyncio
import logging
import random
import socket
import uuid
from collections.abc import Callable, Coroutine, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from minikube_py.api import times
from minikube_py.api.coordination import LEASES
from minikube_py.api.errors import ConflictError, NotFoundError, StatusError
from minikube_py.api.object import Key, Obj, get
from minikube_py.client.events import Recorder
from minikube_py.client.protocol import Client
from minikube_py.lib import prometheus
from minikube_py.lib.clock import Clock
from minikube_py.lib.tasks import Nursery, StoppedError, restarting, unless

log = logging.getLogger(__name__)
JITTER = 1.2
"""A contender looks again after the retry period and up to this much of it more."""
RELEASED_SECONDS = 1
"""How long a Lease lasts that its holder gave up; nobody holds it, so nobody waits."""
GRACE_SECONDS = 20.0
"""A leader that has not renewed for the length of a Lease and this long is not healthy."""


@dataclass(frozen=True, kw_only=True)
class Terms:
    """The durations of an election, in seconds; the defaults are upstream's."""

    lease: int = 15
    """How long others wait for a leader that is silent."""
    renew: float = 10.0
    """How long a leader works on without a renewal; less than `lease`."""
    retry: float = 2.0
    """How long between two renewals, or two attempts."""


@dataclass(frozen=True, kw_only=True)
class Contender:
    """Who takes part in an election, and for what."""

    lease: Key
    """The Lease that is fought for, such as `kube-system/cloud-controller-manager`."""
    identity: str
    """Tells this contender from all others, those before a restart included."""
    client: Client
    events: Recorder
    """Its events are about the Lease; somebody runs it."""


def new_identity() -> str:
    """Return a name that nobody else has, in upstream's form."""
    return f"{socket.gethostname()}_{uuid.uuid4()}"


class LeaderElector:
    """One contender in one election."""

    def __init__(self, contender: Contender, clock: Clock, terms: Terms | None = None) -> None:
        self.contender = contender
        self._clock = clock
        self._terms = terms or Terms()
        self._lease: Obj | None = None
        """What the server had when it was last asked."""
        self._seen = 0.0
        """When the spec of the Lease was first seen as it is."""
        self._good_until = 0.0
        """Until when the last renewal lets us work."""
        self.leading = False
        """Whether the work is ours now."""

    async def run(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Wait until we lead, and work; return or raise as soon as the work does.

        The work is cancelled when the lead is lost, and begun anew when it is won again. The
        Lease is given up when the work has ended, for whatever reason, so that the next
        contender need not wait.
        """
        while True:
            await self._win()
            try:
                await self._lead(work)
            except StoppedError:
                log.warning("lead lost lease=%s", self.contender.lease)
            else:
                return

    async def _win(self) -> None:
        terms = self._terms
        while not await self._attempt(terms.renew):
            await self._clock.sleep(terms.retry * (1 + JITTER * random.random()))  # noqa: S311

    async def _lead(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Work until that ends; raises StoppedError where the lead was lost."""
        name, lost = f"lead {self.contender.lease.name}", asyncio.Event()
        self.leading = True
        self._tell("became leader")
        try:
            async with Nursery(name) as nursery:
                nursery.start(f"{name} renewal", self._renew(lost))
                await unless(lost, name, work())
        finally:
            self.leading = False
            self._tell("stopped leading")
            await self._release()

    async def _renew(self, lost: asyncio.Event) -> None:
        try:
            while (left := self._good_until - self._clock.monotonic()) > 0:
                await self._clock.sleep(min(self._terms.retry, left))
                left = self._good_until - self._clock.monotonic()
                if left > 0 and not await self._attempt(left) and not self._is_ours():
                    return
        finally:
            lost.set()

    async def _attempt(self, seconds: float) -> bool:
        """Take or renew the Lease; return whether it is ours."""
        began = self._clock.monotonic()
        try:
            async with asyncio.timeout(seconds):
                taken = await self._take()
        except (StatusError, TimeoutError) as error:
            log.debug("lease not taken lease=%s error=%r", self.contender.lease, error)
            return False
        if taken:
            self._good_until = began + self._terms.renew
        return taken

    async def _take(self) -> bool:
        if self._lease is not None and self._is_ours():
            try:
                return await self._write(self._lease)
            except (ConflictError, NotFoundError) as error:
                log.debug("lease changed meanwhile error=%s", error)
        contender, (namespace, name) = self.contender, self.contender.lease
        try:
            lease = await contender.client.get(LEASES, name, namespace)
        except NotFoundError:
            self._observe(await contender.client.create(LEASES, self._new()))
            return True
        self._observe(lease)
        return self._is_free() and await self._write(lease)

    def _observe(self, lease: Obj) -> None:
        """Note what the Lease says, and when it began to say so."""
        if self._lease is None or lease.get("spec") != self._lease.get("spec"):
            self._seen = self._clock.monotonic()
        self._lease = lease

    def _is_ours(self) -> bool:
        return _holder(self._lease) == self.contender.identity

    def _is_free(self) -> bool:
        if self._is_ours() or not _holder(self._lease):
            return True
        lasts = get(self._lease, "spec.leaseDurationSeconds", self._terms.lease)
        return bool(self._clock.monotonic() >= self._seen + lasts)

    async def _write(self, lease: Obj) -> bool:
        spec = {**(lease.get("spec") or {}), **self._claim()}
        if _holder(lease) == self.contender.identity:
            spec["acquireTime"] = get(lease, "spec.acquireTime", spec["acquireTime"])
        else:
            spec["leaseTransitions"] = get(lease, "spec.leaseTransitions", 0) + 1
        self._observe(await self.contender.client.update(LEASES, {**lease, "spec": spec}))
        return True

    def _claim(self) -> dict[str, Any]:
        now = times.now_micros(self._clock)
        return {
            "holderIdentity": self.contender.identity,
            "leaseDurationSeconds": self._terms.lease,
            "acquireTime": now,
            "renewTime": now,
        }

    def _new(self) -> Obj:
        namespace, name = self.contender.lease
        return {
            "apiVersion": LEASES.api_version,
            "kind": LEASES.kind,
            "metadata": {"name": name, "namespace": namespace},
            "spec": {**self._claim(), "leaseTransitions": 0},
        }

    async def _release(self) -> None:
        """Leave the Lease to nobody, where it still is ours; who cannot be told must wait."""
        if self._lease is None or not self._is_ours():
            return
        spec = {
            **self._lease["spec"],
            **self._claim(),
            "holderIdentity": "",
            "leaseDurationSeconds": RELEASED_SECONDS,
        }
        lease, self._lease = self._lease, None
        try:
            async with asyncio.timeout(self._terms.retry):
                await self.contender.client.update(LEASES, {**lease, "spec": spec})
        except (StatusError, TimeoutError) as error:
            log.info("lease not released lease=%s error=%r", self.contender.lease, error)

    def _tell(self, what: str) -> None:
        identity = self.contender.identity
        log.info("election lease=%s identity=%s %s", self.contender.lease, identity, what)
        about = self._lease if self._lease is not None else self._new()
        self.contender.events.record(about, "Normal", "LeaderElection", f"{identity} {what}")

    def problem(self) -> str | None:
        """Return what is wrong where we lead and the Lease has run out; for /healthz."""
        late = self._clock.monotonic() - self._good_until + self._terms.renew - self._terms.lease
        if not self.leading or late <= GRACE_SECONDS:
            return None
        name = self.contender.lease.name
        return f"failed election to renew leadership on lease {name}"


def metrics(electors: Iterable[LeaderElector]) -> Iterator[str]:
    """Yield whether they lead, as Prometheus reads it."""
    values = [({"name": one.contender.lease.name}, int(one.leading)) for one in electors]
    if values:
        yield from prometheus.metric(
            "leader_election_master_status",
            "gauge",
            "Whether the process is the leader of the election of that name: 1 or 0.",
            values,
        )


def elector_of(
    lease: Key, client: Client, clock: Clock, terms: Terms | None = None
) -> LeaderElector:
    """Return a contender of this process; its events come from the component of that name."""
    events = Recorder(client, lease.name, clock)
    contender = Contender(lease=lease, identity=new_identity(), client=client, events=events)
    return LeaderElector(contender, clock, terms)


async def run_elected(
    elector: LeaderElector, work: Callable[[], Coroutine[Any, Any, None]]
) -> None:
    """Run `work` whenever we lead, and write the events of the election; until cancelled."""
    name = elector.contender.lease.name
    async with Nursery(f"election {name}") as nursery:
        events = elector.contender.events
        nursery.start(f"{name} events", restarting(f"{name} events", events.run))
        await elector.run(work)


def _holder(lease: Obj | None) -> str:
    return get(lease, "spec.holderIdentity", "") if lease is not None else ""
