"""No namespace uses more than its quotas allow.

What a write adds is written into the quotas' status before the write itself, so that of many
writers at the same time none gets what another has taken. Writes to one namespace that come
together are counted together: one of them does the work for all that wait, and each quota is
written once for them. A write that fails afterwards leaves too much counted; the controller, which
counts anew, mends that, as it does after a crash.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from minikube_py.api.core import RESOURCEQUOTAS
from minikube_py.api.core.quota import IGNORED, Change
from minikube_py.api.core.quota_kinds import evaluator_of
from minikube_py.api.errors import ConflictError, InternalError, NotFoundError, StatusError
from minikube_py.api.object import Obj, get
from minikube_py.client.protocol import Client, Lister
from minikube_py.lib.clock import Clock
from minikube_py.server.admission.errors import forbidden
from minikube_py.server.admission.quota_check import Asked, LimitedResource, QuotaError, charged
from minikube_py.server.attributes import Admission, AdmissionPlugin

TRIES_MAX: Final = 4
SECONDS_MAX: Final = 10.0
"""How long a write waits for its turn."""
BATCH_MAX: Final = 200
"""Writes that are counted together."""
_SUBRESOURCES: Final = frozenset({("pods", "resize"), ("persistentvolumeclaims", "status")})
"""The subresources that may change what is used."""


@dataclass(eq=False)
class Waiter:
    """A write that waits to be counted."""

    admission: Admission
    asked: Asked
    done: bool = False
    error: StatusError | None = None

    def settle(self, error: StatusError | None = None) -> None:
        """Note the outcome."""
        self.done, self.error = True, error


@dataclass
class Line:
    """The writes to one namespace that wait; the holder of the lock serves them."""

    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    waiting: list[Waiter] = field(default_factory=list)
    users: int = 0


class ResourceQuota(AdmissionPlugin):
    """Counts what is created, and refuses what does not fit; runs after all others."""

    name = "ResourceQuota"

    def __init__(
        self,
        quotas: Lister,
        client: Callable[[], Client],
        clock: Clock,
        limited: Sequence[LimitedResource] = (),
    ) -> None:
        self._quotas = quotas
        self._client = client
        self._clock = clock
        self._limited = tuple(limited)
        self._lines: dict[str, Line] = {}

    async def validate(self, admission: Admission) -> Sequence[str]:
        """Count a write in the quotas of its namespace."""
        if not admission.namespace or not admission.resource.namespaced:
            return ()
        if not (self._limited or any(self._quotas.items(admission.namespace))):
            return ()
        asked = self._asked(admission)
        if asked is None:
            return ()
        waiter = Waiter(admission, asked)
        try:
            async with asyncio.timeout(SECONDS_MAX):
                await self._in_line(admission.namespace, waiter)
        except TimeoutError:
            raise InternalError("resource quota evaluation timed out") from None
        if waiter.error is not None:
            raise waiter.error
        return ()

    def _asked(self, admission: Admission) -> Asked | None:
        """Return what a write asks of quotas, None for one that changes no use."""
        resource, operation = admission.resource, admission.operation
        if operation not in ("CREATE", "UPDATE") or admission.obj is None:
            return None
        name = resource.group_resource
        if name in IGNORED:
            return None
        if admission.subresource and (name, admission.subresource) not in _SUBRESOURCES:
            return None
        change = Change(
            operation=operation,
            new=admission.obj,
            old=admission.old,
            subresource=admission.subresource,
        )
        evaluator = evaluator_of(name)
        if not evaluator.handles(change):
            return None
        return Asked(name, evaluator, change, self._clock.now(), self._limited)

    def _of(self, namespace: str) -> list[Obj]:
        """Return the quotas of a namespace by name."""
        return [
            item.obj
            for item in sorted(self._quotas.items(namespace), key=lambda found: found.key.name)
        ]

    async def _in_line(self, namespace: str, waiter: Waiter) -> None:
        """Wait until somebody has counted the write, or count it with all that wait."""
        line = self._lines.setdefault(namespace, Line())
        line.users += 1
        line.waiting.append(waiter)
        try:
            async with line.lock:
                while not waiter.done:
                    batch, line.waiting = line.waiting[:BATCH_MAX], line.waiting[BATCH_MAX:]
                    try:
                        await self._count(namespace, batch)
                    finally:
                        line.waiting[:0] = [one for one in batch if not one.done]
        finally:
            if waiter in line.waiting:
                line.waiting.remove(waiter)
            line.users -= 1
            if not line.users:
                self._lines.pop(namespace, None)

    async def _count(self, namespace: str, batch: Sequence[Waiter]) -> None:
        """Settle all waiters: charge the quotas, write those that changed, again after a race.

        After a race only the quotas that lost it are charged again; in the others the writes
        have been counted.
        """
        quotas, open_waiters = self._of(namespace), list(batch)
        failure: StatusError | None = None
        for _ in range(TRIES_MAX):
            before = quotas
            quotas, open_waiters = _charge_all(quotas, open_waiters)
            lost: set[str] = set()
            for old, new in zip(before, quotas, strict=True):
                if _used(old) != _used(new):
                    failure = await self._write(new)
                    if failure is not None:
                        lost.add(new["metadata"]["name"])
            if not lost:
                failure = None
                break
            quotas = [quota for quota in self._of(namespace) if quota["metadata"]["name"] in lost]
        for waiter in open_waiters:
            waiter.settle(failure)

    async def _write(self, quota: Obj) -> StatusError | None:
        """Write the status of a quota; return why that failed."""
        try:
            await self._client().update(RESOURCEQUOTAS, quota, subresource="status")
        except (ConflictError, NotFoundError) as error:
            return error
        return None


def _used(quota: Obj) -> Mapping[str, str]:
    used: Mapping[str, str] = get(quota, "status.used", {})
    return used


def _charge_all(quotas: list[Obj], waiters: Sequence[Waiter]) -> tuple[list[Obj], list[Waiter]]:
    """Charge the quotas with each write that fits; return them and who waits for their writing."""
    charging: list[Waiter] = []
    for waiter in waiters:
        try:
            after = list(charged(quotas, waiter.asked))
        except QuotaError as error:
            waiter.settle(forbidden(waiter.admission, str(error)))
            continue
        if waiter.admission.dry_run or after == quotas:
            waiter.settle()
            continue
        charging.append(waiter)
        quotas = after
    return quotas, charging
