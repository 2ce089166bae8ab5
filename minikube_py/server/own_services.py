"""The objects that the server itself answers for come back when somebody deletes or bends them.

`default/kubernetes` is how pods find the API server, `kube-system/kube-dns` how they find DNS, the
config map `extension-apiserver-authentication` how aggregated API servers know whom we trust; none
has a controller but the server. Upstream looks every ten seconds; here a change wakes us.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import NamedTuple

from minikube_py.api.core import CONFIGMAPS, ENDPOINTS, SERVICES
from minikube_py.api.endpointslices import ENDPOINTSLICES
from minikube_py.api.object import key_of
from minikube_py.client.protocol import Client
from minikube_py.server.bootstrap_objects import Wanted, ensure
from minikube_py.server.registry.cache import Cache
from minikube_py.server.registry.changes import Change

KINDS = (CONFIGMAPS, SERVICES, ENDPOINTS, ENDPOINTSLICES)


class Changing(NamedTuple):
    """Objects that are not the same for ever."""

    newest: Callable[[], Sequence[Wanted]]
    subscribe: Callable[[Callable[[], None]], None]
    """Has a function called at every change."""


async def keep(
    cache: Cache, client: Client, wanted: Sequence[Wanted], changing: Sequence[Changing]
) -> None:
    """Restore the server's own objects whenever they change; never returns."""
    changed = asyncio.Event()
    for one in changing:
        one.subscribe(changed.set)

    def newest() -> list[Wanted]:
        present = [item for one in changing for item in one.newest()]
        known = {(item.resource, key_of(item.obj)) for item in present}
        fixed = [item for item in wanted if item.resource in KINDS]
        return [*(i for i in fixed if (i.resource, key_of(i.obj)) not in known), *present]

    keys = {key_of(item.obj) for item in newest()}

    def look(changes: Sequence[Change]) -> None:
        if any(change.item.key in keys for change in changes):
            changed.set()

    stops = [cache.kind(kind).subscribe(look) for kind in KINDS]
    try:
        while True:
            await changed.wait()
            changed.clear()
            await ensure(client, newest())
    finally:
        for stop in stops:
            stop()
