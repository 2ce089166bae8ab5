"""Has this node answer for the addresses of services that it was chosen for.

Who answers for what stands in the services (`api/announcements.py`). A node that answers for
nothing waits for that to change and does nothing else.
"""

import asyncio
import logging
from collections.abc import Iterable

from minikube_py.agent.network import announced
from minikube_py.api.announcements import ANNOUNCED_BY, addresses_of_node
from minikube_py.api.core import SERVICES
from minikube_py.api.item import Item
from minikube_py.api.object import annotations_of
from minikube_py.client.informer import Informers
from minikube_py.lib.clock import Clock

log = logging.getLogger(__name__)
INDEX = "announced by"
RENEW_SECONDS = 10.0
AGAIN_SECONDS = 1.0
"""An announcement is made twice: the first may be lost (RFC 5227 has two as well)."""
_MARK = ANNOUNCED_BY.encode()


def announcer(item: Item) -> Iterable[str]:
    """Return the node that a service names; hardly any names one, so few are parsed."""
    if _MARK not in item.data:
        return ()
    name = annotations_of(item.obj).get(ANNOUNCED_BY)
    return (name,) if name else ()


async def run_announcements(
    informers: Informers, node_name: str, node_ip: str, clock: Clock
) -> None:
    """Answer for what services say; runs until it is cancelled, and what it did lapses then."""
    services = informers.get(SERVICES)
    await services.wait_synced()
    services.add_index(INDEX, announcer)
    changed = asyncio.Event()
    changed.set()

    def notice(old: Item | None, new: Item | None) -> None:
        if any(item is not None and node_name in announcer(item) for item in (old, new)):
            changed.set()

    unsubscribe = services.subscribe(notice)
    held = announced.is_there()  # something may be left of an earlier life
    try:
        while True:
            await changed.wait()
            changed.clear()
            named = (item.obj for item in services.indexed(INDEX, node_name))
            wanted = addresses_of_node(named, node_name)
            if wanted or held:
                await _keep(wanted, node_ip, clock)
            held = bool(wanted)
            if held:
                await _rest(changed, clock)
    finally:
        unsubscribe()


async def _rest(changed: asyncio.Event, clock: Clock) -> None:
    """Wait until something changes, or addresses are to be renewed."""
    timer = clock.call_later(RENEW_SECONDS, changed.set)
    try:
        await changed.wait()
    finally:
        timer.cancel()


async def _keep(wanted: set[str], node_ip: str, clock: Clock) -> None:
    uplink = await asyncio.to_thread(announced.uplink_of, node_ip)
    if uplink is None:
        log.warning("addresses not announced: no link has the node's address ip=%s", node_ip)
        return
    fresh = await asyncio.to_thread(announced.keep, wanted, uplink)
    if not fresh:
        return
    log.info("addresses announced link=%s addresses=%s", uplink.name, ",".join(fresh))
    await asyncio.to_thread(announced.announce, fresh, uplink)
    await clock.sleep(AGAIN_SECONDS)
    await asyncio.to_thread(announced.announce, fresh, uplink)
