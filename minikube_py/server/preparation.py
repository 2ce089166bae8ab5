"""What a server does before it runs: alone it makes what is missing, beside others it shares it."""

import asyncio
from collections.abc import Sequence

from minikube_py.datastore.history import history_of
from minikube_py.datastore.kv import DatastoreError
from minikube_py.datastore.open import is_shared, open_backend
from minikube_py.lib.clock import Clock
from minikube_py.lib.errors import StartError
from minikube_py.lib.fsutil import make_dir
from minikube_py.server import bootstrap, cluster_material
from minikube_py.server.bootstrap import Bootstrap
from minikube_py.server.config import ServerConfig
from minikube_py.server.encryption.files import Files
from minikube_py.server.encryption.keeper import Keeper

TRIES_MAX = 10
"""Servers that start on an empty datastore at the same time; all but one try again."""


async def prepared(
    config: ServerConfig, clock: Clock, *, node_name: str = "", node_addresses: Sequence[str] = ()
) -> Bootstrap:
    """Return the material of this server, with the keys of its cluster.

    Raises:
        StartError: files, the datastore or the token cannot be used.

    """

    def prepare() -> Bootstrap:
        return bootstrap.prepare(
            config, node_name=node_name, node_addresses=node_addresses, now=clock.now()
        )

    if not is_shared(config.datastore_endpoint):
        return prepare()
    folder = make_dir(make_dir(config.data_dir, 0o711) / "server")
    made_here = not cluster_material.read(folder)
    try:
        backend = await open_backend(
            config.datastore_endpoint, data_dir=config.data_dir, tls=config.datastore_tls
        )
    except DatastoreError as error:
        raise StartError(str(error)) from error
    try:
        for _ in range(TRIES_MAX):
            await cluster_material.join(backend, folder, config.token, yields=made_here)
            material = await asyncio.to_thread(prepare)
            files = Files.of(folder, config.encryption_provider_config)
            await Keeper(backend, history_of(backend), files, clock).start()
            if await cluster_material.publish(backend, folder):
                return material
    except DatastoreError as error:
        raise StartError(f"datastore: {error}") from error
    finally:
        await backend.close()
    raise StartError("other servers change the keys of the cluster all the time; try again")
