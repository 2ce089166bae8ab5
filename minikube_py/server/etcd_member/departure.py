"""The member of a dead server goes when its node is deleted, as with k3s.

A member that never comes back still counts when the others ask what most of them are. One that
answers is left alone, whatever became of its node.
"""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from typing import Any

from minikube_py.api.core import NODES
from minikube_py.datastore.etcd.connection import Connection, EtcdError
from minikube_py.datastore.etcd.endpoint import etcd_endpoint
from minikube_py.datastore.kv import DatastoreError
from minikube_py.server.config import ServerConfig
from minikube_py.server.etcd_member.admission import listed
from minikube_py.server.etcd_member.layout import node_of
from minikube_py.server.registry.cache import Cache
from minikube_py.server.registry.changes import Change

log = logging.getLogger(__name__)


async def follow(cache: Cache, config: ServerConfig) -> None:
    """Remove the members of servers whose nodes are deleted; never returns."""
    gone: set[str] = set()
    woken = asyncio.Event()

    def look(changes: Sequence[Change]) -> None:
        for change in changes:
            if change.deleted:
                gone.add(change.item.key.name)
                woken.set()

    stop = cache.kind(NODES).subscribe(look)
    try:
        while True:
            await woken.wait()
            woken.clear()
            while gone:
                await remove(config, gone.pop())
    finally:
        stop()


async def remove(config: ServerConfig, node: str) -> None:
    """Remove the members that ran on a node and answer no more."""
    connection = Connection(etcd_endpoint(config.datastore_endpoint, config.datastore_tls))
    try:
        for member in await listed(connection):
            if node_of(member.get("name", "")) != node:
                continue
            if await _answers(config, member):
                log.warning("member of etcd stays, it is alive name=%s", member["name"])
                continue
            await connection.call("Cluster", "MemberRemove", {"ID": member["ID"]})
            log.info("member of etcd removed with its node name=%s", member["name"])
    except EtcdError as error:
        log.info("member of etcd not removed node=%s: %s", node, error)  # another server was faster
    finally:
        await connection.close()


async def _answers(config: ServerConfig, member: Mapping[str, Any]) -> bool:
    urls = ",".join(member.get("clientURLs", ()))
    if not urls:
        return False
    connection = Connection(etcd_endpoint(urls, config.datastore_tls))
    try:
        await connection.call("Maintenance", "Status", {})
    except DatastoreError:
        return False
    finally:
        await connection.close()
    return True
