"""The kubelet put together: its parts, who wakes whom, and in which order they begin.

    pods of this node (informer) ----> pod workers <---- PLEG (ends of containers)
    configMaps, secrets (references) -----^   ^--------- probes
                                          |
                                    status writer ----> the cluster

A start after a crash is the same as any other: the workers look at what the runtime has and find
it as it should be, so nothing is started again. Only when all pods of this node are known is
anything removed that belongs to none of them.
"""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from minikube_py.agent.cri.connection import Connection
from minikube_py.agent.cri.errors import CriError
from minikube_py.agent.cri.images import Images
from minikube_py.agent.cri.runtime import Container, Runtime
from minikube_py.agent.cri.snapshots import Snapshots
from minikube_py.agent.kubelet import cgroups
from minikube_py.agent.kubelet.admit import Rules, admit
from minikube_py.agent.kubelet.allocation import refusal
from minikube_py.agent.kubelet.assignments import NO_TOPOLOGY, Assignments, TopologySettings
from minikube_py.agent.kubelet.backoff import Backoffs
from minikube_py.agent.kubelet.cdi import knows_cdi
from minikube_py.agent.kubelet.config import Machine, log_directory
from minikube_py.agent.kubelet.container_status import Failure
from minikube_py.agent.kubelet.dns import node_resolver
from minikube_py.agent.kubelet.garbage import Garbage, RemoveOrphans, no_orphans
from minikube_py.agent.kubelet.image_records import PRELOADED, ImageRecords
from minikube_py.agent.kubelet.images import PULLS_MAX, ImagePuller, OwnCredentials
from minikube_py.agent.kubelet.kubelet_metrics import (
    ADMISSION_REJECTIONS,
    PodStarts,
    counted,
)
from minikube_py.agent.kubelet.log_rotation import LogLimits, LogRotation
from minikube_py.agent.kubelet.machine import has_apparmor
from minikube_py.agent.kubelet.node_context import Isolate, NodeContext, no_isolation
from minikube_py.agent.kubelet.node_lease import NodeLease
from minikube_py.agent.kubelet.node_object import NodeFacts, allocatable, given, held_bytes
from minikube_py.agent.kubelet.node_plugins import NodePlugins
from minikube_py.agent.kubelet.node_status import NodeStatus
from minikube_py.agent.kubelet.pleg import Pleg
from minikube_py.agent.kubelet.pod import Spec, phase_of, reference
from minikube_py.agent.kubelet.pod_resources import PodResources
from minikube_py.agent.kubelet.pod_worker import State
from minikube_py.agent.kubelet.pod_workers import PodWorkers
from minikube_py.agent.kubelet.pressure import Node as PressedNode
from minikube_py.agent.kubelet.pressure import Pressure, PressurePolicy
from minikube_py.agent.kubelet.probes import Probes
from minikube_py.agent.kubelet.references import References
from minikube_py.agent.kubelet.resources import Limits, cpu_shares
from minikube_py.agent.kubelet.shutdown.manager import Around, NodeShutdown
from minikube_py.agent.kubelet.shutdown.plan import ShutdownPolicy
from minikube_py.agent.kubelet.static.manifest import is_static, mirror_hash
from minikube_py.agent.kubelet.static.mirror_pods import MirrorPods
from minikube_py.agent.kubelet.static.run import StaticConfig, StaticPods
from minikube_py.agent.kubelet.stats.provider import Node, Provider
from minikube_py.agent.kubelet.stats.sample import PodFacts, Sampler
from minikube_py.agent.kubelet.status_writer import Hear, StatusWriter, nobody
from minikube_py.agent.kubelet.swap import Swap
from minikube_py.agent.kubelet.tokens import Tokens
from minikube_py.agent.kubelet.user_namespaces import Range, UserNamespaces
from minikube_py.agent.kubelet.volumes.claims import Claims
from minikube_py.agent.kubelet.volumes.images import ImageVolumes
from minikube_py.agent.kubelet.volumes.network_disks import NetworkDisks
from minikube_py.agent.kubelet.volumes.pod_volumes import PodVolumes
from minikube_py.api.core import NODES, PODS, SERVICES
from minikube_py.api.item import Item
from minikube_py.api.object import Key, Obj, is_deleting
from minikube_py.client.events import Recorder
from minikube_py.client.informer import Informer, Informers
from minikube_py.client.protocol import Client
from minikube_py.client.watcher import Selection
from minikube_py.lib.clock import Clock
from minikube_py.lib.fsutil import make_dir
from minikube_py.lib.tallies import Tallies
from minikube_py.lib.tasks import Nursery, restarting

log = logging.getLogger(__name__)


async def keep_nothing(_: Sequence[Obj]) -> None:
    """Do nothing: beside a server there is nothing to keep."""


@dataclass(frozen=True, kw_only=True)
class KubeletConfig:
    """What a kubelet is told."""

    node: NodeFacts
    root: Path
    """Folder of volumes and other files of pods."""
    static: StaticConfig = StaticConfig()
    credentials: OwnCredentials = lambda _registry: ()
    """What the node itself may open registries with."""
    storage: Path | None = None
    """Folder of persistent volumes on this node's disk; None where it offers none."""
    logs: Path = Path("/var/log/pods")
    cluster_dns: Sequence[str] = ()
    cluster_domain: str = "cluster.local"
    pressure: PressurePolicy = field(default_factory=PressurePolicy)
    isolate: Isolate = no_isolation
    """Called with a pod that has got a network, before its containers start."""
    remove_orphans: RemoveOrphans = no_orphans
    """Removes what the runtime was making when it was killed."""
    sandbox_removed: Callable[[str], None] = lambda _: None
    """Told of each sandbox that is gone."""
    keep_only: Callable[[Sequence[Obj]], Awaitable[None]] = keep_nothing
    """Told now and then of all pods here: what is kept on disk of others may be forgotten."""
    hear: Hear = nobody
    """Told of each status of a pod before any server."""
    shutdown: ShutdownPolicy = ShutdownPolicy()
    log_limits: LogLimits = LogLimits()
    pulls_max: int = PULLS_MAX
    """Images that are pulled at the same time."""
    unsafe_sysctls: Sequence[str] = ()
    """Patterns of kernel parameters that pods may set beside the safe ones, in normal form."""
    image_verification: str = PRELOADED
    """When a pod has to prove its right to an image that is here, as upstream's policy says."""
    swap_behavior: str = ""
    """NoSwap or LimitedSwap; "" is NoSwap."""
    user_ids: Range = Range()
    """Ids of the node for the user namespaces of pods."""
    topology: TopologySettings = NO_TOPOLOGY


class Kubelet:
    """The kubelet of this node; `run` never ends by itself."""

    def __init__(
        self,
        config: KubeletConfig,
        client: Client,
        informers: Informers,
        connection: Connection,
        clock: Clock,
    ) -> None:
        self.config = config
        self.runtime = Runtime(connection)
        self.runtime.removed = config.sandbox_removed
        name = config.node.name
        self.pods: Informer = informers.get(PODS, Selection(field_selector=f"spec.nodeName={name}"))
        """The pods of this node, also for its server."""
        self._nodes = informers.get(NODES, Selection(field_selector=f"metadata.name={name}"))
        self._services = informers.get(SERVICES)
        self._client = client
        self._clock = clock
        self._connection = connection
        self._images = Images(connection)
        self._image_records = ImageRecords(config.root, config.image_verification)
        self._image_volumes = ImageVolumes(Snapshots(connection))
        self._recorder = Recorder(client, "kubelet", clock, host=name)
        self._statuses = StatusWriter(client, clock, self._hear)
        self.tallies = Tallies()
        """What the kubelet counts of its work, for its server."""
        connection.counted = partial(counted, self.tallies)
        self._starts = PodStarts(self.tallies, clock)
        self._cgroups = cgroups.detect()
        self._apparmor = has_apparmor()
        self._mirrors = MirrorPods(
            (name, lambda: self.node_status.uid), client, self.pods, self._statuses, clock
        )
        self._tokens = Tokens(client, clock)
        self._plugins = NodePlugins(
            config.root, name, (client, self._tokens), clock, self._wake_node
        )
        self._plugins.on_health(self._wake)
        self.assignments = Assignments(
            (self._plugins.devices, self._plugins.claims),
            config.topology,
            resolve_cdi=not knows_cdi(config.node.runtime_version),
        )
        """What pods have for themselves, also for those who ask the kubelet about it."""
        disks = NetworkDisks(config.root, client, clock)
        self._volumes = PodVolumes(config.root, config.storage, self._plugins.csi, disks)
        self._workers: PodWorkers | None = None
        self._probes: Probes | None = None
        self.stats = self._provider()
        """What this node uses, for its server."""
        told = (self._recorder, clock, self._wake_all)
        self.node_status = NodeStatus(config.node, client, (self.runtime, self._images), *told)
        self.node_status.volumes_in_use = self._plugins.csi.in_use
        self.node_status.devices = self._plugins.devices.plugins.capacity
        self._shutdown = NodeShutdown(config.shutdown, self._around_shutdown())
        self.ready = asyncio.Event()
        """Set when the node is ready for pods for the first time."""
        self.on_exit: Callable[[str], None] = lambda _: None
        """Called with the id of a container that has ended."""

    @property
    def workers(self) -> PodWorkers:
        """The workers of the pods; only while the kubelet runs."""
        if self._workers is None:
            raise RuntimeError("the kubelet does not run")
        return self._workers

    def _provider(self) -> Provider:
        config = self.config
        node = Node(
            name=config.node.name,
            memory_bytes=config.node.machine.memory_bytes,
            folder=config.root,
            driven=self._plugins.csi.usage,
        )
        return Provider(node, Sampler(self._cgroups, self._pod_facts), self._images, self._clock)

    def _around_shutdown(self) -> Around:
        return Around(
            lambda: (w for w in self._workers or () if w.state is not State.TERMINATED),
            self.node_status.end,
            self._tell_node,
            self._clock,
        )

    def _tell_node(self, reason: str, message: str) -> None:
        self._recorder.record(self.node_status.reference(), "Normal", reason, message)

    def _wake_node(self) -> None:
        self.node_status.wake()

    def _hear(self, uid: str, status: Mapping[str, Any] | None) -> None:
        worker = self._workers.get(uid) if self._workers is not None else None
        self._starts.hear(uid, status, worker.pod if worker is not None else None)
        self.config.hear(uid, status)

    def _wake(self, uid: str) -> None:
        if self._workers is not None:
            self._workers.wake(uid)

    def _wake_all(self) -> None:
        if not self.node_status.trouble:
            self.ready.set()
        for worker in self._workers or ():
            worker.wake()

    async def run(self, report: Callable[[str], None] = lambda _: None) -> None:
        """Register the node and run its pods until cancelled; pods live on."""
        make_dir(self.config.root)
        make_dir(self.config.logs, 0o755)
        self._limit_pods()
        async with Nursery("kubelet") as nursery:
            self._workers = PodWorkers(self._context(nursery), nursery, self._on_end)
            self._start(nursery, "events", self._recorder.run)
            self._start(nursery, "pod statuses", self._statuses.run)
            statics = StaticPods(self._workers, self._mirrors, self._refuse)
            statics.start(self.config.static, self.config.node.name, nursery, self._clock)
            self._start(nursery, "node lease", lambda: self._be_there(report))
            await self.node_status.asked.wait()  # where the server is away, what was kept is known
            pleg = Pleg(
                self._connection,
                self._clock,
                self._workers.seen,
                self._wake,
                lambda key: self.on_exit(key),  # noqa: PLW0108 -- it may be set later
                self.tallies,
            )
            self._start(nursery, "node status", self.node_status.run)
            for part, run in self._plugins.parts():
                self._start(nursery, part, run)
            await self._follow_pods()
            self._start(nursery, "mirror pods", self._mirrors.run)
            self._start(nursery, "pleg", pleg.run)
            self._start(nursery, "pleg relist", pleg.run_relist)
            garbage = Garbage(
                self.runtime,
                self._volumes,
                self._cgroups,
                self._clock,
                self._is_known,
                self.config.remove_orphans,
            )
            garbage.release = self._release
            rotation = LogRotation(self.runtime, self._clock, self._running, self.config.log_limits)
            pressure = Pressure(self._pressed_node(), self.config.pressure, self.workers, garbage)
            await statics.known()
            await self._image_volumes.prune(self._is_known)
            await self._forget_images()
            self._start(nursery, "claims", lambda: self._plugins.claims.run(self._is_known))
            resources = PodResources(self.config.root, self.assignments, self._active)
            self._start(nursery, "pod resources", resources.run)
            if self.config.topology.cpus is not None:
                self._start(nursery, "processors", self._follow_processors)
            self._start(nursery, "garbage", garbage.run)
            self._start(nursery, "log rotation", rotation.run)
            if self.config.shutdown.seconds:
                self._start(nursery, "node shutdown", self._shutdown.run)
            self._start(nursery, "evictions", pressure.run_evictions)
            self._start(nursery, "images", pressure.run_images)
            await asyncio.Event().wait()

    async def _be_there(self, report: Callable[[str], None]) -> None:
        """Register the node, then tell that it lives, for ever."""
        await self.node_status.register()
        report(f"node {self.config.node.name} registered")
        self._mirrors.look_at_all()
        name, status = self.config.node.name, self.node_status
        await NodeLease(name, lambda: status.uid, self._client, self._clock).run()

    async def _release(self, is_known: Callable[[str], bool]) -> None:
        """Take back and forget what pods had that are gone."""
        await self.assignments.release_gone(is_known)
        await self.config.keep_only([worker.pod for worker in self.workers])

    @staticmethod
    def _start(nursery: Nursery, name: str, part: Callable[[], object]) -> None:
        nursery.start(name, restarting(name, part))  # type: ignore[arg-type]

    def _limit_pods(self) -> None:
        """Make the group that holds all pods; they share what the machine has to give."""
        machine = self.config.node.machine
        kept = machine.reserved.named("cpu").milli_value() if machine.reserved.enforced else 0
        shares = cpu_shares(machine.cpus * 1000 - kept)
        held = Limits(cpu_shares=shares, memory_bytes=held_bytes(machine))
        self._cgroups.create(cgroups.ROOT, held)
        self._cgroups.create(f"{cgroups.ROOT}/burstable", Limits(cpu_shares=shares))
        # Whoever asked for nothing gets what the others leave.
        self._cgroups.create(f"{cgroups.ROOT}/besteffort", Limits())

    async def _follow_pods(self) -> None:
        for informer in (self._nodes, self._services, self.pods):
            await informer.wait_synced()
        self._nodes.subscribe(self._on_node)
        self.pods.subscribe(self._on_pod)
        log.info("pods of this node known count=%d", len(self.workers))

    def _on_node(self, _: Item | None, new: Item | None) -> None:
        if new is not None:
            self.node_status.saw(new.obj)

    def _on_end(self, pod: Obj) -> None:
        if is_static(pod):
            self._mirrors.unwant(pod)

    def _on_pod(self, old: Item | None, new: Item | None) -> None:
        item = new or old
        if item is not None and mirror_hash(item.obj):
            self._mirrors.changed(old, new)
        elif new is not None:
            pod = new.obj
            self.workers.update(pod, lambda: self._refuse(pod))
        elif old is not None:
            self.workers.remove(old.uid)

    def _refuse(self, pod: Obj) -> Failure | None:
        if is_deleting(pod) or phase_of(pod) != "Pending":
            return None  # it was let in before
        if failure := self._shutdown.refusal():
            return failure
        node = self._nodes.get(Key("", self.config.node.name)) or {"metadata": {}}
        room = allocatable(self.config.node.machine) | self._given(node)
        failure = admit(pod, self.workers.others(pod), room, node, self._rules())
        if failure is not None:
            self.tallies.count(ADMISSION_REJECTIONS, failure.reason)
            self._recorder.record(reference(pod), "Warning", failure.reason, failure.told)
        return failure

    async def _forget_images(self) -> None:
        """Forget who may use images that are gone."""
        with contextlib.suppress(CriError):  # at the next start, then
            self._image_records.prune({image.id for image in await self._images.list_all()})

    def _rules(self) -> Rules:
        return Rules(
            unsafe_sysctls=self.config.unsafe_sysctls,
            apparmor=self._apparmor,
            strict_groups=self.node_status.runtime.supplemental_groups_policy is not False,
        )

    def _given(self, node: Obj) -> dict[str, str]:
        """Return what others gave the node; devices of plugins are counted when they are given."""
        devices = self.assignments.devices
        return {name: n for name, n in given(node).items() if not devices.is_offered(name)}

    def _follow_processors(self) -> Coroutine[Any, Any, None]:
        return self.assignments.follow(self._running, self.runtime, self._clock)

    def _resize_refusal(self, pod: Obj) -> Failure | None:
        if (held := self.assignments.resize_refusal(pod)) is not None:
            return held
        return refusal(pod, self.workers.others(pod), allocatable(self.config.node.machine))

    def _active(self) -> Iterator[Obj]:
        """Yield the pods that run here or are to."""
        for worker in self.workers:
            if worker.state in (State.SYNCING, State.TERMINATING):
                yield worker.pod

    def _running(self) -> Iterator[Container]:
        for worker in self.workers:
            yield from worker.observed.running

    def _pod_facts(self) -> Iterator[PodFacts]:
        """Yield the pods that may use something."""
        for worker in self._workers or ():
            if worker.state not in (State.SYNCING, State.TERMINATING):
                continue
            sandbox = worker.observed.sandbox
            yield PodFacts(
                pod=worker.pod,
                containers=[c for c in worker.observed.running if c.state == "running"],
                sandbox_id=sandbox.id if sandbox is not None and sandbox.ready else "",
                folder=self._volumes.pod_folder(worker.uid),
                volumes=worker.volumes,
                logs=log_directory(self.config.logs, worker.pod),
            )

    def _pressed_node(self) -> PressedNode:
        return PressedNode(
            facts=self.config.node,
            folder=self.config.root,
            runtime=self.runtime,
            images=self._images,
            trees=self._cgroups,
            stats=self.stats,
            status=self.node_status,
            recorder=self._recorder,
            clock=self._clock,
            tallies=self.tallies,
        )

    def probe_metrics(self) -> Iterator[str]:
        """Yield how often probes were made."""
        if self._probes is not None:
            yield from self._probes.counts.lines()

    def _is_known(self, uid: str) -> bool:
        return self.workers.get(uid) is not None

    def _context(self, nursery: Nursery) -> NodeContext:
        config, clock = self.config, self._clock
        machine = config.node.machine

        def unwell(pod: Obj, spec: Spec, message: str) -> None:
            self._recorder.record(
                reference(pod), "Warning", "Unhealthy", message, field_path=spec.field_path
            )

        self._probes = Probes(self.runtime, clock, nursery, self._wake, unwell)
        images = ImagePuller(
            self._images, clock, config.credentials, self._image_records, config.pulls_max
        )
        images.pulled = self._starts.pulled
        return NodeContext(
            node_name=config.node.name,
            client=self._client,
            clock=clock,
            recorder=self._recorder,
            runtime=self.runtime,
            images=images,
            probes=self._probes,
            references=References(self._client, clock, nursery, self._wake),
            tokens=self._tokens,
            claims=Claims(self._client),
            volumes=self._volumes,
            image_volumes=self._image_volumes,
            statuses=self._statuses,
            assignments=self.assignments,
            cgroups=self._cgroups,
            machine=Machine(
                memory_bytes=machine.memory_bytes,
                unified=self._cgroups.is_v2,
                seccomp_folder=config.root / "seccomp",
                apparmor=self._apparmor,
                swap=Swap(
                    total_bytes=machine.swap_bytes,
                    behavior=config.swap_behavior,
                    unified=self._cgroups.is_v2,
                ),
            ),
            logs=config.logs,
            cluster_dns=config.cluster_dns,
            cluster_domain=config.cluster_domain,
            allocatable=allocatable(machine),
            host_ips=config.node.ips,
            isolate=config.isolate,
            resolver=node_resolver,
            services=lambda: (item.obj for item in self._services.items()),
            network_trouble=lambda: self.node_status.trouble,
            resize_refusal=self._resize_refusal,
            freed=lambda: self.workers.share_out(),  # noqa: PLW0108 -- they are made with this
            crashes=Backoffs(clock),
            tallies=self.tallies,
            user_namespaces=UserNamespaces(config.root / "pods", config.user_ids),
            runtime_status=lambda: self.node_status.runtime,
        )
