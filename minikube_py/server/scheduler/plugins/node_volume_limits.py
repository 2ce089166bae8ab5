"""A node has no more volumes of a driver than the driver says it can have (CSINode).

What counts are different volumes, not pods that use them: those of the claims of the node's pods,
and those that are attached to it.
"""

from collections.abc import Iterable, Iterator
from typing import cast

from minikube_py.api.core import PERSISTENTVOLUMECLAIMS, PODS
from minikube_py.api.item import Item
from minikube_py.api.object import Key, Obj, get
from minikube_py.api.storage import CSINODES, VOLUMEATTACHMENTS
from minikube_py.client.store import ItemStore
from minikube_py.server.scheduler.cluster_events import Action, ClusterEvent, Registered
from minikube_py.server.scheduler.framework import Cycle, Handle, Question, Rejection, rejection
from minikube_py.server.scheduler.node_info import NodeInfo
from minikube_py.server.scheduler.plugins.volume_stores import VolumeStores
from minikube_py.server.scheduler.pod_info import PodInfo

FULL = rejection("node(s) exceed max volume count")
ON_NODE = "attached-to"
Used = tuple[str, str]
"""A driver and what it calls a volume."""


class NodeVolumeLimits:
    """Counts volumes."""

    name = "NodeVolumeLimits"

    def __init__(self, handle: Handle) -> None:
        self._stores = VolumeStores(handle)
        self._nodes = handle.lister(CSINODES)
        self._attachments = cast("ItemStore", handle.lister(VOLUMEATTACHMENTS))
        self._attachments.add_index(ON_NODE, _node)

    def events_to_register(self) -> Iterable[Registered]:
        """Limits that change, pods and attachments that go, claims that come."""
        return (
            Registered(CSINODES, Action.ADD | Action.UPDATE),
            Registered(PODS, Action.DELETE, _had_claims),
            Registered(PERSISTENTVOLUMECLAIMS, Action.ADD | Action.UPDATE),
            Registered(VOLUMEATTACHMENTS, Action.DELETE),
        )

    def filter(self, cycle: Cycle) -> Question | None:
        """Return the question, where the pod has volumes of drivers."""
        wanted = frozenset(self._used(cycle.pod))
        if not wanted:
            return None

        def ask(node: NodeInfo) -> Rejection | None:
            limits = self._limits(node.name)
            if not any(driver in limits for driver, _ in wanted):
                return None
            there = set(self._there(node))
            for driver, limit in limits.items():
                new = {one for one in wanted if one[0] == driver} - there
                if new and sum(one[0] == driver for one in there) + len(new) > limit:
                    return FULL
            return None

        return ask

    def _limits(self, node: str) -> dict[str, int]:
        """Return how many volumes each driver can have on a node, where it says so."""
        drivers = get(self._nodes.get(Key("", node)), "spec.drivers", ())
        counts = {one["name"]: get(one, "allocatable.count") for one in drivers}
        return {name: count for name, count in counts.items() if count is not None}

    def _there(self, node: NodeInfo) -> Iterator[Used]:
        for pod in node.pods.values():
            if b'"persistentVolumeClaim"' in pod.item.data or b'"ephemeral"' in pod.item.data:
                yield from self._used(pod)
        for item in self._attachments.indexed(ON_NODE, node.name):
            name = get(item.obj, "spec.source.persistentVolumeName", "")
            yield from _handle(self._stores.volumes.get(Key("", name)))

    def _used(self, pod: PodInfo) -> Iterator[Used]:
        for _, key in pod.claims:
            claim = self._stores.claims.get(key)
            if claim is None:
                continue
            volume = self._stores.volumes.get(Key("", get(claim, "spec.volumeName", "")))
            if volume is not None:
                yield from _handle(volume)
                continue
            storage_class = self._stores.class_of(claim)
            if storage_class is not None:
                yield storage_class["provisioner"], f"to be made for {key}"


def _handle(volume: Obj | None) -> Iterator[Used]:
    source = get(volume, "spec.csi")
    if source is not None:
        yield source["driver"], source["volumeHandle"]


def _node(item: Item) -> tuple[str, ...]:
    return (get(item.obj, "spec.nodeName", ""),)


def _had_claims(_: PodInfo, event: ClusterEvent) -> bool:
    return event.old is None or event.old_pod is None or bool(event.old_pod.claims)
