"""What the scheduler knows of a node: what it has, and what its pods have taken."""

from collections.abc import Mapping, Sequence

from minikube_py.api import quantity
from minikube_py.api.item import Item
from minikube_py.api.object import Obj, get
from minikube_py.api.taints import NO_EXECUTE, NO_SCHEDULE, PREFER_NO_SCHEDULE, taints_of
from minikube_py.server.scheduler.pod_info import Amounts, PodInfo


def same_facts(old: Item, new: Item) -> bool:
    """Tell whether two versions of a node are alike in all that is known of it here."""
    before, after = old.obj, new.obj
    return (
        old.labels == new.labels
        and before.get("spec") == after.get("spec")
        and all(
            get(before, path) == get(after, path)
            for path in ("status.allocatable", "status.images", "status.declaredFeatures")
        )
    )


class NodeInfo:
    """One node and the pods that are bound, or assumed to be bound, to it."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.item: Item | None = None
        """None while pods are known of a node that is not."""
        self.labels: Mapping[str, str] = {}
        self.taints: Sequence[Obj] = ()
        self.hard_taints: Sequence[Obj] = ()
        """Those that keep pods off."""
        self.soft_taints: Sequence[Obj] = ()
        """Those that pods rather avoid."""
        self.unschedulable = False
        self.allocatable: Amounts = {}
        self.images: Mapping[str, int] = {}
        """Size in bytes of the images that the node has, by each of their names."""
        self.pods: dict[str, PodInfo] = {}
        self.requested: dict[str, int] = {}
        self.weight = (0, 0)
        """CPU and memory that the pods have taken, as scores count them."""
        self.capacity = (1, 1)
        """CPU and memory that there is, never zero."""

    @property
    def node(self) -> Obj | None:
        """The node; parsed for whoever asks, because thousands of them are large."""
        return None if self.item is None else self.item.obj

    def set_node(self, item: Item) -> None:
        """Take up a new version of the node."""
        self.item, node = item, item.obj
        self.labels = item.labels
        self.taints = taints_of(node)
        self.hard_taints = taints_of(node, NO_SCHEDULE, NO_EXECUTE)
        self.soft_taints = taints_of(node, PREFER_NO_SCHEDULE)
        self.unschedulable = bool(get(node, "spec.unschedulable"))
        self.allocatable = amounts(get(node, "status.allocatable", {}))
        cpu, memory = self.allocatable.get("cpu", 0), self.allocatable.get("memory", 0)
        self.capacity = (cpu or 1, memory or 1)
        self.images = {
            name: image.get("sizeBytes", 0)
            for image in get(node, "status.images", ())
            for name in image.get("names") or ()
        }

    def add(self, pod: PodInfo) -> None:
        """Count a pod in."""
        self.pods[pod.uid] = pod
        self._count(pod, 1)

    def remove(self, uid: str) -> None:
        """Count a pod out; one that is not there changes nothing."""
        pod = self.pods.pop(uid, None)
        if pod is not None:
            self._count(pod, -1)

    def _count(self, pod: PodInfo, sign: int) -> None:
        for name, amount in pod.requests.items():
            self.requested[name] = self.requested.get(name, 0) + sign * amount
        self.weight = (
            self.weight[0] + sign * pod.weight[0],
            self.weight[1] + sign * pod.weight[1],
        )

    def copy(self) -> "NodeInfo":
        """Return a copy whose pods may be added and removed to see what would be."""
        other = NodeInfo(self.name)
        other.__dict__.update(self.__dict__)
        other.pods = dict(self.pods)
        other.requested = dict(self.requested)
        return other


def amounts(resources: Mapping[str, str]) -> Amounts:
    """Return amounts as integers: CPU in thousandths, all others in whole units."""
    return {
        name: quantity.milli_value(text) if name == "cpu" else quantity.value(text)
        for name, text in resources.items()
    }
