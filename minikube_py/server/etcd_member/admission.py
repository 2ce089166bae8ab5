"""How a server lets another one's member into the cluster of etcd.

The member is added as a learner: it has no vote, so a server that never comes, or takes long to
catch up, costs the others nothing. Asked twice, it is the same member. One that is there already
and comes without its data has lost it: it is removed and added anew.
"""

import logging
from collections.abc import Mapping
from typing import Any

from minikube_py.api.errors import BadRequestError, NotFoundError, ServiceUnavailableError
from minikube_py.datastore.etcd.connection import Connection, EtcdError
from minikube_py.datastore.etcd.endpoint import etcd_endpoint
from minikube_py.datastore.kv import UnavailableError
from minikube_py.lib.fsutil import read_if_there
from minikube_py.server.config import ServerConfig
from minikube_py.server.etcd_member.layout import AUTHORITY_FILES, is_managed

log = logging.getLogger(__name__)
Member = Mapping[str, Any]


async def admit(config: ServerConfig, wanted: Mapping[str, Any]) -> dict[str, Any]:
    """Add a member; return the authority and whom it joins.

    Raises:
        NotFoundError: this server runs no member.
        ServiceUnavailableError: it cannot be added now; ask again.

    """
    if not is_managed(config):
        raise NotFoundError(
            "this server runs no etcd to join; start the first one with --cluster-init"
        )
    name, peer_url = wanted.get("name"), wanted.get("peerURL")
    if not isinstance(name, str) or not isinstance(peer_url, str) or not name or not peer_url:
        raise BadRequestError("the request has no name and peerURL of a member")
    connection = Connection(etcd_endpoint(config.datastore_endpoint, config.datastore_tls))
    try:
        members = await _added(connection, name, peer_url)
    except (UnavailableError, EtcdError) as error:
        raise ServiceUnavailableError(f"etcd takes no member now: {error}") from error
    finally:
        await connection.close()
    folder = config.data_dir / "server" / "tls"
    files = {one: read_if_there(folder / one) for one in AUTHORITY_FILES}
    return {
        "authority": {one: data.decode() for one, data in files.items() if data is not None},
        "cluster": _cluster(members, name, peer_url),
        "clients": [url for one in members for url in one.get("clientURLs", ())],
    }


async def _added(connection: Connection, name: str, peer_url: str) -> list[Member]:
    members = await listed(connection)
    here = next((one for one in members if peer_url in one.get("peerURLs", ())), None)
    if here is not None and here.get("name"):
        log.warning("member of etcd has lost its data, it joins anew name=%s", here["name"])
        await connection.call("Cluster", "MemberRemove", {"ID": here["ID"]})
        here = None
    if here is None:
        request = {"peerURLs": [peer_url], "isLearner": True}
        await connection.call("Cluster", "MemberAdd", request)
        log.info("member of etcd added name=%s peer=%s", name, peer_url)
    return await listed(connection)


async def listed(connection: Connection) -> list[Member]:
    """Return the members of a cluster; those that never started have no name."""
    answer = await connection.call("Cluster", "MemberList", {}, again=True)
    return list(answer.get("members", ()))


def _cluster(members: list[Member], name: str, peer_url: str) -> str:
    """Return what etcd is told as --initial-cluster: all members, by whatever name."""
    named = (
        (name if url == peer_url else one.get("name") or f"{one['ID']:x}", url)
        for one in members
        for url in one.get("peerURLs", ())
    )
    return ",".join(f"{who}={url}" for who, url in named)
