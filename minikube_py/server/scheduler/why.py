"""Why a pod is where it is, or nowhere: what each plugin says of each node, in a rehearsal.

The scheduler's own plugins are asked about a pod in front of a copy of the cluster, made of what
the API lists. Nothing is written. The answer is that of a scheduler which has seen all of it and
nothing else; room that the running one has just given away may not show yet.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from minikube_py.api.core import NAMESPACES, NODES, PODS
from minikube_py.api.object import Key, get
from minikube_py.api.policy import PODDISRUPTIONBUDGETS
from minikube_py.api.resource import Resource
from minikube_py.client.protocol import Client, Lister
from minikube_py.client.store import ItemStore
from minikube_py.server.scheduler import algorithm, preemption
from minikube_py.server.scheduler.cache import Cache
from minikube_py.server.scheduler.candidate import Candidate
from minikube_py.server.scheduler.configuration import Configuration
from minikube_py.server.scheduler.framework import Cycle, Narrowed, Rejection
from minikube_py.server.scheduler.node_info import NodeInfo
from minikube_py.server.scheduler.pod_info import DEADLINE, PodInfo
from minikube_py.server.scheduler.preemption import Budgets
from minikube_py.server.scheduler.profile import Profile
from minikube_py.server.scheduler.rehearsal import rehearsal

PAGE = 500
FINISHED = ("Succeeded", "Failed")


@dataclass
class NodeVerdict:
    """What is said of one node."""

    node: str
    reasons: Mapping[str, Rejection]
    """By plugin; empty where the pod fits."""
    scores: Sequence[tuple[str, float]] = ()
    """What each plugin adds, of a node that fits."""
    victims: Sequence[str] = ()
    """Pods that would have to go for the pod to fit."""

    @property
    def total(self) -> float:
        """The sum of the scores."""
        return sum(score for _, score in self.scores)


@dataclass
class Verdict:
    """What is said of a pod."""

    pod: PodInfo
    held: Mapping[str, Rejection] = field(default_factory=dict)
    """Why it is not even tried, by plugin."""
    outright: Mapping[str, Rejection] = field(default_factory=dict)
    """Why no node will do, by plugin."""
    asked: Sequence[str] = ()
    """The filters that the pod concerns."""
    nodes: Sequence[NodeVerdict] = ()


class Copy:
    """The kinds of a cluster that plugins ask for."""

    def __init__(self) -> None:
        self.stores: dict[Resource, ItemStore] = {}

    def lister(self, resource: Resource) -> Lister:
        """Return the store of a kind; it is filled later."""
        return self.stores.setdefault(resource, ItemStore())

    async def fill(self, client: Client) -> None:
        """List all kinds; raises StatusError where one is refused."""
        for resource, store in self.stores.items():
            token = ""
            while True:
                listed = await client.list(resource, limit=PAGE, continue_=token)
                for item in listed.items:
                    store.put(item)
                token = listed.continue_
                if not token:
                    break


async def look(client: Client, key: Key, configuration: Configuration) -> Verdict | None:
    """Ask the plugins about a pod; None where there is none of that name."""
    copy = Copy()
    for kind in (NODES, PODS, NAMESPACES, PODDISRUPTIONBUDGETS):
        copy.lister(kind)
    cache = Cache(copy.stores[NAMESPACES])
    profiles = configuration.build(rehearsal(cache, copy.lister))
    await copy.fill(client)
    item = copy.stores[PODS].item(key)
    if item is None:
        return None
    pod = PodInfo(item)
    profile = next((one for one in profiles if one.name == pod.scheduler), None)
    if profile is None:
        return Verdict(pod)
    _fill_cache(cache, copy, pod)
    budgets = Budgets(one.obj for one in copy.stores[PODDISRUPTIONBUDGETS].items())
    return verdict(pod.on(""), cache, profile, budgets)


def _fill_cache(cache: Cache, copy: Copy, own: PodInfo) -> None:
    for node in copy.stores[NODES].items():
        cache.set_node(node)
    for item in copy.stores[PODS].items():
        running = item.fields.get("status.phase") not in FINISHED
        if running and item.fields.get("spec.nodeName") and item.uid != own.uid:
            cache.set_pod(PodInfo(item))
        elif running and item.uid != own.uid and get(item.obj, "status.nominatedNodeName"):
            other = PodInfo(item)
            cache.nominated.put(other.on(other.nominated))


def verdict(pod: PodInfo, cache: Cache, profile: Profile, budgets: Budgets) -> Verdict:
    """Ask all plugins of a profile about a pod and every node."""
    cycle = Cycle(pod, cache)
    found = Verdict(pod)
    held = ((one.name, one.pre_enqueue(pod)) for one in profile.pre_enqueue)
    found.held = {name: why for name, why in held if why is not None}
    said = [(one.name, one.pre_filter(cycle)) for one in profile.pre_filter]
    found.outright = {name: why for name, why in said if isinstance(why, Rejection)}
    narrowed = {name: why.nodes for name, why in said if isinstance(why, Narrowed)}
    checks = [] if found.outright else algorithm.questions(cycle, profile)
    found.asked = [plugin.name for plugin, _ in checks]
    nodes = sorted(cache.nodes.values(), key=lambda node: node.name)
    made = []
    for node in nodes:
        reasons = dict(_outside(node, narrowed))
        answers = ((plugin.name, question(node)) for plugin, question in checks)
        reasons |= {name: why for name, why in answers if why is not None}
        made.append(NodeVerdict(node.name, found.outright or reasons))
    _score(cycle, profile, made)
    for one in made:
        if one.reasons and not any(why.final for why in one.reasons.values()):
            outcome = preemption.victims_on(cycle, checks, cache.nodes[one.node], budgets)
            if isinstance(outcome, Candidate):
                one.victims = [str(victim.key) for victim in outcome.victims]
    found.nodes = made
    return found


def _outside(
    node: NodeInfo, narrowed: Mapping[str, frozenset[str]]
) -> Iterator[tuple[str, Rejection]]:
    for name, names in narrowed.items():
        if node.name not in names:
            yield name, Rejection((f"node(s) didn't satisfy plugin(s) [{name}]",), final=True)


def _score(cycle: Cycle, profile: Profile, verdicts: Sequence[NodeVerdict]) -> None:
    fitting = [one for one in verdicts if not one.reasons]
    nodes = [cycle.cache.nodes[one.node] for one in fitting]
    if not nodes:
        return
    for plugin in profile.pre_score:
        plugin.pre_score(cycle, nodes)
    columns = []
    for scorer, weight in profile.score:
        values = None if scorer.name in cycle.skipped else scorer.score(cycle, nodes)
        if values is not None:
            columns.append((scorer.name, [value * weight for value in values]))
    for place, one in enumerate(fitting):
        one.scores = [(name, values[place]) for name, values in columns]


def report(found: Verdict, names: Sequence[str]) -> Iterator[str]:
    """Yield the lines that tell a verdict; `names` are the schedulers there are."""
    pod = found.pod
    where = get(pod.item.obj, "spec.nodeName")
    state = f"is on node {where}" if where else "has no node"
    yield f"pod {pod.key} {state}; priority {pod.priority}, scheduler {pod.scheduler}"
    if pod.scheduler not in names:
        yield f"no scheduler of that name is known here; these are: {', '.join(names)}"
        return
    deadline = get(pod.item.obj, ("metadata", "annotations", DEADLINE))
    if deadline:
        yield f"its deadline is {deadline}"
    for plugin, why in found.held.items():
        yield f"it is not tried: {plugin}: {'; '.join(why.reasons)}"
    for plugin, why in found.outright.items():
        yield f"no node will do: {plugin}: {'; '.join(why.reasons)}"
    fitting = sorted((one for one in found.nodes if not one.reasons), key=lambda one: -one.total)
    others = [one for one in found.nodes if one.reasons]
    yield f"{len(fitting)} of {len(found.nodes)} nodes fit{' if it were placed now' * bool(where)}"
    for one in (*fitting, *others):
        yield from _lines(one, found)


def _lines(one: NodeVerdict, found: Verdict) -> Iterator[str]:
    yield ""
    yield f"{one.node}: " + (f"fits, score {one.total:.1f}" if not one.reasons else "does not fit")
    for plugin in dict.fromkeys((*one.reasons, *found.asked)):
        why = one.reasons.get(plugin)
        yield f"  {plugin}: {'ok' if why is None else '; '.join(why.reasons)}"
    for plugin, score in one.scores:
        yield f"  score {plugin}: {score:.1f}"
    if one.victims:
        yield f"  would fit without {', '.join(one.victims)}"
