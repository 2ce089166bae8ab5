"""The simulation at work: one queue and a few workers for all nodes and all their pods.

The queue is the timer wheel: a node stands in it with the time of its next heartbeat, a pod with
the time of its next change, and one timer of the loop serves them all. Nothing is kept of a pod
but since when it is at its stage, and the cluster is the only memory: a simulation that starts
again goes on with the nodes and pods that are there.
"""

import functools
import ipaddress
import logging
from typing import Any, NamedTuple

from minikube_py.agent.simulated.node import GROUP, is_down, is_well, names, new_node, status
from minikube_py.agent.simulated.pod import Stage, Step, View, began, stage_of, step
from minikube_py.agent.simulated.rules import NodeGroup, Rules
from minikube_py.api import times
from minikube_py.api.coordination import LEASES
from minikube_py.api.core import NODES, PODS
from minikube_py.api.errors import AlreadyExistsError, ConflictError, NotFoundError, StatusError
from minikube_py.api.item import Item
from minikube_py.api.object import (
    Key,
    Obj,
    annotations_of,
    evolve,
    get,
    labels_of,
)
from minikube_py.client.informer import Informers
from minikube_py.client.protocol import Client
from minikube_py.client.watcher import Selection
from minikube_py.client.workqueue import WorkQueue
from minikube_py.lib.clock import Clock
from minikube_py.lib.tasks import Nursery, for_each

log = logging.getLogger(__name__)
ON_NODE = "simulated: on node"
"""Name of the index of pods."""
LEASE_NAMESPACE = "kube-node-lease"
LEASE_SECONDS = 40
BEAT_SECONDS, BEAT_SECONDS_MAX = 10.0, 25.0
"""As kubelets do it: a Lease holds for forty seconds and is renewed every ten. Many nodes are heard
less often, but more than once in the fifty seconds after which a silent node is lost."""
BEATS_PER_SECOND_MAX = 200
TICK_SECONDS = 0.1
"""Heartbeats of nodes that are due within so long are sent together."""
WORKERS = 16
"""So many writes are under way at once; the datastore gathers them into one transaction."""
POD_NETWORK = ipaddress.IPv4Network("100.64.0.0/10")
"""Pods have addresses of 100.64.0.0/10, which is nobody's (RFC 6598)."""


class _Seen(NamedTuple):
    """What is kept of a pod."""

    stage: Stage
    since: float
    revision: int


class SimulatedNodes:
    """All nodes that carry the label of the simulation."""

    def __init__(
        self,
        client: Client,
        informers: Informers,
        clock: Clock,
        rules: Rules | None = None,
        *,
        beat_seconds: float = BEAT_SECONDS,
    ) -> None:
        self.rules = rules or Rules()
        self.silent: set[str] = set()
        """Names of nodes that are cut off beside those that the rules say."""
        self.beat_seconds = beat_seconds
        self._client = client
        self._clock = clock
        self._nodes = informers.get(NODES, Selection(label_selector=GROUP))
        self._pods = informers.get(PODS)
        self._pods.add_index(ON_NODE, lambda item: (item.fields.get("spec.nodeName", ""),))
        self._groups = {group.name: group for group in self.rules.nodes}
        self._queue: WorkQueue[Key] = WorkQueue(clock)
        self._leases: dict[str, str] = {}
        """The revision of each node's Lease, by the node's name."""
        self._beats: dict[str, float] = {}
        self._down: set[str] = set()
        self._seen: dict[str, _Seen] = {}
        self._address = 0

    async def register(self, count: int) -> None:
        """Have so many nodes; those of an earlier simulation that are too many go.

        Raises:
            StatusError: the cluster did not take one of them.

        """
        now = times.now_string(self._clock)
        wanted: dict[str, tuple[NodeGroup, int]] = {}
        for group, share in self.rules.shares(count):
            wanted |= {name: (group, at) for at, name in enumerate(names(group, share))}
        listed = await self._client.list(NODES, label_selector=GROUP)
        there = {item.key.name for item in listed.items}
        made = [new_node(*wanted[name], now) for name in wanted if name not in there]
        create = functools.partial(self._client.create, NODES)
        await for_each(made, create, at_once=WORKERS)
        own = tuple(f"{name}-" for name in self._groups)
        surplus = [name for name in there if name.startswith(own) and name not in wanted]
        await for_each(surplus, functools.partial(self._client.delete, NODES), at_once=WORKERS)
        log.info("nodes are simulated nodes=%d made=%d", count, len(made))

    async def run(self) -> None:
        """Be the kubelets of all simulated nodes, until cancelled."""
        await self._nodes.wait_synced()
        await self._pods.wait_synced()
        self._address = max(map(_number, self._pods.items()), default=0)
        ends = [
            self._nodes.subscribe(self._node_changed),
            self._pods.subscribe(self._pod_changed),
        ]
        try:
            async with Nursery("simulated nodes") as nursery:
                for number in range(WORKERS):
                    nursery.start(f"simulated nodes {number}", self._work())
                await nursery.join()
        finally:
            self._queue.close()
            for end in ends:
                end()

    def _node_changed(self, old: Item | None, new: Item | None) -> None:
        item = new or old
        if item is not None:
            self._queue.add(item.key)
        if old is None and new is not None:
            self._queue_pods(new.key.name)

    def _pod_changed(self, old: Item | None, new: Item | None) -> None:
        if new is None:
            if old is not None:
                self._seen.pop(old.uid, None)
        elif self._simulates(new):
            self._queue.add(new.key)

    def _simulates(self, pod: Item) -> bool:
        node = pod.fields.get("spec.nodeName", "")
        return bool(node) and self._nodes.item(Key("", node)) is not None

    async def _work(self) -> None:
        while True:
            key = await self._queue.get()
            try:
                again = await (self._pod(key) if key.namespace else self._node(key.name))
            except (ConflictError, NotFoundError, AlreadyExistsError) as error:
                log.debug("object changed meanwhile key=%s error=%s", key, error)
                self._queue.retry(key)
            except StatusError as error:
                log.warning("simulated write failed, trying again key=%s error=%s", key, error)
                self._queue.retry(key)
            else:
                self._queue.forget(key)
                if again is not None:
                    self._queue.add_after(key, again)
            finally:
                self._queue.done(key)

    # --- nodes ----------------------------------------------------------------------------------

    async def _node(self, name: str) -> float | None:
        """Let a node be heard; return when it is due again."""
        node = self._nodes.get(Key("", name))
        if node is None:
            self._forget(name)
            return None
        group = self._groups.get(labels_of(node)[GROUP], self.rules.nodes[0])
        if name in self.silent or is_down(node, group, self._clock.now().timestamp()):
            self._down.add(name)
            return self.beat_seconds
        if not is_well(node):
            now = times.now_string(self._clock)
            well = evolve(node, "status", status(node, group, now))
            await self._client.update(NODES, well, subresource="status")
        if name in self._down:
            self._down.discard(name)
            self._queue_pods(name)
        moment = self._clock.monotonic()
        if moment > self._beats.get(name, 0.0) - TICK_SECONDS / 2:
            await self._renew(node)
            self._beats[name] = _tick(moment + self._interval())
        return self._beats[name] - moment

    def _interval(self) -> float:
        """Return the seconds between two heartbeats of a node."""
        wanted = max(self.beat_seconds, len(self._nodes) / BEATS_PER_SECOND_MAX)
        return min(wanted, max(self.beat_seconds, BEAT_SECONDS_MAX))

    def _forget(self, name: str) -> None:
        self._leases.pop(name, None)
        self._beats.pop(name, None)
        self._down.discard(name)

    def _queue_pods(self, node: str) -> None:
        for item in self._pods.indexed(ON_NODE, node):
            self._queue.add(item.key)

    async def _renew(self, node: Obj) -> None:
        name = node["metadata"]["name"]
        revision = self._leases.get(name)
        try:
            if revision is None:
                there = await self._client.get(LEASES, name, LEASE_NAMESPACE)
                revision = there["metadata"]["resourceVersion"]
            renewed = evolve(self._lease(node), "metadata.resourceVersion", revision)
            lease = await self._client.update(LEASES, renewed)
        except NotFoundError:
            lease = await self._client.create(LEASES, self._lease(node))
        except ConflictError:
            self._leases.pop(name, None)
            raise
        self._leases[name] = lease["metadata"]["resourceVersion"]

    def _lease(self, node: Obj) -> dict[str, Any]:
        name = node["metadata"]["name"]
        owner = {"apiVersion": "v1", "kind": "Node", "name": name, "uid": node["metadata"]["uid"]}
        spec = {
            "holderIdentity": name,
            "leaseDurationSeconds": LEASE_SECONDS,
            "renewTime": times.now_micros(self._clock),
        }
        metadata = {"name": name, "namespace": LEASE_NAMESPACE, "ownerReferences": [owner]}
        return {
            "apiVersion": LEASES.api_version,
            "kind": LEASES.kind,
            "metadata": metadata,
            "spec": spec,
        }

    # --- pods -----------------------------------------------------------------------------------

    async def _pod(self, key: Key) -> float | None:
        """Take a pod one step further; return when the next one is due."""
        item = self._pods.item(key)
        if item is None or not self._simulates(item):
            return None
        pod = item.obj
        node = pod["spec"]["nodeName"]
        if node in self._down or node in self.silent:
            return None
        seen = self._look(item, pod)
        if seen is None:
            return None
        found = step(self._view(pod, self._clock.monotonic() - seen.since))
        await self._carry_out(item, pod, found)
        return found.again

    def _look(self, item: Item, pod: Obj) -> _Seen | None:
        """Return what is known of a pod; None where the cache is behind our last write."""
        seen = self._seen.get(item.uid)
        if seen is not None and item.revision < seen.revision:
            return None
        stage = stage_of(pod)
        if seen is None or seen.stage is not stage:
            age = 0.0
            if seen is None and stage is Stage.UP:  # an earlier simulation has started it
                since = times.parse(began(pod))
                age = max((self._clock.now() - since).total_seconds(), 0.0)
            seen = _Seen(stage, self._clock.monotonic() - age, item.revision)
            self._seen[item.uid] = seen
        return seen

    def _view(self, pod: Obj, age: float) -> View:
        ip = ""
        if not get(pod, "status.podIP"):
            self._address = self._address % (POD_NETWORK.num_addresses - 2) + 1
            ip = str(POD_NETWORK[self._address])
        node = self._nodes.get(Key("", pod["spec"]["nodeName"]))
        hosts = get(node, "status.addresses") or ()
        host = next((one["address"] for one in hosts if one["type"] == "InternalIP"), "")
        behaviour = self.rules.behaviour(labels_of(pod), annotations_of(pod))
        return View(pod, behaviour, age, times.now_string(self._clock), ip, host)

    async def _carry_out(self, item: Item, pod: Obj, found: Step) -> None:
        if found.status is not None:
            changed = evolve(pod, "status", found.status)
            written = await self._client.update(PODS, changed, subresource="status")
            self._written(item.uid, written)
        if found.delete:
            options = {"gracePeriodSeconds": 0, "preconditions": {"uid": item.uid}}
            await self._client.delete(PODS, item.key.name, item.key.namespace, options=options)

    def _written(self, uid: str, pod: Obj) -> None:
        """Remember what was written, so that a cache that is behind is not acted upon."""
        stage, seen = stage_of(pod), self._seen[uid]
        since = seen.since if stage is seen.stage else self._clock.monotonic()
        self._seen[uid] = _Seen(stage, since, int(pod["metadata"]["resourceVersion"]))


def _tick(seconds: float) -> float:
    """Return the nearest time at which nodes are heard, so that many wake together."""
    return round(seconds / TICK_SECONDS) * TICK_SECONDS


def _number(pod: Item) -> int:
    """Return which address of the simulation a pod has, 0 where it has none."""
    text = pod.fields.get("status.podIP", "")
    number = int(ipaddress.ip_address(text)) - int(POD_NETWORK[0]) if text else 0
    return number if 0 <= number < POD_NETWORK.num_addresses else 0
