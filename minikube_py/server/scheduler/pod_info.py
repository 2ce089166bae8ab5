"""What the scheduler knows of a pod: amounts, ports and terms, computed once per version of it.

What only a pending pod needs is computed on demand from the shared item, so that a cache of ten
thousand running pods holds a few numbers and references each.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import orjson

from minikube_py.api import node_selectors, selectors, times
from minikube_py.api.core.pod_resources import added, aggregate_by, amounts_of, held_amounts, parsed
from minikube_py.api.core.volume_matching import claims_of
from minikube_py.api.item import Item
from minikube_py.api.node_selectors import NodeTest
from minikube_py.api.object import Key, Obj, annotations_of, controller_of, get
from minikube_py.api.quantity import Quantity
from minikube_py.api.selectors import LabelSelector
from minikube_py.api.taints import tolerations_of

DEFAULT_MILLI_CPU = 100
DEFAULT_MEMORY = 200 * 1024 * 1024
"""What scores assume of a container that asks for nothing; upstream's numbers."""
ANY_ADDRESS = "0.0.0.0"
DEADLINE = "kpy.dev/deadline"
"""Annotation of ours: the time by which the pod is to have a node, in RFC 3339."""
Amounts = Mapping[str, int]
"""Resources as integers: CPU in thousandths, all others in whole units."""


@dataclass(frozen=True)
class HostPort:
    """A port of the node that a pod takes."""

    address: str
    protocol: str
    number: int

    def collides(self, other: "HostPort") -> bool:
        """Tell whether both cannot be on one node."""
        if (self.protocol, self.number) != (other.protocol, other.number):
            return False
        return self.address == other.address or ANY_ADDRESS in (self.address, other.address)


@dataclass(frozen=True)
class Term:
    """One term of inter-pod affinity: which pods, near in which sense."""

    selector: LabelSelector
    namespaces: frozenset[str]
    namespace_selector: LabelSelector | None
    topology_key: str
    weight: int = 0

    def matches(self, pod: "PodInfo", namespace_labels: Mapping[str, str]) -> bool:
        """Tell whether the term means that pod."""
        there = pod.namespace in self.namespaces or (
            self.namespace_selector is not None
            and self.namespace_selector.matches(namespace_labels)
        )
        return there and self.selector.matches(pod.labels)


@dataclass(frozen=True)
class Terms:
    """All of a pod's inter-pod affinity."""

    required: Sequence[Term] = ()
    required_not: Sequence[Term] = ()
    preferred: Sequence[Term] = ()
    """Those with a negative weight are anti-affinity."""


NO_TERMS = Terms()


class PodInfo:
    """One pod at one revision."""

    def __init__(self, item: Item) -> None:
        self.item = item
        self.uid = item.uid
        self.key = item.key
        self.namespace = item.key.namespace
        self.labels = item.labels
        pod = item.obj
        self.node: str = get(pod, "spec.nodeName", "")
        self.scheduler: str = get(pod, "spec.schedulerName", "")
        self.nominated: str = get(pod, "status.nominatedNodeName", "")
        self.priority: int = get(pod, "spec.priority", 0)
        self.owner: str = get(controller_of(pod), "uid", "")
        self.requests: Amounts = requests_of(pod)
        self.weight: tuple[int, int] = weight_of(pod, self.requests)
        """CPU and memory for scores, with defaults for containers that ask for nothing."""
        self.ports: Sequence[HostPort] = tuple(host_ports(pod))
        affine = "podAffinity" in get(pod, "spec.affinity", ()) or "podAntiAffinity" in get(
            pod, "spec.affinity", ()
        )
        self.terms: Terms = terms_of(pod) if affine else NO_TERMS

    @property
    def obj(self) -> Obj:
        """The pod."""
        return self.item.obj

    @property
    def deleting(self) -> bool:
        """Whether the pod is on its way out."""
        return self.item.deleting

    @cached_property
    def tolerations(self) -> Sequence[Obj]:
        """The pod's tolerations."""
        return tolerations_of(self.obj)

    @cached_property
    def required_nodes(self) -> NodeTest | None:
        """The test that a node must pass."""
        return node_selectors.required(self.obj)

    @cached_property
    def preferred_nodes(self) -> Sequence[tuple[int, NodeTest]]:
        """The nodes that the pod would rather run on."""
        return node_selectors.preferred(self.obj)

    @cached_property
    def claims(self) -> Sequence[tuple[Obj, Key]]:
        """The pod's volumes that have claims, and where those are."""
        return tuple(claims_of(self.obj))

    @cached_property
    def gates(self) -> Sequence[str]:
        """The names of the gates that hold the pod back."""
        return [gate["name"] for gate in get(self.obj, "spec.schedulingGates", ())]

    @cached_property
    def signature(self) -> bytes:
        """All that a node's own answer to the pod depends on; alike for pods of one template."""
        spec = self.obj["spec"]
        affinity = get(spec, "affinity.nodeAffinity")
        images = [one.get("image") for one in get(spec, "containers", ())]
        ports = [(one.address, one.protocol, one.number) for one in self.ports]
        asked = [dict(self.requests), self.weight, ports, images, self.node]
        wanted = [spec.get("nodeSelector"), affinity, spec.get("tolerations")]
        return orjson.dumps([asked, wanted], option=orjson.OPT_SORT_KEYS)

    @cached_property
    def deadline(self) -> float | None:
        """The time by which the pod is to have a node, as seconds of the epoch.

        None where the annotation is absent or no time.
        """
        text = annotations_of(self.obj).get(DEADLINE)
        try:
            return times.parse(text).timestamp() if text else None
        except ValueError:
            return None

    def at(self, item: Item) -> "PodInfo":
        """Return the same pod at a newer revision, which asks for nothing else than this one."""
        other = PodInfo.__new__(PodInfo)
        other.__dict__.update(self.__dict__)
        other.item = item
        other.labels = item.labels
        return other

    def on(self, node: str) -> "PodInfo":
        """Return the same pod as if it ran on a node."""
        other = PodInfo.__new__(PodInfo)
        other.__dict__.update(self.__dict__)
        other.node = node
        return other


def _as_int(name: str, amount: Quantity) -> int:
    return amount.milli_value() if name == "cpu" else amount.value()


def requests_of(pod: Obj) -> Amounts:
    """Return what a pod asks for as a whole, with what its runtime class needs on top."""
    spec = pod["spec"]
    total = aggregate_by(spec, held_amounts(pod, "requests"))
    if spec.get("resources"):  # amounts for the pod as a whole take the place of sums
        total = {**total, **amounts_of(spec, "requests")}
    if spec.get("overhead"):
        total = added(total, parsed(spec["overhead"]))
    return {name: _as_int(name, total[name]) for name in sorted(total) if total[name].nanos}


def weight_of(pod: Obj, requests: Amounts) -> tuple[int, int]:
    """Return CPU and memory as scores count them."""
    cpu, memory = requests.get("cpu", 0), requests.get("memory", 0)
    if get(pod, "spec.resources.requests"):
        return cpu, memory  # amounts for the pod as a whole say it all
    for container in get(pod, "spec.containers", ()):
        asked: Mapping[str, str] = get(container, "resources.requests", {})
        cpu += DEFAULT_MILLI_CPU if "cpu" not in asked else 0
        memory += DEFAULT_MEMORY if "memory" not in asked else 0
    return cpu, memory


def host_ports(pod: Obj) -> Iterator[HostPort]:
    """Yield the ports of the node that the pod's containers take."""
    sidecars = (
        container
        for container in get(pod, "spec.initContainers", ())
        if container.get("restartPolicy") == "Always"
    )
    for container in (*get(pod, "spec.containers", ()), *sidecars):
        for port in container.get("ports") or ():
            if port.get("hostPort"):
                address = port.get("hostIP") or ANY_ADDRESS
                yield HostPort(address, port.get("protocol") or "TCP", port["hostPort"])


def terms_of(pod: Obj) -> Terms:
    """Compile the pod's inter-pod affinity and anti-affinity."""
    required = "requiredDuringSchedulingIgnoredDuringExecution"
    affinity: Obj = get(pod, "spec.affinity.podAffinity", {})
    against: Obj = get(pod, "spec.affinity.podAntiAffinity", {})
    preferred = (*_weighted(pod, affinity, 1), *_weighted(pod, against, -1))
    return Terms(
        tuple(term_of(pod, term) for term in affinity.get(required) or ()),
        tuple(term_of(pod, term) for term in against.get(required) or ()),
        preferred,
    )


def _weighted(pod: Obj, affinity: Obj, sign: int) -> Iterator[Term]:
    for entry in affinity.get("preferredDuringSchedulingIgnoredDuringExecution") or ():
        yield term_of(pod, entry["podAffinityTerm"], sign * int(entry["weight"]))


def term_of(pod: Obj, term: Obj, weight: int = 0) -> Term:
    """Compile one term; without namespaces it means the pod's own."""
    wide = term.get("namespaceSelector")
    namespaces = frozenset(term.get("namespaces") or ())
    if not namespaces and wide is None:
        namespaces = frozenset({pod["metadata"].get("namespace", "")})
    return Term(
        selectors.from_object(term.get("labelSelector")),
        namespaces,
        None if wide is None else selectors.from_object(wide),
        term["topologyKey"],
        weight,
    )
