"""The composition root of the control plane: which parts there are and how they hang together.

Everything is made here and handed down; no part finds another by itself. Tests start the same
`ServerApp`.
"""

import asyncio
import functools
import gc
import logging
import ssl
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from minikube_py.api.core import (
    NODES,
    PERSISTENTVOLUMECLAIMS,
    PERSISTENTVOLUMES,
    PODS,
    SECRETS,
    SERVICEACCOUNTS,
)
from minikube_py.api.kinds import BUILTIN
from minikube_py.api.object import Obj
from minikube_py.api.rbac import CLUSTERROLEBINDINGS, CLUSTERROLES, ROLEBINDINGS, ROLES
from minikube_py.api.resource import Resource
from minikube_py.api.scheme import Scheme
from minikube_py.api.storage import VOLUMEATTACHMENTS
from minikube_py.client.controller import Settings
from minikube_py.client.protocol import Client, Lister
from minikube_py.datastore.compaction import compact_forever
from minikube_py.datastore.kv import Backend
from minikube_py.datastore.open import open_backend
from minikube_py.lib.clock import Clock, SystemClock
from minikube_py.lib.errors import StartError
from minikube_py.lib.tasks import Nursery, restarting
from minikube_py.server import bootstrap_objects, metrics
from minikube_py.server.admission import plugins
from minikube_py.server.apiserver.api import Api, Endpoints
from minikube_py.server.apiserver.call import Endpoint
from minikube_py.server.apiserver.connect import Connector
from minikube_py.server.apiserver.endpoints.access_reviews import AccessReviews
from minikube_py.server.apiserver.endpoints.binding import Binding
from minikube_py.server.apiserver.endpoints.eviction import Eviction
from minikube_py.server.apiserver.endpoints.scale import Scale
from minikube_py.server.apiserver.endpoints.tokens import TokenRequests, TokenReviews
from minikube_py.server.apiserver.http import Frontend, HttpServer
from minikube_py.server.apiserver.loopback import Loopback
from minikube_py.server.apiserver.nonresource import Nonresource
from minikube_py.server.apiserver.proxy import Proxy
from minikube_py.server.apiserver.watch import Watches
from minikube_py.server.attributes import Authenticator, Authorizer, User
from minikube_py.server.authn.anonymous import Anonymous
from minikube_py.server.authn.bootstrap_token import BootstrapTokens
from minikube_py.server.authn.chain import BearerTokens, Chain
from minikube_py.server.authn.service_account import Bound, ServiceAccountTokens
from minikube_py.server.authn.signing import TokenSigner
from minikube_py.server.authn.tokens import TokenIssuer, openid_configuration
from minikube_py.server.authn.x509 import ClientCertificates
from minikube_py.server.authz.chain import AuthorizerChain, Masters
from minikube_py.server.authz.escalation import EscalationGuard
from minikube_py.server.authz.node import NodeAuthorizer, NodeListers
from minikube_py.server.authz.rbac import Rbac, RbacListers
from minikube_py.server.bootstrap import Bootstrap
from minikube_py.server.bootstrap_rbac import node_rules
from minikube_py.server.config import ServerConfig
from minikube_py.server.join import Join
from minikube_py.server.registry.cache import Cache
from minikube_py.server.registry.hooks import Hook
from minikube_py.server.registry.services import ServiceHook
from minikube_py.server.registry.store import Store

log = logging.getLogger(__name__)
Report = Callable[[str], None]
APISERVER = User("system:apiserver", ("system:masters", "system:authenticated"))
NODE_LEASES = "/registry/coordination.k8s.io/leases/kube-node-lease/"
SWITCH_INTERVAL_SECONDS = 0.0005
"""With the usual 5 ms a commit waits up to two intervals for a busy event loop."""
YOUNG_OBJECTS_MAX = 50_000
"""Allocations between two passes of the garbage collector; a LIST makes many that do not last."""


@dataclass
class ServerApp:
    """A control plane: `running` starts it, `loopback` reaches it in process."""

    config: ServerConfig
    bootstrap: Bootstrap
    clock: Clock = field(default_factory=SystemClock)
    scheme: Scheme = field(default_factory=lambda: Scheme(BUILTIN))
    watches: Watches = field(default_factory=Watches)
    _backend: Backend | None = None
    _api: Api | None = None
    _ready: dict[str, str | None] = field(
        default_factory=lambda: {"etcd": "not open", "poststarthook/bootstrap": "not finished"}
    )

    def loopback(self, user: User | str) -> Client:
        """Return the client that acts as a user in this process."""
        if self._api is None:
            raise RuntimeError("the server is not running")
        if isinstance(user, str):
            user = named_user(user)
        return Loopback(self._api, user, self.watches)

    @asynccontextmanager
    async def running(self, report: Report = log.info) -> AsyncIterator[None]:
        """Run the control plane for the length of the block."""
        sys.setswitchinterval(SWITCH_INTERVAL_SECONDS)
        gc.set_threshold(YOUNG_OBJECTS_MAX, 20, 50)
        backend = await open_backend(
            self.config.datastore_endpoint,
            data_dir=self.config.data_dir,
            lazy_prefixes=(NODE_LEASES,),
            clock=self.clock,
        )
        try:
            async with Proxy() as proxy, Nursery("server") as nursery:
                cache = Cache(backend)
                await cache.load(self.scheme)
                self._ready["etcd"] = None
                report(f"datastore is open at revision {cache.revision}")
                nursery.start("cache", restarting("cache", cache.follow))
                nursery.start("compaction", compact_forever(backend, self.clock))
                await self._serve(nursery, backend, cache, proxy, report)
                self._start_loops(nursery, report)
                try:
                    yield
                finally:
                    self.watches.close()
        finally:
            await backend.close()

    async def _serve(
        self, nursery: Nursery, backend: Backend, cache: Cache, proxy: Proxy, report: Report
    ) -> None:
        parts = Parts(self, backend, cache, proxy)
        self._api = parts.api
        tls = serving_context(self.bootstrap)
        http = HttpServer(
            parts.frontend, self.config.bind_address, self.config.https_listen_port, tls
        )
        try:
            await http.start()
        except OSError as error:
            raise StartError(
                f"cannot listen on {self.config.bind_address}:{self.config.https_listen_port}: "
                f"{error.strerror or error}; stop what uses the port or pass --https-listen-port"
            ) from error
        nursery.start("http", _stop_at_end(http))
        wanted = bootstrap_objects.wanted(self.config, self.bootstrap, self.clock)
        await bootstrap_objects.ensure(self.loopback(APISERVER), wanted)
        self._ready["poststarthook/bootstrap"] = None
        cache.forget()  # nobody watched the server make its own objects
        gc.collect()
        gc.freeze()
        report(f"API server is ready on port {self.config.https_listen_port}")

    def _start_loops(self, nursery: Nursery, report: Report) -> None:
        """Start what drives the cluster, unless told not to."""
        if not self.config.disable_controller_manager:
            from minikube_py.server.controllers.run import run_controllers  # noqa: PLC0415

            settings = Settings(
                root_ca=self.bootstrap.cluster_ca.certificate_path.read_text(),
                cluster_cidr=self.config.cluster_cidr,
            )
            loops = functools.partial(
                run_controllers, self.loopback, self.scheme, self.clock, settings
            )
            nursery.start("controllers", restarting("controllers", loops))
            report("controllers are running")
        if not self.config.disable_scheduler:
            from minikube_py.server.scheduler.scheduler import run_scheduler  # noqa: PLC0415

            client = self.loopback("system:kube-scheduler")
            run = functools.partial(run_scheduler, client, self.clock)
            nursery.start("scheduler", restarting("scheduler", run))
            report("scheduler is running")

    def checks(self) -> dict[str, Callable[[], str | None]]:
        """Return the named checks of /readyz."""
        return {
            "ping": lambda: None,
            "log": lambda: None,
            **{name: lambda name=name: self._ready[name] for name in self._ready},  # type: ignore[misc]
        }


class Parts:
    """The parts of one running API server, made in the order in which they need each other."""

    def __init__(self, app: ServerApp, backend: Backend, cache: Cache, proxy: Proxy) -> None:
        config = app.config
        self.cache = cache
        self.rbac = Rbac(
            RbacListers(
                roles=self.lister(ROLES),
                cluster_roles=self.lister(CLUSTERROLES),
                role_bindings=self.lister(ROLEBINDINGS),
                cluster_role_bindings=self.lister(CLUSTERROLEBINDINGS),
            )
        )
        node_listers = NodeListers(
            pods=self.lister(PODS),
            claims=self.lister(PERSISTENTVOLUMECLAIMS),
            volumes=self.lister(PERSISTENTVOLUMES),
            attachments=self.lister(VOLUMEATTACHMENTS),
        )
        self.authorizer: Authorizer = AuthorizerChain(
            (Masters(), NodeAuthorizer(node_listers, node_rules()), self.rbac)
        )
        self.store = Store(
            backend,
            cache,
            clock=app.clock,
            admission=plugins(self.lister, EscalationGuard(self.rbac, self.authorizer)),
            hooks=hooks(config),
        )
        signer = TokenSigner(app.bootstrap.service_account_key)
        bound = Bound(
            service_accounts=self.lister(SERVICEACCOUNTS),
            pods=self.lister(PODS),
            secrets=self.lister(SECRETS),
            nodes=self.lister(NODES),
        )
        issuer = config.service_account_issuer
        tokens = BearerTokens(
            (
                ServiceAccountTokens(signer, issuer, bound, app.clock),
                BootstrapTokens(self.lister(SECRETS), (issuer,), app.clock),
            ),
            (issuer,),
        )
        methods: tuple[Authenticator, ...] = (ClientCertificates(), tokens)
        if config.anonymous_auth:
            methods = (*methods, Anonymous())
        token_issuer = TokenIssuer(signer, issuer, bound, app.clock)
        self.api = Api(
            app.scheme,
            self.store,
            self.authorizer,
            endpoints(self.store, self.authorizer, self.rbac, tokens, token_issuer),
        )
        self.frontend = Frontend(
            self.api,
            authenticator=Chain(methods),
            watches=app.watches,
            connector=Connector(self.store, proxy, kubelet_context(app.bootstrap)),
            nonresource=Nonresource(
                app.scheme,
                checks=app.checks(),
                documents=_documents(config, signer),
                metrics=lambda: metrics.render(self.store, app.watches),
                server_address=f"{app.bootstrap.advertise_address}:{config.https_listen_port}",
                open_paths=(
                    Join(config, app.bootstrap, lambda: app.loopback(APISERVER), app.clock),
                ),
            ),
            clock=app.clock,
        )

    def lister(self, resource: Resource) -> Lister:
        """Return the cache of a kind."""
        return self.cache.kind(resource)


def hooks(config: ServerConfig) -> dict[str, Hook]:
    """Return what kinds need beyond their rules when they are written."""
    low, _, high = config.service_node_port_range.partition("-")
    return {"services": ServiceHook(config.service_cidr, range(int(low), int(high) + 1))}


def endpoints(
    store: Store, authorizer: Authorizer, rbac: Rbac, tokens: BearerTokens, issuer: TokenIssuer
) -> Endpoints:
    """Return what answers subresources with a kind of their own, and kinds that are not stored."""
    scale, reviews = Scale(store), AccessReviews(authorizer, rbac, store.clock)
    scaled = Endpoint(get=scale.get, update=scale.update)
    binding = Endpoint(create=Binding(store).create)
    return {
        ("deployments.apps", "scale"): scaled,
        ("replicasets.apps", "scale"): scaled,
        ("statefulsets.apps", "scale"): scaled,
        ("replicationcontrollers", "scale"): scaled,
        ("pods", "binding"): binding,
        ("bindings", ""): binding,
        ("pods", "eviction"): Endpoint(create=Eviction(store).create),
        ("serviceaccounts", "token"): Endpoint(create=TokenRequests(store, issuer).create),
        ("tokenreviews.authentication.k8s.io", ""): Endpoint(create=TokenReviews(tokens).create),
        ("selfsubjectreviews.authentication.k8s.io", ""): Endpoint(create=reviews.self_review),
        ("subjectaccessreviews.authorization.k8s.io", ""): Endpoint(create=reviews.subject),
        ("localsubjectaccessreviews.authorization.k8s.io", ""): Endpoint(create=reviews.subject),
        ("selfsubjectaccessreviews.authorization.k8s.io", ""): Endpoint(
            create=reviews.self_subject
        ),
        ("selfsubjectrulesreviews.authorization.k8s.io", ""): Endpoint(create=reviews.rules),
    }


def named_user(name: str) -> User:
    """Return the user of that name with the groups that such a user has."""
    groups = ["system:authenticated"]
    parts = name.split(":")
    if name.startswith("system:serviceaccount:") and len(parts) == 4:
        groups = ["system:serviceaccounts", f"system:serviceaccounts:{parts[2]}", *groups]
    elif name.startswith("system:node:"):
        groups = ["system:nodes", *groups]
    return User(name, tuple(groups))


def serving_context(bootstrap: Bootstrap) -> ssl.SSLContext:
    """Return the TLS of the API server: its certificate, and client certificates where given."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(bootstrap.serving.certificate_path, bootstrap.serving.key_path)
    context.load_verify_locations(bootstrap.client_ca.certificate_path)
    context.verify_mode = ssl.CERT_OPTIONAL
    context.set_alpn_protocols(["http/1.1"])
    return context


def kubelet_context(bootstrap: Bootstrap) -> ssl.SSLContext:
    """Return the TLS towards kubelets."""
    context = ssl.create_default_context(cafile=str(bootstrap.cluster_ca.certificate_path))
    pair = bootstrap.kubelet_client
    context.load_cert_chain(pair.certificate_path, pair.key_path)
    return context


def _documents(config: ServerConfig, signer: TokenSigner) -> dict[str, Obj]:
    address = config.advertise_address or "127.0.0.1"
    jwks = f"https://{address}:{config.https_listen_port}/openid/v1/jwks"
    return {
        "/.well-known/openid-configuration": openid_configuration(
            signer, config.service_account_issuer, jwks
        ),
        "/openid/v1/jwks": signer.jwks(),
    }


async def _stop_at_end(http: HttpServer) -> None:
    """Stop the server when the nursery ends."""
    try:
        await asyncio.Event().wait()
    finally:
        await http.stop()
