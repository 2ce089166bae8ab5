"""The pods of a daemon set: on which nodes they run, what one looks like, which are too many.

The scheduler places them; a required node affinity to one name says where. Eligibility is decided
here by the same rules that the scheduler applies, so that no pod is made that would stay pending.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

from minikube_py.api import node_selectors, taints
from minikube_py.api.apps.daemonset import template_generation
from minikube_py.api.core import PODS
from minikube_py.api.item import Item
from minikube_py.api.object import Obj, evolve, get, labels_of
from minikube_py.client.actions import Action, Create, Delete, Emit
from minikube_py.server.controllers.daemonset_revisions import HASH_LABEL
from minikube_py.server.controllers.pod_facts import PodFacts, facts
from minikube_py.server.controllers.pods import new_pod

GENERATION_LABEL = "pod-template-generation"
BURST_MAX = 250
"""Upstream creates and deletes no more at a time; the next look does the rest."""
_PREFIX = "node.kubernetes.io/"
_ALWAYS = (
    ("not-ready", taints.NO_EXECUTE),
    ("unreachable", taints.NO_EXECUTE),
    ("disk-pressure", taints.NO_SCHEDULE),
    ("memory-pressure", taints.NO_SCHEDULE),
    ("pid-pressure", taints.NO_SCHEDULE),
    ("unschedulable", taints.NO_SCHEDULE),
)
_HOST_NETWORK = ("network-unavailable", taints.NO_SCHEDULE)


class NodeFacts(NamedTuple):
    """What decides whether daemon pods run on a node."""

    name: str
    labels: Mapping[str, str]
    taints: Sequence[Obj]


class Fit(NamedTuple):
    """What a daemon set means for one node."""

    run: bool
    """A pod belongs there."""
    stay: bool
    """A pod that is there may stay."""


@dataclass(frozen=True)
class View:
    """A daemon set, its pods and all nodes at one moment."""

    ds: Obj
    digest: str
    """The hash of the template that pods should have."""
    pods: Mapping[str, Sequence[PodFacts]]
    """By the node that they are on or are meant for, oldest first."""
    nodes: Mapping[str, Fit]
    now: datetime
    waits: Mapping[str, float] = field(default_factory=dict)
    """Seconds until a failed pod may be replaced, by node."""

    def is_updated(self, pod: PodFacts) -> bool:
        """Tell whether a pod has the template that is wanted."""
        return pod.labels.get(HASH_LABEL) == self.digest

    def is_available(self, pod: PodFacts) -> bool:
        """Tell whether a pod has been ready for long enough."""
        return pod.is_available(self.ds["spec"].get("minReadySeconds", 0), self.now)

    @property
    def wanted(self) -> list[str]:
        """The nodes on which a pod belongs."""
        return [name for name, fit in self.nodes.items() if fit.run]


def node_facts(item: Item) -> NodeFacts:
    """Return the facts of a node's item, made at the first call."""
    return item.derived(_node_facts)


def _node_facts(item: Item) -> NodeFacts:
    return NodeFacts(item.key.name, item.labels, taints.taints_of(item.obj))


def fitter(ds: Obj) -> Callable[[NodeFacts], Fit]:
    """Return the function that tells what the daemon set means for a node."""
    template = ds["spec"]["template"]
    named = get(template, "spec.nodeName", "")
    selected = node_selectors.required(template)
    tolerations = _tolerations(template["spec"])

    def fit(node: NodeFacts) -> Fit:
        if named not in ("", node.name):
            return Fit(run=False, stay=False)
        if selected is not None and not selected(node.name, node.labels):
            return Fit(run=False, stay=False)
        effects = {one["effect"] for one in taints.untolerated(node.taints, tolerations)}
        stays = taints.NO_EXECUTE not in effects
        return Fit(run=stays and taints.NO_SCHEDULE not in effects, stay=stays)

    return fit


def _tolerations(spec: Obj) -> list[Obj]:
    """Return the template's tolerations, and those that every daemon pod has."""
    result: list[Obj] = list(spec.get("tolerations") or ())
    for name, effect in (*_ALWAYS, *([_HOST_NETWORK] if spec.get("hostNetwork") else ())):
        toleration = {"key": _PREFIX + name, "operator": "Exists", "effect": effect}
        if toleration not in result:
            result.append(toleration)
    return result


def pod_for(view: View, node: str) -> dict[str, Any]:
    """Return the new pod of a node."""
    pod = new_pod(view.ds, view.ds["spec"]["template"])
    labels = {
        **labels_of(pod),
        GENERATION_LABEL: str(template_generation(view.ds)),
        HASH_LABEL: view.digest,
    }
    pod = evolve(pod, "metadata.labels", labels)
    pod = evolve(pod, "spec.tolerations", _tolerations(pod["spec"]))
    term = {"matchFields": [{"key": "metadata.name", "operator": "In", "values": [node]}]}
    # The template's own terms are met already; terms beside this one would be alternatives.
    required = "spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution"
    return evolve(pod, required, {"nodeSelectorTerms": [term]})


def by_node(items: Iterable[Item]) -> Mapping[str, Sequence[PodFacts]]:
    """Group pods by their node, oldest first; those that ended and are on their way out are gone.

    Pods that are neither on a node nor meant for one are under "".
    """
    result: dict[str, list[PodFacts]] = defaultdict(list)
    for item in items:
        pod = facts(item)
        if not (pod.finished and pod.deleting):
            result[pod.node or _target_of(item.obj)].append(pod)
    return {node: sorted(pods, key=_age) for node, pods in result.items()}


def _age(pod: PodFacts) -> tuple[bool, float, str]:
    return not pod.node, pod.created or 0.0, pod.key.name


def _target_of(pod: Obj) -> str:
    """Return the node that the affinity of a daemon pod names, "" for none."""
    path = "spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution"
    for term in get(pod, path + ".nodeSelectorTerms") or ():
        for one in term.get("matchFields") or ():
            names: Sequence[str] = one.get("values") or ()
            if one["key"] == "metadata.name" and one["operator"] == "In" and len(names) == 1:
                return names[0]
    return ""


def plan_pods(view: View) -> Iterator[Action]:
    """Decide which nodes get a pod and which pods are too many."""
    missing = [node for node in view.wanted if is_missing(view, node)]
    yield from creations(view, missing)
    for node, pods in view.pods.items():
        fit = view.nodes.get(node)
        if fit is None:
            # Pods on a node that is gone are the garbage collector's.
            yield from deletions(view, [pod for pod in pods if not pod.node])
        elif not fit.stay:
            yield from deletions(view, pods)
        else:
            ended = list(_ended(view, node))
            yield from (_remark(view, pod) for pod in ended)
            yield from deletions(view, [*ended, *_doubles(view, pods)])


def is_missing(view: View, node: str) -> bool:
    """Tell whether nothing is on a node, nor on its way there or out."""
    pods = view.pods.get(node, ())
    if allows_surge(view.ds):
        # What terminates does not hold its successor up where two may run at once.
        return all(pod.deleting for pod in pods)
    return not pods


def creations(view: View, nodes: Sequence[str]) -> Iterator[Action]:
    """Create a pod for each of the nodes."""
    for node in nodes[:BURST_MAX]:
        yield Create(PODS, pod_for(view, node), announce=view.ds)


def deletions(view: View, pods: Iterable[PodFacts]) -> Iterator[Action]:
    """Delete pods that are not on their way out already."""
    going = [pod for pod in pods if not pod.deleting]
    for pod in going[:BURST_MAX]:
        yield Delete(PODS, pod.key, pod.uid, announce=view.ds)


def _ended(view: View, node: str) -> Iterator[PodFacts]:
    """Yield the finished pods that can be replaced now."""
    for pod in view.pods[node]:
        waits = pod.phase == "Failed" and view.waits.get(node, 0.0) > 0
        if pod.finished and not pod.deleting and not waits:
            yield pod


def _remark(view: View, pod: PodFacts) -> Emit:
    where = f"daemon pod {pod.key.namespace}/{pod.key.name} on node {pod.node}"
    if pod.phase == "Failed":
        text = f"Found failed {where}, will try to kill it"
        return Emit(view.ds, "Warning", "FailedDaemonPod", text)
    text = f"Found succeeded {where}, will try to delete it"
    return Emit(view.ds, "Normal", "SucceededDaemonPod", text)


def _doubles(view: View, pods: Sequence[PodFacts]) -> Iterator[PodFacts]:
    """Yield the pods that one node has too many of: all but the oldest.

    With surge that is the oldest of each template, until the new one can stand alone.
    """
    active = [pod for pod in pods if pod.active]
    if not allows_surge(view.ds):
        yield from active[1:]
        return
    new = [pod for pod in active if view.is_updated(pod)]
    old = [pod for pod in active if not view.is_updated(pod)]
    yield from (*new[1:], *old[1:])
    if new and old and (not old[0].ready or view.is_available(new[0])):
        yield old[0]


def allows_surge(ds: Obj) -> bool:
    """Tell whether a new pod may run beside the old one."""
    return get(ds, "spec.updateStrategy.rollingUpdate.maxSurge", 0) not in (0, "0%")
