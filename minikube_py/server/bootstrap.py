"""What a control plane needs on disk before it listens: authorities, certificates, keys, a token.

`prepare` may be killed at any point and called again: it keeps what fits and makes what is
missing. Two authorities rather than one, so that a serving certificate can never pass as a user.
"""

import base64
import logging
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path

import yaml

from minikube_py.lib import authority, net, pki, renewal
from minikube_py.lib.errors import StartError
from minikube_py.lib.fsutil import make_dir, read_if_there, write_atomic
from minikube_py.lib.pki import Pair, Subject
from minikube_py.server import join_tokens
from minikube_py.server.config import ServerConfig

log = logging.getLogger(__name__)
ADMIN = Subject(name="kubernetes-admin", organizations=("system:masters",))
KUBELET_CLIENT = Subject(name="kube-apiserver-kubelet-client", organizations=("system:masters",))
FRONT_PROXY_CLIENT = Subject(name="front-proxy-client")
LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
TOKEN_PREFIX = "K10"  # noqa: S105 -- the mark of the token's format, k3s' own
AUTHORITIES: Mapping[str, str] = {
    "cluster-ca": "kpy-cluster-ca",
    "client-ca": "kpy-client-ca",
    "front-proxy-ca": "kpy-front-proxy-ca",
}
"""Name of the files of each authority, and its common name."""
DNS_INDEX = 10
"""The cluster DNS has the tenth address of the service network, by old custom."""


@dataclass(frozen=True)
class Bootstrap:
    """The material of one control plane; loaded, and with its paths."""

    folder: Path
    """`<data-dir>/server`."""
    cluster_ca: Pair
    """Signs serving certificates; what `kube-root-ca.crt` holds."""
    client_ca: Pair
    """Signs client certificates."""
    front_proxy_ca: Pair
    serving: Pair
    admin: Pair
    kubelet_client: Pair
    """What the API server shows to kubelets."""
    front_proxy_client: Pair
    service_account_key: pki.SigningKey = field(repr=False)
    token: str = field(repr=False)
    """The secret that agents join with, in full form."""
    kubeconfig: Path
    advertise_address: str
    node_name: str = ""
    """Name of the node beside this control plane, "" without one."""
    node_addresses: tuple[str, ...] = ()

    @property
    def due(self) -> datetime:
        """When the first certificate has to be renewed."""
        leaves = (self.serving, self.admin, self.kubelet_client, self.front_proxy_client)
        return renewal.due(
            (pair.certificate for pair in leaves),
            (self.cluster_ca, self.client_ca, self.front_proxy_ca),
        )

    def newest(self, now: datetime) -> "Bootstrap":
        """Return the same with the authorities as they are now."""
        cluster, client, front = (self.authority(name, now) for name in AUTHORITIES)
        return replace(self, cluster_ca=cluster, client_ca=client, front_proxy_ca=front)

    @property
    def own_names(self) -> frozenset[str]:
        """The names and addresses by which others know the API server; loopback is everybody's."""
        return frozenset(pki.alternatives_of(self.serving.certificate) - LOOPBACK)

    def authority(self, name: str, now: datetime) -> Pair:
        """Return an authority as it is now, `cluster-ca` for one: it may have been replaced."""
        return authority.ensure_ca(self.folder / "tls", name, AUTHORITIES[name], now)


def prepare(
    config: ServerConfig, *, node_name: str = "", node_addresses: Sequence[str] = (), now: datetime
) -> Bootstrap:
    """Load what is there, make what is missing, renew what ends soon, write the kubeconfig.

    Raises:
        StartError: the data dir or a file in it cannot be used, or an option makes no sense.

    """
    mode = _file_mode(config.write_kubeconfig_mode)
    folder = make_dir(make_dir(config.data_dir, 0o711) / "server")
    tls = make_dir(folder / "tls")
    advertise = advertise_address(config, node_addresses)
    cluster_ca, client_ca, front_ca = (
        authority.ensure_ca(tls, name, common_name, now)
        for name, common_name in AUTHORITIES.items()
    )
    names = serving_names(config, advertise, (node_name, *node_addresses))
    serving = Subject(name="kube-apiserver", alternatives=names)
    bootstrap = Bootstrap(
        folder=folder,
        cluster_ca=cluster_ca,
        client_ca=client_ca,
        front_proxy_ca=front_ca,
        serving=pki.ensure_leaf(tls, "apiserver", cluster_ca, serving, "server", now=now),
        admin=pki.ensure_leaf(tls, "admin", client_ca, ADMIN, "client", now=now),
        kubelet_client=pki.ensure_leaf(
            tls, "apiserver-kubelet-client", client_ca, KUBELET_CLIENT, "client", now=now
        ),
        front_proxy_client=pki.ensure_leaf(
            tls, "front-proxy-client", front_ca, FRONT_PROXY_CLIENT, "client", now=now
        ),
        service_account_key=pki.ensure_signing_key(tls / "service-account.key"),
        token=_token(folder / "token", config.token, cluster_ca),
        kubeconfig=config.write_kubeconfig,
        advertise_address=advertise,
        node_name=node_name,
        node_addresses=tuple(node_addresses),
    )
    _write_kubeconfig(bootstrap, config, mode)
    return bootstrap


@dataclass(frozen=True)
class NodeCertificates:
    """What one node is given: to serve its kubelet with, and to speak to the API server with."""

    serving: Pair
    client: Pair


def node_certificates(
    bootstrap: Bootstrap, folder: Path, node_name: str, addresses: Sequence[str], *, now: datetime
) -> NodeCertificates:
    """Keep the certificates of the node on this machine in `folder`; renew what ends soon."""
    make_dir(folder)
    subject, serving = node_subjects(node_name, addresses)
    return NodeCertificates(
        serving=pki.ensure_leaf(
            folder, "kubelet-serving", bootstrap.cluster_ca, serving, "server", now=now
        ),
        client=pki.ensure_leaf(
            folder, "kubelet-client", bootstrap.client_ca, subject, "client", now=now
        ),
    )


def node_subjects(node_name: str, addresses: Sequence[str]) -> tuple[Subject, Subject]:
    """Return whom the client and the serving certificate of a node are for."""
    name = f"system:node:{node_name}"
    names = pki.alternatives((node_name, "localhost", "127.0.0.1", *addresses))
    return (
        Subject(name=name, organizations=("system:nodes",)),
        Subject(name=name, organizations=("system:nodes",), alternatives=names),
    )


def advertise_address(config: ServerConfig, node_addresses: Sequence[str] = ()) -> str:
    """Return the address that others reach the API server at."""
    if config.advertise_address:
        if not net.is_address(config.advertise_address):
            raise StartError(
                f"--advertise-address {config.advertise_address!r} is no IP address; pass one"
            )
        return config.advertise_address
    if not net.is_address(config.bind_address):
        raise StartError(f"--bind-address {config.bind_address!r} is no IP address; pass one")
    bound = config.bind_address
    if not net.is_unspecified(bound) and not net.is_loopback(bound):
        return bound
    return next(iter(node_addresses), "") or net.default_route_address() or "127.0.0.1"


def serving_names(config: ServerConfig, advertise: str, more: Sequence[str]) -> tuple[str, ...]:
    """Return the names and addresses that the API server's certificate holds."""
    return pki.alternatives(
        (
            "localhost",
            "kubernetes",
            "kubernetes.default",
            "kubernetes.default.svc",
            f"kubernetes.default.svc.{config.cluster_domain}",
            "127.0.0.1",
            "::1",
            advertise,
            kubernetes_service_ip(config),
            *more,
            *config.tls_san,
        )
    )


def kubernetes_service_ip(config: ServerConfig) -> str:
    """Return the ClusterIP of default/kubernetes: the first of the service network."""
    return _service_address(config, 1)


def cluster_dns_ip(config: ServerConfig) -> str:
    """Return the address of the cluster DNS."""
    return config.cluster_dns or _service_address(config, DNS_INDEX)


def _service_address(config: ServerConfig, index: int) -> str:
    try:
        return net.nth_address(config.service_cidr.split(",")[0], index)
    except (ValueError, IndexError) as error:
        raise StartError(
            f"--service-cidr {config.service_cidr!r} is no network of at least 16 addresses; "
            "pass one such as 10.43.0.0/16"
        ) from error


def _file_mode(text: str) -> int:
    try:
        mode = int(text, 8)
    except ValueError:
        mode = -1
    if not 0 <= mode <= 0o777:
        raise StartError(f"--write-kubeconfig-mode {text!r} is no file mode; pass one such as 0600")
    return mode


def _token(path: Path, given: str, ca: Pair) -> str:
    """Return the join token in full form and keep it; a new secret where there is none.

    One that is given but was replaced by `kpy token rotate` stays replaced.
    """
    kept = (read_if_there(path) or b"").decode().strip()
    if given and join_tokens.standing(path.parent, given.rpartition(":")[2]) == "earlier":
        log.warning(
            "the token of --token was rotated away, the newer one counts; leave --token out"
        )
        given = ""
    token = full_token(given or kept.rpartition(":")[2] or secrets.token_hex(16), ca)
    if token != kept:
        write_atomic(path, f"{token}\n".encode())
    return token


def full_token(text: str, ca: Pair) -> str:
    """Return `K10<sha256 of the CA>::server:<secret>` for a secret or a token in full form.

    Raises:
        StartError: the token is of another cluster.

    """
    if not text.startswith(TOKEN_PREFIX):
        return f"{TOKEN_PREFIX}{ca.fingerprint}::server:{text}"
    fingerprint, _, _ = text.removeprefix(TOKEN_PREFIX).partition("::")
    if fingerprint not in map(pki.fingerprint, authority.load_all(ca.bundle_pem)):
        raise StartError("--token is of another cluster: its CA differs; pass the secret alone")
    return text


def _write_kubeconfig(bootstrap: Bootstrap, config: ServerConfig, mode: int) -> None:
    path = config.write_kubeconfig
    make_dir(path.parent, 0o755)
    text = kubeconfig(bootstrap, f"https://127.0.0.1:{config.https_listen_port}").encode()
    write_atomic(path, text, mode)


def kubeconfig(bootstrap: Bootstrap, server: str) -> str:
    """Return the administrator's kubeconfig, as YAML text."""
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [
            {
                "name": "kpy",
                "cluster": {
                    "server": server,
                    "certificate-authority-data": _base64(bootstrap.cluster_ca.bundle_pem),
                },
            }
        ],
        "users": [
            {
                "name": "kubernetes-admin",
                "user": {
                    "client-certificate-data": _base64(bootstrap.admin.bundle_pem),
                    "client-key-data": _base64(bootstrap.admin.key_pem),
                },
            }
        ],
        "contexts": [{"name": "kpy", "context": {"cluster": "kpy", "user": "kubernetes-admin"}}],
        "current-context": "kpy",
    }
    return yaml.safe_dump(document, sort_keys=False)


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()
