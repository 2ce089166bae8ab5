"""Where a server's member of etcd has its files, its addresses and its certificates.

    <data-dir>/server/db/etcd/    data/ (etcd's own)  name  etcd.log
    <data-dir>/server/tls/        etcd-ca.*  etcd-server.*  etcd-peer.*  etcd-client.*

One authority of etcd's own signs them all: nobody else's certificate opens the datastore.
"""

import secrets
import shutil
import socket
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from minikube_py.lib import authority, net, pki, renewal
from minikube_py.lib.errors import StartError
from minikube_py.lib.fsutil import make_dir, read_if_there, write_atomic
from minikube_py.lib.pki import Pair, Subject
from minikube_py.server import bootstrap
from minikube_py.server.config import ServerConfig

AUTHORITY, AUTHORITY_NAME = "etcd-ca", "kpy-etcd-ca"
AUTHORITY_FILES = ("etcd-ca.key", "etcd-ca-chain.crt", "etcd-ca.crt")
"""The certificate last: whoever has it has the key."""
FOLDER = Path("server/db/etcd")
RESTORED = FOLDER / "restored.db"
"""A snapshot of etcd with which a member begins a new cluster; both are below the data dir."""
LEAVES = ("etcd-server", "etcd-peer", "etcd-client")


@dataclass(frozen=True)
class Layout:
    """One member: who it is, where it is, what it has on disk."""

    folder: Path
    tls: Path
    name: str
    address: str
    client_port: int
    peer_port: int

    @property
    def data(self) -> Path:
        """Etcd's own folder."""
        return self.folder / "data"

    @property
    def restored(self) -> Path:
        """What `kpy snapshot restore` has left for the next start."""
        return self.folder / RESTORED.name

    @property
    def has_data(self) -> bool:
        """Whether the member has been part of a cluster: then etcd asks its own books alone."""
        return any((self.data / "member" / "wal").glob("*.wal"))

    @property
    def client_url(self) -> str:
        """Where clients reach it."""
        return f"https://{net.in_url(self.address)}:{self.client_port}"

    @property
    def peer_url(self) -> str:
        """Where other members reach it."""
        return f"https://{net.in_url(self.address)}:{self.peer_port}"

    @property
    def own(self) -> str:
        """The member as it stands in --initial-cluster."""
        return f"{self.name}={self.peer_url}"

    @property
    def token(self) -> str:
        """What tells a cluster that begins here from one that began here earlier.

        Members of both would otherwise take each other for their own.
        """
        return self.name

    def file(self, name: str) -> Path:
        """Return the path of a certificate or key."""
        return self.tls / name

    def certify(self, now: datetime) -> datetime:
        """Make the certificates that are missing or end soon; return when to look again."""
        make_dir(self.tls)
        ca = authority.ensure_ca(self.tls, AUTHORITY, AUTHORITY_NAME, now)
        names = pki.alternatives(("localhost", "127.0.0.1", "::1", self.address))
        leaves = [self._leaf(name, ca, names, now) for name in LEAVES]
        return renewal.due((leaf.certificate for leaf in leaves), (ca,))

    def _leaf(self, name: str, ca: Pair, names: Sequence[str], now: datetime) -> Pair:
        # etcd reaches itself and other members with what it serves.
        usage: pki.Usage = "client" if name == "etcd-client" else "both"
        subject = Subject(name=f"{name}:{self.name}", alternatives=tuple(names))
        return pki.ensure_leaf(self.tls, name, ca, subject, usage, now=now)

    def command(self, program: str, others: str = "") -> list[str]:
        """Return the command line; `others` is the cluster to join, "" for one's own."""
        own = self.own
        local = f"https://127.0.0.1:{self.client_port}"
        listen = ",".join(dict.fromkeys((self.client_url, local)))
        return [
            program,
            f"--name={self.name}",
            f"--data-dir={self.data}",
            f"--listen-client-urls={listen}",
            f"--advertise-client-urls={self.client_url}",
            f"--listen-peer-urls={self.peer_url}",
            f"--initial-advertise-peer-urls={self.peer_url}",
            f"--initial-cluster={others or own}",
            f"--initial-cluster-token={self.token}",
            f"--initial-cluster-state={'existing' if others else 'new'}",
            f"--cert-file={self.file('etcd-server.crt')}",
            f"--key-file={self.file('etcd-server.key')}",
            f"--trusted-ca-file={self.file('etcd-ca.crt')}",
            "--client-cert-auth",
            f"--peer-cert-file={self.file('etcd-peer.crt')}",
            f"--peer-key-file={self.file('etcd-peer.key')}",
            f"--peer-trusted-ca-file={self.file('etcd-ca.crt')}",
            "--peer-client-cert-auth",
            "--logger=zap",
        ]

    def applied(self, config: ServerConfig) -> ServerConfig:
        """Return the options with this member as the datastore."""
        return replace(
            config,
            datastore_endpoint=f"https://127.0.0.1:{self.client_port}",
            datastore_cafile=str(self.file("etcd-ca.crt")),
            datastore_certfile=str(self.file("etcd-client.crt")),
            datastore_keyfile=str(self.file("etcd-client.key")),
        )


def is_managed(config: ServerConfig) -> bool:
    """Tell whether a server runs a member: it is told to, or did so before."""
    return bool(config.cluster_init or config.server) or (config.data_dir / FOLDER).exists()


def layout_of(config: ServerConfig, host: str, addresses: Sequence[str]) -> Layout:
    """Return the layout of a server's member; its name is made once.

    `host` and `addresses` are those of the node on this machine, where there is one.
    """
    folder = make_dir(config.data_dir / FOLDER)
    return Layout(
        folder=folder,
        tls=config.data_dir / "server" / "tls",
        name=_name(folder, host or socket.gethostname()),
        address=_address(config, addresses),
        client_port=config.etcd_client_port,
        peer_port=config.etcd_peer_port,
    )


def _address(config: ServerConfig, addresses: Sequence[str]) -> str:
    if not net.is_unspecified(config.bind_address):
        return config.bind_address
    return bootstrap.advertise_address(config, addresses)


def _name(folder: Path, host: str) -> str:
    """Return the name of the member: the host's and some letters that no other member has."""
    kept = (read_if_there(folder / "name") or b"").decode().strip()
    if kept:
        return kept
    name = f"{host}-{secrets.token_hex(4)}"
    write_atomic(folder / "name", name.encode())
    return name


def node_of(member: str) -> str:
    """Return the host that a member's name says."""
    return member.rpartition("-")[0]


def find_program(data_dir: Path) -> str:
    """Return the path of etcd; raises StartError where there is none."""
    own, found = _found(data_dir, "etcd")
    if not found:
        raise StartError(
            f"etcd is missing; install it (apt-get install etcd-server) or put it at {own}"
        )
    return found


def find_restorer(data_dir: Path) -> str:
    """Return the path of the program that makes a member of a snapshot.

    Raises:
        StartError: there is none.

    """
    for name in ("etcdutl", "etcdctl"):  # etcdctl did it until etcd 3.5
        own, found = _found(data_dir, name)
        if found:
            return found
    raise StartError(
        "etcdutl is missing, which restores snapshots; install it (etcdctl before etcd 3.6: apt-get"
        f" install etcd-client) or put it at {own.with_name('etcdutl')}"
    )


def _found(data_dir: Path, name: str) -> tuple[Path, str | None]:
    """Return where a program of the data dir would be, and where one is."""
    own = data_dir / "bin" / name
    return own, str(own) if own.exists() else shutil.which(name)
