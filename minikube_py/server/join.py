"""How agents join: two paths below /v1-kpy that need a token, not a certificate.

    GET  /v1-kpy/cacerts   the cluster CA; public, the agent checks it with its token's hash, or
                           by the signature that a bootstrap token (?token-id=) makes of it
    POST /v1-kpy/join      keys, node name and node password in; certificates and facts out
    POST /v1-kpy/etcd      another server's member of etcd in; etcd's authority and the members out

The first machine that joins under a name sets the name's password, whose hash is kept in a
Secret; another machine without it is refused, so that no token alone makes anyone any node. A node
that has joined may come again with an earlier token, or with its own certificate. Nobody gets a
certificate for a name or an address by which others know the API server.
"""

import base64
import hashlib
import hmac
import ipaddress
import json
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from aiohttp import web
from cryptography.hazmat.primitives.serialization import Encoding

from minikube_py.api import names
from minikube_py.api.core import SECRETS
from minikube_py.api.errors import (
    AlreadyExistsError,
    BadRequestError,
    ForbiddenError,
    MethodNotAllowedError,
    NotFoundError,
    RequestTooLargeError,
    UnauthorizedError,
)
from minikube_py.api.object import Obj, get
from minikube_py.client.protocol import Client
from minikube_py.lib import jws, net, pki
from minikube_py.lib.clock import Clock
from minikube_py.server import join_tokens
from minikube_py.server.attributes import User
from minikube_py.server.authn.bootstrap_token import BootstrapTokens
from minikube_py.server.bootstrap import Bootstrap, cluster_dns_ip, node_subjects
from minikube_py.server.config import ServerConfig

log = logging.getLogger(__name__)
PREFIX = "/v1-kpy/"
BODY_BYTES_MAX = 64 << 10
"""A join request is about 2 KB."""
ADDRESSES_MAX = 16
LEAVES = frozenset({"kubelet-serving", "kubelet-client", "proxy-client"})
PROXY = pki.Subject(name="system:kube-proxy")
NAMESPACE = "kube-system"
WRONG_TOKEN = "the token is wrong; `kpy token` on the server prints it"  # noqa: S105


class Known(NamedTuple):
    """Who may join beside those that have the join token."""

    tokens: BootstrapTokens
    by_certificate: Callable[[web.BaseRequest], User | None]
    """Whom the certificate of a connection names."""


class Join:
    """Answers agents that want to join."""

    prefix = PREFIX

    def __init__(
        self,
        config: ServerConfig,
        bootstrap: Bootstrap,
        client: Callable[[], Client],
        clock: Clock,
        known: Known | None = None,
    ) -> None:
        """Take how to reach the API as the server itself, and who else may join."""
        self._known = known
        self._config = config
        self._bootstrap = bootstrap
        self._client = client
        self._clock = clock

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one request."""
        what = request.path.removeprefix(PREFIX)
        method = {"cacerts": "GET", "join": "POST", "etcd": "POST"}.get(what)
        if method is None:
            raise NotFoundError("the server could not find the requested resource")
        if request.method != method:
            raise MethodNotAllowedError(f"{request.path} takes {method} only")
        if what == "cacerts":
            return _reply(self._authorities(request.query.get("token-id", "")))
        wanted = await _body(request)
        if what == "etcd":
            return _reply(await self._admit(request, wanted))
        stands = await self._standing(request, _node_of(wanted))
        answer = await self.join(
            wanted, known_only=stands == "earlier", is_here=self._is_here(request.remote)
        )
        return _reply(answer)

    async def _admit(self, request: web.BaseRequest, wanted: Mapping[str, Any]) -> dict[str, Any]:
        """Let another server's member in; only the newest join token makes servers."""
        from minikube_py.server.etcd_member.admission import admit  # noqa: PLC0415 -- gRPC

        given = request.headers.get("Authorization", "").removeprefix("Bearer ")
        if join_tokens.standing(self._bootstrap.folder, given) != "current":
            raise UnauthorizedError(WRONG_TOKEN)
        return await admit(self._config, wanted)

    def _is_here(self, remote: str | None) -> bool:
        """Tell whether a request comes from the machine that the server runs on."""
        return remote is not None and (
            remote == self._bootstrap.advertise_address or net.is_loopback(remote)
        )

    def _authorities(self, token_id: str) -> dict[str, str]:
        """Return the CA, signed by a bootstrap token where one is named that may sign."""
        ca = self._authority("cluster-ca")
        text = ca.bundle_pem.decode()
        secret = self._known.tokens.signing_secret(token_id) if self._known else ""
        signed = {"signature": jws.detached(text, token_id, secret)} if secret else {}
        return {"cacerts": text, "chain": ca.chain_pem.decode(), **signed}

    async def _standing(self, request: web.BaseRequest, node: str) -> join_tokens.Standing:
        given = request.headers.get("Authorization", "").removeprefix("Bearer ")
        stands = join_tokens.standing(self._bootstrap.folder, given)
        if stands is not None:
            return stands
        if self._known is None:
            raise UnauthorizedError(WRONG_TOKEN)
        found = await self._known.tokens.verify(given, (self._config.service_account_issuer,))
        if found is not None and join_tokens.JOIN_GROUP in found.user.groups:
            return "current"
        user = self._known.by_certificate(request)
        client, _ = node_subjects(node, ())
        if not given and user is not None and user.name == client.name:
            return "earlier"
        raise UnauthorizedError(WRONG_TOKEN)

    async def join(
        self, wanted: Mapping[str, Any], *, known_only: bool = False, is_here: bool = False
    ) -> dict[str, Any]:
        """Make a machine a node: check its name and password, sign its keys.

        `known_only` is for those that come with an earlier token: they must have joined already.
        `is_here` is for the server's own machine, whose address is the server's, too.

        Raises:
            BadRequestError: the request is not as it must be.
            ForbiddenError: the name is another machine's.
            UnauthorizedError: the token is not good any more for a new node.

        """
        node, addresses = _node_of(wanted), _addresses_of(wanted)
        if node == self._bootstrap.node_name:
            raise ForbiddenError(
                f"node name {node!r} is the server's own; pass another --node-name"
            )
        self._refuse_own_names((node, *addresses), is_here=is_here)
        keys = _keys_of(wanted)
        password = _text(wanted, "nodePassword")
        if known_only and await self._kept(secret_name(node)) is None:
            raise UnauthorizedError(WRONG_TOKEN)
        await self._check_password(node, password)
        certificates = {
            name: self._sign(name, keys[name], node, addresses) for name in sorted(keys)
        }
        log.info("node joined node=%s addresses=%s", node, ",".join(addresses))
        return {
            "certificates": certificates,
            "clientCA": self._authority("client-ca").bundle_pem.decode(),
            "cluster": cluster_facts(self._config),
        }

    def _refuse_own_names(self, names: Sequence[str], *, is_here: bool) -> None:
        """Refuse a node by whose certificate it could pass for the API server."""
        shared = {self._bootstrap.advertise_address} if is_here else set()
        for name in names:
            if name in self._bootstrap.own_names - shared:
                raise ForbiddenError(
                    f"{name!r} is the API server's own; pass another --node-name or --node-ip"
                )

    def _sign(self, name: str, key: Any, node: str, addresses: Sequence[str]) -> str:
        client, serving = node_subjects(node, addresses)
        now = self._clock.now()
        if name == "kubelet-serving":
            ca = self._authority("cluster-ca")
            certificate = pki.sign(ca, serving, key, "server", now=now)
        else:
            ca = self._authority("client-ca")
            subject = client if name == "kubelet-client" else PROXY
            certificate = pki.sign(ca, subject, key, "client", now=now)
        return (certificate.public_bytes(Encoding.PEM) + ca.chain_pem).decode()

    def _authority(self, name: str) -> pki.Pair:
        return self._bootstrap.authority(name, self._clock.now())

    async def _check_password(self, node: str, password: str) -> None:
        name = secret_name(node)
        secret = await self._kept(name)
        if secret is None:
            try:
                await self._client().create(SECRETS, _secret(name, hash_password(password)))
            except AlreadyExistsError:
                secret = await self._kept(name)  # Another machine asked at the same moment.
            else:
                return
        kept = base64.b64decode(get(secret, "data.hash", "")).decode()
        if not hmac.compare_digest(kept.encode(), hash_password(password).encode()):
            raise ForbiddenError(
                f"node name {node!r} belongs to another machine; pass another --node-name, or "
                f"delete the Secret {NAMESPACE}/{name} if that machine is gone"
            )

    async def _kept(self, name: str) -> Obj | None:
        try:
            return await self._client().get(SECRETS, name, NAMESPACE)
        except NotFoundError:
            return None


def cluster_facts(config: ServerConfig) -> dict[str, Any]:
    """Return what every node of the cluster must know alike."""
    return {
        "cluster_cidr": config.cluster_cidr,
        "service_cidr": config.service_cidr,
        "cluster_dns": cluster_dns_ip(config),
        "cluster_domain": config.cluster_domain,
        "dns_stub_domains": config.dns_stub_domains,
        "kube_proxy": not config.disable_kube_proxy,
        "network_policy": not config.disable_network_policy,
        "dns": "dns" not in config.disable,
        "network_backend": config.network_backend,
        "ingress": config.packages("ingress"),
        "cloud_provider": {"none": "", "local": "local"}.get(config.cloud, "external"),
    }


def secret_name(node: str) -> str:
    """Return the name of the Secret that holds the hash of a node's password."""
    return f"{node}.node-password.kpy"


def hash_password(password: str) -> str:
    """Return what is kept of a password.

    One round of SHA-256 is enough: nodes make theirs of 128 random bits, which nobody guesses.
    """
    return hashlib.sha256(password.encode()).hexdigest()


def _secret(name: str, digest: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "type": "Opaque",
        "data": {"hash": base64.b64encode(digest.encode()).decode()},
    }


def _reply(document: Mapping[str, Any]) -> web.Response:
    return web.Response(body=json.dumps(document).encode(), content_type="application/json")


async def _body(request: web.BaseRequest) -> Mapping[str, Any]:
    data = await request.content.read(BODY_BYTES_MAX + 1)
    while len(data) <= BODY_BYTES_MAX and not request.content.at_eof():
        data += await request.content.read(BODY_BYTES_MAX + 1 - len(data))
    if len(data) > BODY_BYTES_MAX:
        raise RequestTooLargeError(f"a join request has at most {BODY_BYTES_MAX} bytes")
    try:
        document = json.loads(data)
    except ValueError as error:
        raise BadRequestError("the join request is not JSON") from error
    if not isinstance(document, dict):
        raise BadRequestError("the join request is not a JSON object")
    return document


def _text(wanted: Mapping[str, Any], field: str) -> str:
    value = wanted.get(field)
    if not isinstance(value, str) or not value:
        raise BadRequestError(f"the join request has no {field}")
    return value


def _node_of(wanted: Mapping[str, Any]) -> str:
    node = _text(wanted, "nodeName")
    for complaint in names.dns1123_subdomain(node):
        raise BadRequestError(f"node name {node!r} is not valid: {complaint}")
    return node


def _addresses_of(wanted: Mapping[str, Any]) -> tuple[str, ...]:
    addresses = wanted.get("addresses")
    if not isinstance(addresses, list) or len(addresses) > ADDRESSES_MAX:
        raise BadRequestError("the join request has no list of addresses")
    if not all(isinstance(address, str) and net.is_address(address) for address in addresses):
        raise BadRequestError("an address of the join request is no IP address")
    return tuple(str(ipaddress.ip_address(address)) for address in addresses)


def _keys_of(wanted: Mapping[str, Any]) -> dict[str, Any]:
    requests = wanted.get("requests")
    if not isinstance(requests, dict) or not requests or not set(requests) <= LEAVES:
        raise BadRequestError(
            f"the join request needs keys for some of {', '.join(sorted(LEAVES))}"
        )
    try:
        return {name: pki.requested_key(str(pem).encode()) for name, pem in requests.items()}
    except ValueError as error:
        raise BadRequestError(str(error)) from error
