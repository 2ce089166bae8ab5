"""The composition root of the control plane: which parts there are and how they hang together.

Everything is made here and handed down; no part finds another by itself. Tests start the same
`ServerApp`.
"""

import asyncio
import contextlib
import functools
import gc
import logging
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

from minikube_py.api import metrics as metrics_kinds
from minikube_py.api import times
from minikube_py.api.kinds import BUILTIN
from minikube_py.api.object import Obj
from minikube_py.api.scheme import Scheme
from minikube_py.client.controller import Load, Part, Settings
from minikube_py.client.leader_election import elector_of, run_elected
from minikube_py.client.protocol import Client
from minikube_py.datastore.compaction import compact_forever
from minikube_py.datastore.history import Historian, history_of
from minikube_py.datastore.kv import Backend
from minikube_py.datastore.open import is_shared, size_bytes
from minikube_py.lib import renewal
from minikube_py.lib.clock import Clock, SystemClock
from minikube_py.lib.errors import StartError
from minikube_py.lib.tallies import Tallies
from minikube_py.lib.tasks import Nursery, StoppedError, restarting, unless
from minikube_py.server import bootstrap_objects, cluster_material, metrics, own_services
from minikube_py.server.aggregator.run import Aggregator
from minikube_py.server.apiserver.api import Api
from minikube_py.server.apiserver.health import KEY_SERVICES
from minikube_py.server.apiserver.listening import HttpServer
from minikube_py.server.apiserver.loopback import Loopback
from minikube_py.server.apiserver.proxy import Proxy
from minikube_py.server.apiserver.watch import Watches
from minikube_py.server.attributes import User
from minikube_py.server.audit.configured import auditor_of
from minikube_py.server.audit.record import Auditor
from minikube_py.server.authn import legacy_tokens
from minikube_py.server.authn.signing import TokenSigner
from minikube_py.server.bootstrap import Bootstrap, prepare
from minikube_py.server.bootstrap_objects import Wanted
from minikube_py.server.certificates import Certificates
from minikube_py.server.config import WITHOUT_CLOUD, ServerConfig
from minikube_py.server.control import Control
from minikube_py.server.datastore_stats import DatastoreStats
from minikube_py.server.elections import Elections
from minikube_py.server.encryption.files import Files
from minikube_py.server.encryption.history import SealedHistory
from minikube_py.server.encryption.keeper import Keeper
from minikube_py.server.etcd_face import etcd_face
from minikube_py.server.etcd_member import departure
from minikube_py.server.etcd_member.layout import is_managed
from minikube_py.server.flowcontrol import upkeep as flow_control_upkeep
from minikube_py.server.parts import APISERVER, Parts, Setting
from minikube_py.server.registry.cache import Cache
from minikube_py.server.registry.measured import MeasuredBackend
from minikube_py.server.registry.service_repair import repair
from minikube_py.server.served import Served
from minikube_py.server.snapshots import recovery
from minikube_py.server.snapshots import running as snapshots_running
from minikube_py.server.snapshots.service import Snapshots
from minikube_py.server.tunnels import Tunnels
from minikube_py.server.webhook.client import WebhookClient

if TYPE_CHECKING:
    from minikube_py.server.scheduler.metrics import SchedulerMetrics

log = logging.getLogger(__name__)
Report = Callable[[str], None]
NODE_LEASES = "/registry/coordination.k8s.io/leases/kube-node-lease/"
SWITCH_INTERVAL_SECONDS = 0.0005
"""With the usual 5 ms a commit waits up to two intervals for a busy event loop."""
COLLECTOR = (5_000, 2, 200)
"""Thresholds of the garbage collector. What is written lasts, so a pass looks at as many objects as
have been made since the last one: 5,000 take 2 to 4 ms, and the 15,000 of the second generation up
to 12. With the usual 700 a LIST, which makes many that do not last, pays for too many passes."""


@dataclass
class ServerApp:
    """A control plane: `running` starts it, `loopback` reaches it in process."""

    config: ServerConfig
    bootstrap: Bootstrap
    clock: Clock = field(default_factory=SystemClock)
    scheme: Scheme = field(default_factory=lambda: Scheme(BUILTIN))
    watches: Watches = field(default_factory=Watches)
    _root_ca: bytes = b""
    _root_ca_changed: asyncio.Event = field(default_factory=asyncio.Event)
    _backend: Backend | None = None
    _measured: MeasuredBackend | None = None
    _history: Historian | None = None
    stats: DatastoreStats | None = None
    _loads: dict[str, Load] = field(default_factory=dict)
    _tallies: Tallies = field(default_factory=Tallies)
    _scheduler_metrics: "SchedulerMetrics | None" = None
    _api: Api | None = None
    _http: HttpServer | None = None
    _tunnels: Tunnels | None = None
    _aggregator: Aggregator | None = None
    _keeper: Keeper | None = None
    _served: Served | None = None
    snapshots: Snapshots | None = None
    _ready: dict[str, str | None] = field(
        default_factory=lambda: {"etcd": "not open", "poststarthook/bootstrap": "not finished"}
    )

    def __post_init__(self) -> None:
        """Serve also the kinds that are built in by choice."""
        if self.config.serves_metrics:
            for resource in metrics_kinds.RESOURCES:
                self.scheme.add(resource)

    @functools.cached_property
    def auditor(self) -> Auditor:
        """What keeps the audit log."""
        return auditor_of(self.config, self.bootstrap.folder, self.clock)

    @functools.cached_property
    def elections(self) -> Elections:
        """Who runs what there may be but one of in a cluster."""
        rivals = self.config.leader_elect or is_shared(self.config.datastore_endpoint)
        return Elections(self.clock, rivals=rivals)

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
        gc.set_threshold(*COLLECTOR)
        stored, recovered = await recovery.opened(self.config, self.clock, (NODE_LEASES,))
        self._measured = MeasuredBackend(stored)
        backend: Backend = self._measured
        try:
            files = Files.of(self.bootstrap.folder, self.config.encryption_provider_config)
            past = history_of(stored)
            keeper = Keeper(backend, past, files, self.clock)
            await keeper.start()
            self._keeper = keeper
            backend = keeper.backend
            self._history = SealedHistory(past, keeper.backend.keyring)
            # The loops end before the cache does: what they have begun waits for it.
            async with (
                Nursery("storage") as storage,
                Proxy(user_headers(self.config)) as proxy,
                Nursery("server") as nursery,
            ):
                cache = Cache(backend, shared=is_shared(self.config.datastore_endpoint))
                await cache.load(self.scheme)
                self.stats = DatastoreStats(self.config, stored, self._measured, cache, self.clock)
                self._ready["etcd"] = None
                report(f"datastore is open at revision {cache.revision}")
                storage.start("cache", restarting("cache", cache.follow))
                if self.auditor.sink is not None:
                    storage.start("audit", restarting("audit", self.auditor.sink.run))
                storage.start("compaction", compact_forever(backend, self.clock))
                storage.start("encryption", restarting("encryption", keeper.run))
                if cache.shared:
                    share = functools.partial(
                        cluster_material.keep, self._measured, self.bootstrap.folder
                    )
                    storage.start("material", restarting("cluster material", share))
                    if is_managed(self.config):
                        depart = functools.partial(departure.follow, cache, self.config)
                        storage.start("etcd members", restarting("etcd members", depart))
                await self._serve(nursery, backend, cache, proxy, report)
                self._start_loops(nursery, report)
                self._start_snapshots(nursery, stored, recovered)
                try:
                    async with etcd_face(
                        self.config, self.bootstrap, self._measured, self.clock, report
                    ):
                        yield
                finally:
                    await self._stop()
        finally:
            gc.unfreeze()  # a process may run another server, as tests do
            await backend.close()

    async def _stop(self) -> None:
        """Be not ready any more, and let requests under way finish before all else ends."""
        if self._served is not None:
            await self._served.leave()
        self.watches.close()
        if self._tunnels is not None:
            self._tunnels.close()
        if self._http is not None:
            await self._http.stop()

    async def _serve(
        self, nursery: Nursery, backend: Backend, cache: Cache, proxy: Proxy, report: Report
    ) -> None:
        certificates = Certificates(self.config, self.bootstrap)
        parts = Parts(self._setting(), backend, cache, proxy, certificates)
        self._api = parts.api
        self._tunnels = parts.tunnels
        custom = parts.custom_resources
        await custom.load()
        nursery.start("custom resources", restarting("custom resources", custom.run))
        if parts.issuers is not None:
            nursery.start("issuers", restarting("issuers", parts.issuers.follow))
        if parts.authorization is not None:
            nursery.start("authorization", restarting("authorization", parts.authorization.follow))
        nursery.start("webhooks", _close_at_end(parts.webhooks))
        nursery.start("certificates", restarting("certificates", certificates.follow))
        self._start_renewal(nursery, certificates)
        http = HttpServer(
            parts.frontend,
            self.config.bind_address,
            self.config.https_listen_port,
            certificates.serving,
        )
        try:
            await http.start()
        except OSError as error:
            raise StartError(
                f"cannot listen on {self.config.bind_address}:{self.config.https_listen_port}: "
                f"{error.strerror or error}; stop what uses the port or pass --https-listen-port"
            ) from error
        nursery.start("http", _stop_at_end(http))
        self._http = http
        await repair(parts.store)
        wanted = bootstrap_objects.wanted(self.config, self.bootstrap, self.clock)
        client = self.loopback(APISERVER)
        await bootstrap_objects.ensure(client, wanted)
        self._aggregator = parts.aggregator
        aggregator = functools.partial(parts.aggregator.run, client)
        nursery.start("aggregator", restarting("aggregator", aggregator))
        address = self.bootstrap.advertise_address
        self._served = served = Served(self.config, address, cache, client, self.clock)
        served.start(nursery)
        await bootstrap_objects.ensure(client, served.newest())
        serves = own_services.Changing(served.newest, served.subscribe)
        changing = (self._trusts(certificates), serves)
        own = functools.partial(own_services.keep, cache, client, wanted, changing)
        nursery.start("own services", restarting("own services", own))
        upkeep = functools.partial(flow_control_upkeep.keep, cache, client, wanted, self.clock)
        nursery.start("flow control", restarting("flow control", upkeep))
        await parts.aggregator.synced.wait()
        self._ready["poststarthook/bootstrap"] = None
        cache.forget()  # nobody watched the server make its own objects
        gc.collect()
        gc.freeze()
        report(f"API server is ready on port {self.config.https_listen_port}")

    def _start_renewal(self, nursery: Nursery, certificates: Certificates) -> None:
        """Renew certificates in time, and what is made of them when they change."""
        changed = asyncio.Event()
        certificates.subscribe(changed.set)
        keep = functools.partial(renewal.keep, self._renew, self.bootstrap.due, self.clock, changed)
        nursery.start("renewal", restarting("renewal", keep))

    async def move(self, addresses: Sequence[str]) -> None:
        """Have the cluster reach this server at the machine's addresses, which may be new."""
        if tuple(addresses) != self.bootstrap.node_addresses and self._served is not None:
            self.bootstrap = await self._prepared(addresses)  # the certificate names them first
            await self._served.move(self.bootstrap.advertise_address)

    async def _prepared(self, addresses: Sequence[str]) -> Bootstrap:
        name, now = self.bootstrap.node_name, self.clock.now()
        return await asyncio.to_thread(
            prepare, self.config, node_name=name, node_addresses=addresses, now=now
        )

    async def _renew(self) -> datetime:
        made = await self._prepared(self.bootstrap.node_addresses)
        if made.cluster_ca.bundle_pem != self._root_ca:
            self._root_ca = made.cluster_ca.bundle_pem
            self._root_ca_changed.set()
        return made.due

    def _trusts(self, certificates: Certificates) -> own_services.Changing:
        """Return the config map that tells whom we trust, and what tells of changes."""

        def newest() -> Sequence[Wanted]:
            known = certificates.authorities
            users, proxies = known.users.decode(), known.proxies.decode()
            return [bootstrap_objects.authentication(self.config, users, proxies)]

        return own_services.Changing(newest, certificates.subscribe)

    def _legacy_token(self, secret: Obj, account: Obj) -> str:
        signer = TokenSigner(self.bootstrap.service_account_key)
        return signer.sign(legacy_tokens.claims_of(secret, account))

    def _start_loops(self, nursery: Nursery, report: Report) -> None:
        """Start what drives the cluster, unless told not to."""
        self._start_manifests(nursery)
        cloud = self._start_cloud(nursery, report)
        if cloud or not self.config.disable_controller_manager:
            from minikube_py.server.controllers import CONTROLLERS, ingress  # noqa: PLC0415
            from minikube_py.server.controllers.run import run_controllers  # noqa: PLC0415

            packaged = ingress.controller(enabled=self.config.packages("ingress"))
            own = () if self.config.disable_controller_manager else (*CONTROLLERS, packaged)

            async def run_with_newest_ca() -> None:
                """Run until another CA is to be published, then `restarting` begins again."""
                self._root_ca_changed.clear()
                self._root_ca = self.bootstrap.cluster_ca.bundle_pem
                loops = run_controllers(
                    self.loopback, self.scheme, self.clock, self._settings(), (*own, *cloud)
                )
                with contextlib.suppress(StoppedError):
                    await unless(self._root_ca_changed, "controllers", loops)

            elected = self.elections.elected(
                "kube-controller-manager",
                self.loopback("system:kube-controller-manager"),
                run_with_newest_ca,
            )
            nursery.start("controllers", restarting("controllers", elected))
            report("controllers are running")
        if not self.config.disable_scheduler:
            from minikube_py.server.scheduler import configuration  # noqa: PLC0415
            from minikube_py.server.scheduler.scheduler import run_scheduler  # noqa: PLC0415

            client = self.loopback("system:kube-scheduler")
            told = configuration.load(self.config.scheduler_config)
            run = functools.partial(run_scheduler, client, self.clock, told, self._scheduling())
            elected = self.elections.elected("kube-scheduler", client, run)
            nursery.start("scheduler", restarting("scheduler", elected))
            report("scheduler is running")

    def _start_snapshots(self, nursery: Nursery, stored: Backend, recovered: str) -> None:
        """Make snapshots of what is stored, as it is stored."""
        made = Snapshots(self.config, stored, self.clock, tallies=self._tallies)
        self.snapshots = made
        client = self.loopback(APISERVER)
        stats = {} if self.stats is None else {"stats": self.stats.asked}
        answering = Control(self.bootstrap.folder, {"snapshot": made.asked, **stats})
        nursery.start("control", restarting("control", answering.run))
        snapshots_running.start(made, nursery, self.elections, client, recovered)

    def _start_manifests(self, nursery: Nursery) -> None:
        """Follow the manifests folder; what stands there may be of any kind."""
        from minikube_py.server.manifests.run import USER, Manifests  # noqa: PLC0415

        client = self.loopback(User(USER, ("system:masters", "system:authenticated")))
        folder = self.config.data_dir / "server" / "manifests"
        manifests = Manifests(folder, self.config.disable, client, self.scheme, self.clock)
        nursery.start("manifests", restarting("manifests", manifests.run))

    def _settings(self) -> Settings:
        return Settings(
            root_ca=self._root_ca.decode(),
            authority=lambda name: self.bootstrap.authority(name, self.clock.now()),
            legacy_token=self._legacy_token,
            own_names=self.bootstrap.own_names,
            cluster_cidr=self.config.cluster_cidr,
            node_monitor_grace_seconds=times.parse_duration(self.config.node_monitor_grace_period),
            autoscaler_sync_seconds=times.parse_duration(
                self.config.horizontal_pod_autoscaler_sync_period
            ),
            loads=self._loads,
            tallies=self._tallies,
        )

    def _start_cloud(self, nursery: Nursery, report: Report) -> Sequence[Part]:
        """Start the cloud's controllers; return those that may run among the others.

        The local cloud is this cluster's own, so no other process can be at work on it.
        """
        name = self.config.cloud
        if name in WITHOUT_CLOUD:
            return ()
        from minikube_py.server.cloud import loading, run  # noqa: PLC0415 -- clouds are heavy

        setting = loading.setting_of(self.config, self._tallies)
        provider = loading.load(name, setting)
        report(f"cloud provider is {provider.name}")
        if name == loading.LOCAL:
            return tuple(run.parts(provider, setting))
        elector = elector_of(run.LEASE, self.loopback(run.USER), self.clock)

        async def work() -> None:
            await run.run_cloud_controllers(
                provider, setting, self.loopback, self.scheme, self.clock, self._settings()
            )

        elected = functools.partial(run_elected, elector, work)
        nursery.start("cloud", restarting("cloud", elected))
        return ()

    def _setting(self) -> Setting:
        if self._history is None:
            raise RuntimeError("the datastore is not open")
        return Setting(
            config=self.config,
            bootstrap=self.bootstrap,
            scheme=self.scheme,
            clock=self.clock,
            watches=self.watches,
            checks=self.checks(),
            loopback=self.loopback,
            more_metrics=self._more_metrics,
            auditor=self.auditor,
            history=self._history,
        )

    def _more_metrics(self) -> Iterator[str]:
        """Yield what is counted outside of the API server itself."""
        if self._measured is not None:
            yield from self._measured.lines()
        if self.stats is not None:
            yield from self.stats.lines()
        size = size_bytes(self.config.datastore_endpoint, self.config.data_dir)
        yield from metrics.storage_size(size)
        yield from metrics.workqueues(self._loads)
        yield from self._tallies.lines()
        if self.snapshots is not None:
            yield from self.snapshots.lines()
        yield from self.elections.metrics()
        if self._scheduler_metrics is not None:
            yield from self._scheduler_metrics.lines()

    def _scheduling(self) -> "SchedulerMetrics":
        """Return what the scheduler counts in."""
        from minikube_py.server.scheduler.metrics import SchedulerMetrics  # noqa: PLC0415

        self._scheduler_metrics = SchedulerMetrics()
        return self._scheduler_metrics

    def _registration(self) -> str | None:
        aggregator = self._aggregator
        return None if aggregator is not None and aggregator.synced.is_set() else "not finished"

    def checks(self) -> dict[str, Callable[[], str | None]]:
        """Return the named checks of /readyz."""
        keeper = self._keeper if self.config.encryption_provider_config else None
        return {
            **({KEY_SERVICES: keeper.services.problem} if keeper is not None else {}),
            "autoregister-completion": self._registration,
            "shutdown": lambda: "process is shutting down" if self.watches.closed else None,
            **{name: lambda name=name: self._ready[name] for name in self._ready},  # type: ignore[misc]
        }


def user_headers(config: ServerConfig) -> tuple[str, ...]:
    """Return the headers, or beginnings of them, by which proxies tell us who asks.

    Nobody behind us may see what a client writes into them: it would take us for such a proxy.
    """
    return (
        *config.requestheader_username_headers,
        *config.requestheader_uid_headers,
        *config.requestheader_group_headers,
        *config.requestheader_extra_headers_prefix,
    )


def named_user(name: str) -> User:
    """Return the user of that name with the groups that such a user has."""
    if name == APISERVER.name:
        return APISERVER
    groups = ["system:authenticated"]
    parts = name.split(":")
    if name.startswith("system:serviceaccount:") and len(parts) == 4:
        groups = ["system:serviceaccounts", f"system:serviceaccounts:{parts[2]}", *groups]
    elif name.startswith("system:node:"):
        groups = ["system:nodes", *groups]
    return User(name, tuple(groups))


async def _stop_at_end(http: HttpServer) -> None:
    """Stop the server when the nursery ends."""
    try:
        await asyncio.Event().wait()
    finally:
        await http.stop()


async def _close_at_end(client: WebhookClient) -> None:
    """End the client's connections when the nursery ends."""
    async with client:
        await asyncio.Event().wait()
