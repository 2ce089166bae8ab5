"""Keeps what has an end from ending: renews it in time, for as long as the program runs."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterable
from datetime import datetime, timedelta

from minikube_py.lib import authority, pki
from minikube_py.lib.clock import Clock
from minikube_py.lib.pki import Certificate, Pair
from minikube_py.lib.tasks import StoppedError, unless

AT_LEAST = timedelta(hours=1)
"""Between two renewals that nothing but the time asks for: no certificate is worth a hot loop."""


def due(leaves: Iterable[Certificate], authorities: Iterable[Pair] = ()) -> datetime:
    """Return when the first of these has to be renewed."""
    return min(
        *(leaf.not_valid_after_utc - pki.RENEW_BEFORE for leaf in leaves),
        *(ca.certificate.not_valid_after_utc - authority.RENEW_BEFORE for ca in authorities),
    )


async def keep(
    renew: Callable[[], Awaitable[datetime]],
    first: datetime,
    clock: Clock,
    changed: asyncio.Event | None = None,
) -> None:
    """Renew for ever: at `first`, then when `renew` says; when the clock is set; on `changed`."""
    changed = changed or asyncio.Event()
    moment = first
    while True:
        with contextlib.suppress(StoppedError):
            await unless(changed, "renewal", clock.until(moment))
        changed.clear()
        began = clock.now()  # where the clock is set meanwhile, what was done may not do
        moment = max(await renew(), began + AT_LEAST)
