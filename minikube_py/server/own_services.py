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
    """An object that is not the same for ever."""

    newest: Callable[[], Wanted]
    subscribe: Callable[[Callable[[], None]], None]
    """Has a function called at every change."""


async def keep(cache: Cache, client: Client, wanted: Sequence[Wanted], changing: Changing) -> None:
    """Restore the server's own objects whenever they change; never returns."""
    kept = key_of(changing.newest().obj)
    own = [item for item in wanted if item.resource in KINDS and key_of(item.obj) != kept]
    keys = {kept, *(key_of(item.obj) for item in own)}
    changed = asyncio.Event()
    changing.subscribe(changed.set)

    def look(changes: Sequence[Change]) -> None:
        if any(change.item.key in keys for change in changes):
            changed.set()

    stops = [cache.kind(kind).subscribe(look) for kind in KINDS]
    try:
        while True:
            await changed.wait()
            changed.clear()
            await ensure(client, [*own, changing.newest()])
    finally:
        for stop in stops:
            stop()
