"""The etcd API of a control plane's own datastore, where it is asked for.

Whoever may use it is above the API server: nothing is authorized, validated or admitted. So it
takes clients with a certificate of the cluster's authority that names `system:masters`, as the
administrator's does, and nobody else. Values are as they are stored, sealed ones included.
"""

import functools
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from minikube_py.datastore.kv import Backend
from minikube_py.datastore.open import size_bytes
from minikube_py.datastore.tls_files import TlsFiles
from minikube_py.lib.clock import Clock
from minikube_py.server.bootstrap import Bootstrap
from minikube_py.server.config import ServerConfig

GROUP = "system:masters"


@asynccontextmanager
async def etcd_face(
    config: ServerConfig,
    bootstrap: Bootstrap,
    backend: Backend,
    clock: Clock,
    report: Callable[[str], None],
) -> AsyncIterator[None]:
    """Serve the etcd API for the length of the block; does nothing where it is not asked for.

    Raises:
        StartError: an address cannot be listened on.

    """
    if not config.etcd_listen_client_urls:
        yield
        return
    from minikube_py.datastore.face.serving import (  # noqa: PLC0415 -- few clusters serve it
        Listening,
        serving,
    )

    tls = TlsFiles(
        ca=str(bootstrap.client_ca.certificate_path),
        certificate=str(bootstrap.serving.certificate_path),
        key=str(bootstrap.serving.key_path),
    )
    listening = Listening(config.etcd_listen_client_urls, bootstrap.node_name, tls, GROUP)
    size = functools.partial(size_bytes, config.datastore_endpoint, config.data_dir)
    async with serving(backend, listening, size, clock):
        report(f"etcd's API is served on {', '.join(config.etcd_listen_client_urls)}")
        yield
