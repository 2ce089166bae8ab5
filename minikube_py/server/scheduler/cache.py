"""All nodes with their pods, as the scheduler believes them to be.

It runs ahead of the informers by the pods that were assumed: placed, with their binding still
under way. A pod that the informer shows bound takes the place of the assumed one.
"""

import itertools
from collections import Counter, deque
from collections.abc import Collection, Iterable, Mapping, Sequence

from minikube_py.api.item import Item
from minikube_py.api.object import Key
from minikube_py.api.selectors import LabelSelector
from minikube_py.client.protocol import Lister
from minikube_py.server.scheduler.node_info import NodeInfo, same_facts
from minikube_py.server.scheduler.pod_info import PodInfo
from minikube_py.server.scheduler.tally import PodIndex

CHANGES_MAX = 4096
"""Remembered; who asks more seldom looks at every node anew."""


class Changes:
    """The names of nodes in the order in which they, or their pods, changed."""

    def __init__(self) -> None:
        self._names: deque[str] = deque(maxlen=CHANGES_MAX)
        self.count = 0
        """How many changes there have been."""

    def add(self, name: str) -> None:
        """Note that a node is another one."""
        self._names.append(name)
        self.count += 1

    def since(self, count: int) -> Collection[str] | None:
        """Return the nodes that changed after so many changes, each once; None: too many."""
        new = self.count - count
        if count < 0 or new > len(self._names):
            return None
        return dict.fromkeys(itertools.islice(reversed(self._names), new))


class Nominations:
    """Pods that wait for room on a node which is held for them, by node."""

    def __init__(self) -> None:
        self._pods: dict[str, PodInfo] = {}
        self._at: dict[str, dict[str, PodInfo]] = {}

    def __len__(self) -> int:
        return len(self._pods)

    def put(self, pod: PodInfo) -> None:
        """Hold room for a pod on `pod.node`, and nowhere else any more."""
        self.remove(pod.uid)
        self._pods[pod.uid] = pod
        self._at.setdefault(pod.node, {})[pod.uid] = pod

    def remove(self, uid: str) -> bool:
        """Hold no room for a pod; tell whether there was any."""
        pod = self._pods.pop(uid, None)
        if pod is None:
            return False
        there = self._at[pod.node]
        del there[uid]
        if not there:
            del self._at[pod.node]
        return True

    def get(self, uid: str) -> PodInfo | None:
        """Return the pod on the node that is held for it."""
        return self._pods.get(uid)

    def on(self, node: str) -> Iterable[PodInfo]:
        """Return the pods for which room is held on a node."""
        return self._at.get(node, {}).values()

    def before(self, pod: PodInfo, node: str) -> Sequence[PodInfo]:
        """Return those on a node that are at least as important as a pod."""
        there = self._at.get(node)
        if there is None:
            return ()
        return [o for o in there.values() if o.priority >= pod.priority and o.uid != pod.uid]


class Cache:
    """The state that plugins ask; only the scheduler's own task changes it."""

    def __init__(self, namespaces: Lister | None = None) -> None:
        self.nodes: dict[str, NodeInfo] = {}
        """The nodes that exist, by name."""
        self.nodes_with_image: Counter[str] = Counter()
        """How many nodes have an image, by each of its names."""
        self.soft_tainted: set[str] = set()
        """The nodes with taints that pods rather avoid."""
        self._infos: dict[str, NodeInfo] = {}
        self._node_of: dict[str, str] = {}
        self._namespaces = namespaces
        self.index = PodIndex(self.nodes, self.pods)
        """Counts of pods by domain."""
        self.nominated = Nominations()
        self.changes = Changes()

    def set_node(self, item: Item) -> None:
        """Take up a new node or a new version of one."""
        name = item.key.name
        info = self._info(name)
        if info.item is not None and same_facts(info.item, item):
            info.item = item
            return
        self.changes.add(name)
        self._forget_facts(info)
        info.set_node(item)
        self.nodes[name] = info
        self.index.set_node(info)
        self.nodes_with_image.update(info.images.keys())
        if info.soft_taints:
            self.soft_tainted.add(name)

    def remove_node(self, name: str) -> None:
        """Forget a node; its pods stay known until they are gone themselves."""
        info = self.nodes.pop(name, None)
        if info is not None:
            self.changes.add(name)
            self._forget_facts(info)
            self.index.remove_node(name)
            info.item = None
            self._drop_if_empty(info)

    def _forget_facts(self, info: NodeInfo) -> None:
        """Count out what was counted of the node itself."""
        if info.item is None:
            return
        self.soft_tainted.discard(info.name)
        for name in info.images:
            self.nodes_with_image[name] -= 1
            if not self.nodes_with_image[name]:
                del self.nodes_with_image[name]

    def set_pod(self, pod: PodInfo) -> None:
        """Take up a pod that has a node, in place of what was known or assumed of it."""
        self.remove_pod(pod.uid)
        self._node_of[pod.uid] = pod.node
        self._info(pod.node).add(pod)
        self.changes.add(pod.node)
        self.index.count(pod, 1)

    def confirm(self, known: PodInfo, item: Item) -> PodInfo:
        """Take up the new version of an assumed pod that is bound now, where it was assumed."""
        pod = self._infos[known.node].pods[known.uid] = known.at(item)
        return pod

    def remove_pod(self, uid: str) -> None:
        """Forget a pod that is gone, finished, or was assumed in vain."""
        name = self._node_of.pop(uid, None)
        if name is None:
            return
        info = self._infos[name]
        self.changes.add(name)
        self.index.count(info.pods[uid], -1)
        info.remove(uid)
        self._drop_if_empty(info)

    def pod(self, uid: str) -> PodInfo | None:
        """Return a pod that is bound or assumed to be."""
        name = self._node_of.get(uid)
        return None if name is None else self._infos[name].pods[uid]

    def has_pod(self, uid: str) -> bool:
        """Tell whether the pod is bound or assumed to be."""
        return uid in self._node_of

    def _info(self, name: str) -> NodeInfo:
        return self._infos.setdefault(name, NodeInfo(name))

    def _drop_if_empty(self, info: NodeInfo) -> None:
        if info.item is None and not info.pods:
            self._infos.pop(info.name, None)

    def pods(self) -> Iterable[PodInfo]:
        """Return all pods that have a node."""
        return (pod for info in self._infos.values() for pod in info.pods.values())

    def namespaces_with(self, selector: LabelSelector) -> Iterable[str]:
        """Return the names of the namespaces whose labels a selector means."""
        if self._namespaces is None:
            return ()
        return [i.key.name for i in self._namespaces.items() if selector.matches(i.labels)]

    def namespace_labels(self, name: str) -> Mapping[str, str]:
        """Return the labels of a namespace."""
        if self._namespaces is None:
            return {}
        namespace = self._namespaces.get(Key("", name))
        return {} if namespace is None else namespace["metadata"].get("labels") or {}
