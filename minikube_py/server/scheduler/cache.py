"""All nodes with their pods, as the scheduler believes them to be.

It runs ahead of the informers by the pods that were assumed: placed, with their binding still
under way. A pod that the informer shows bound takes the place of the assumed one.
"""

from collections import Counter
from collections.abc import Iterable, Mapping

from minikube_py.api.object import Key, Obj
from minikube_py.client.protocol import Lister
from minikube_py.server.scheduler.node_info import NodeInfo
from minikube_py.server.scheduler.pod_info import PodInfo


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
        self.with_terms: dict[str, PodInfo] = {}
        """Pods with affinity or anti-affinity to other pods, by uid."""
        self.nominated: dict[str, PodInfo] = {}
        """Pods that wait for victims on a node to go, by uid."""

    def set_node(self, node: Obj) -> None:
        """Take up a new node or a new version of one."""
        name = node["metadata"]["name"]
        info = self._info(name)
        self._forget_facts(info)
        info.set_node(node)
        self.nodes[name] = info
        self.nodes_with_image.update(info.images.keys())
        if info.soft_taints:
            self.soft_tainted.add(name)

    def remove_node(self, name: str) -> None:
        """Forget a node; its pods stay known until they are gone themselves."""
        info = self.nodes.pop(name, None)
        if info is not None:
            self._forget_facts(info)
            info.node = None
            self._drop_if_empty(info)

    def _forget_facts(self, info: NodeInfo) -> None:
        """Count out what was counted of the node itself."""
        if info.node is None:
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
        if pod.terms.required or pod.terms.required_not or pod.terms.preferred:
            self.with_terms[pod.uid] = pod

    def remove_pod(self, uid: str) -> None:
        """Forget a pod that is gone, finished, or was assumed in vain."""
        name = self._node_of.pop(uid, None)
        if name is None:
            return
        info = self._infos[name]
        info.remove(uid)
        self.with_terms.pop(uid, None)
        self._drop_if_empty(info)

    def has_pod(self, uid: str) -> bool:
        """Tell whether the pod is bound or assumed to be."""
        return uid in self._node_of

    def _info(self, name: str) -> NodeInfo:
        return self._infos.setdefault(name, NodeInfo(name))

    def _drop_if_empty(self, info: NodeInfo) -> None:
        if info.node is None and not info.pods:
            self._infos.pop(info.name, None)

    def pods(self) -> Iterable[PodInfo]:
        """Return all pods that have a node."""
        return (pod for info in self._infos.values() for pod in info.pods.values())

    def namespace_labels(self, name: str) -> Mapping[str, str]:
        """Return the labels of a namespace."""
        if self._namespaces is None:
            return {}
        namespace = self._namespaces.get(Key("", name))
        return {} if namespace is None else namespace["metadata"].get("labels") or {}

    def with_nominated(self, pod: PodInfo) -> "Cache":
        """Return the state with the room taken that is held for other pods as important as this."""
        view = self
        for other in self.nominated.values():
            known = view.nodes.get(other.node)
            if known is None or other.uid == pod.uid or other.priority < pod.priority:
                continue
            info = known.copy()
            info.add(other)
            view = view.replacing(info)
        return view

    def replacing(self, info: NodeInfo) -> "Cache":
        """Return the same state with one node as it would be."""
        other = Cache(self._namespaces)
        other.__dict__.update(self.__dict__)
        other.nodes = {**self.nodes, info.name: info}
        other._infos = {**self._infos, info.name: info}
        gone = self._infos[info.name].pods.keys() - info.pods.keys()
        if gone & self.with_terms.keys():
            other.with_terms = {u: pod for u, pod in self.with_terms.items() if u not in gone}
        return other
