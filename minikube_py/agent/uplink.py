"""How a node reaches the servers of its cluster: as whom, and which of them."""

from pathlib import Path

from minikube_py.agent.join import Membership
from minikube_py.client.config import ClientConfig
from minikube_py.client.http import HttpClient
from minikube_py.client.servers import SERVER_NAME, Servers


def servers_of(member: Membership, folder: Path) -> Servers:
    """Return the servers that a member knows, as kept in its folder; raises StartError."""
    return Servers(member.server, folder / "servers.json")


class Uplink:
    """The servers that a member of a cluster knows, and clients of whichever works."""

    def __init__(self, member: Membership, folder: Path) -> None:
        """Take where the list of servers is kept; raises StartError where it cannot be read."""
        self.servers = servers_of(member, folder)
        self._member = member

    @property
    def config(self) -> ClientConfig:
        """How to be the node's kubelet."""
        return self._config(self._member.kubelet)

    def _config(self, pair: tuple[Path, Path]) -> ClientConfig:
        certificate, key = pair
        return ClientConfig(
            server=self._member.server,
            ca_file=self._member.cluster_ca,
            certificate_file=certificate,
            key_file=key,
            tls_server_name=SERVER_NAME,
        )

    def kubelet(self) -> HttpClient:
        """Return a client as system:node:<name>; the caller closes it."""
        return HttpClient(self.config, self.servers.dial, managed_fields=False)

    def proxy(self) -> HttpClient:
        """Return a client as system:kube-proxy; the caller closes it."""
        config = self._config(self._member.proxy)
        return HttpClient(config, self.servers.dial, managed_fields=False)
