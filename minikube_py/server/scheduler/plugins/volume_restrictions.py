"""Volumes that only one pod may use, or only one node: upstream's plugins/volumerestrictions.

A claim with the access mode ReadWriteOncePod is one pod's in the whole cluster. Disks that a pod
names itself, without a claim, are one pod's on each node, except where all only read them.
"""

from collections.abc import Callable, Collection, Iterable, Mapping

from minikube_py.api.core import NODES, PERSISTENTVOLUMECLAIMS, PODS
from minikube_py.api.object import Key, Obj, get
from minikube_py.server.scheduler.cluster_events import Action, ClusterEvent, Registered
from minikube_py.server.scheduler.framework import Cycle, Handle, Question, Rejection, rejection
from minikube_py.server.scheduler.node_info import NodeInfo
from minikube_py.server.scheduler.plugins.volume_stores import VolumeStores
from minikube_py.server.scheduler.pod_info import PodInfo

DISK = rejection("node(s) had no available disk")
ONE_POD = rejection(
    "node has pod using PersistentVolumeClaim with the same name and ReadWriteOncePod access mode"
)
MODE = "ReadWriteOncePod"


def _same(*fields: str) -> Callable[[Obj, Obj], bool]:
    """Return the test whether two sources have the same values in some fields."""
    return lambda one, other: all(one.get(field) == other.get(field) for field in fields)


def _same_rbd(one: Obj, other: Obj) -> bool:
    monitors = set(one.get("monitors") or ()) & set(other.get("monitors") or ())
    return bool(monitors) and _same("pool", "image")(one, other)


DISKS: Mapping[str, tuple[Callable[[Obj, Obj], bool], bool]] = {
    "gcePersistentDisk": (_same("pdName"), True),
    "awsElasticBlockStore": (_same("volumeID"), False),
    "iscsi": (_same("iqn"), True),
    "rbd": (_same_rbd, True),
}
"""Source -> when two are the same disk, and whether several may read it at once."""


class VolumeRestrictions:
    """Asks whether somebody else has what only one may have."""

    name = "VolumeRestrictions"

    def __init__(self, handle: Handle) -> None:
        self._stores = VolumeStores(handle)

    def events_to_register(self) -> Iterable[Registered]:
        """Pods that go and held it; claims that come or change; new nodes."""
        return (
            Registered(PODS, Action.DELETE, _held_it),
            Registered(NODES, Action.ADD),
            Registered(PERSISTENTVOLUMECLAIMS, Action.ADD | Action.UPDATE),
        )

    def filter(self, cycle: Cycle) -> Question | None:
        """Return the question, where the pod has such claims or disks."""
        pod = cycle.pod
        disks = [v for v in get(pod.obj, "spec.volumes", ()) if any(kind in v for kind in DISKS)]
        keys = [key for _, key in pod.claims if self._is_for_one(key)]
        if not disks and not keys:
            return None
        users = frozenset(users_of(keys, cycle.cache.pods())) if keys else frozenset()
        return Alone(disks, keys, users - {pod.uid})

    def _is_for_one(self, key: Key) -> bool:
        claim = self._stores.claims.get(key)
        return MODE in get(claim, "spec.accessModes", ())


class Alone:
    """The question, with pods moved in thought: who else has the claims, and the disks."""

    def __init__(
        self, disks: Collection[Obj], keys: Collection[Key], users: frozenset[str]
    ) -> None:
        self._disks = disks
        self._keys = keys
        self._users = users
        """Uids of the pods that use one of the claims, anywhere."""

    def __call__(self, node: NodeInfo) -> Rejection | None:
        """Return why the pod cannot have its volumes on the node."""
        if self._users:
            return ONE_POD
        for volume in self._disks:
            if any(collides(volume, pod) for pod in node.pods.values()):
                return DISK
        return None

    def shifted(
        self, _node: NodeInfo, added: Iterable[PodInfo], removed: Iterable[PodInfo]
    ) -> Question:
        """Return the question as it would be with pods come to and gone from a node."""
        users = self._users | set(users_of(self._keys, added))
        return Alone(self._disks, self._keys, users - {pod.uid for pod in removed})


def users_of(keys: Collection[Key], pods: Iterable[PodInfo]) -> Iterable[str]:
    """Yield the uids of the pods that use one of the claims."""
    names = [key.name.encode() for key in keys]
    for pod in pods:
        # Parsing is dear: first see whether the name stands anywhere in the pod.
        if any(name in pod.item.data or b'"ephemeral"' in pod.item.data for name in names) and any(
            key in keys for _, key in pod.claims
        ):
            yield pod.uid


def collides(volume: Obj, pod: PodInfo) -> bool:
    """Tell whether a pod uses the disk of a volume in a way that leaves no room for another."""
    for kind, (same, may_share) in DISKS.items():
        source = volume.get(kind)
        if source is None or f'"{kind}"'.encode() not in pod.item.data:
            continue
        for other in get(pod.obj, "spec.volumes", ()):
            its = other.get(kind)
            if its is None or not same(source, its):
                continue
            if not (may_share and source.get("readOnly") and its.get("readOnly")):
                return True
    return False


def _held_it(pod: PodInfo, event: ClusterEvent) -> bool:
    gone = event.old_pod
    if gone is None:
        return True
    mine = {key for _, key in pod.claims}
    if any(key in mine for _, key in gone.claims):
        return True
    return any(collides(volume, gone) for volume in get(pod.obj, "spec.volumes", ()))
