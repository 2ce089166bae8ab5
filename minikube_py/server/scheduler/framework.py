"""What a plugin is: an object with a name and those of the methods below that it has.

Each method is one extension point of upstream's scheduling framework, written as a Protocol here.
Nobody inherits from them: a profile (`profile.py`) has a tuple for each point with the plugins that
have its method. What a plugin learns of a pod at one point and needs at the next, it leaves under
its name in `Cycle.state`; the cycle is one attempt to place one pod and is handed from point to
point. A plugin that needs more kinds than nodes and pods asks its `Handle` for listers when it is
made, and says with `events_to_register` what in the cluster may help a pod that it rejected.

In a filter what upstream calls PreFilter and Filter come together: `filter` prepares, once per
pod, a question that is then asked of each node. A plugin that rejects the pod whatever the node,
or that knows by name the few nodes that come into question, has `pre_filter` as well.
"""

from collections.abc import Callable, Collection, Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

from minikube_py.api.resource import Resource
from minikube_py.client.events import Recorder
from minikube_py.client.protocol import Client, Lister
from minikube_py.lib.clock import Clock
from minikube_py.server.scheduler.cache import Cache
from minikube_py.server.scheduler.candidate import Candidate
from minikube_py.server.scheduler.cluster_events import Registered
from minikube_py.server.scheduler.node_info import NodeInfo
from minikube_py.server.scheduler.pod_info import PodInfo

SCORE_MAX = 100.0


class Rejection(NamedTuple):
    """Why a pod is not to go to a node, or nowhere."""

    reasons: tuple[str, ...]
    """In upstream's words; never empty."""
    final: bool = False
    """Whether it stays so whichever pods go (upstream's UnschedulableAndUnresolvable)."""


def rejection(reason: str, *, final: bool = False) -> Rejection:
    """Return a rejection for one reason."""
    return Rejection((reason,), final)


Question = Callable[[NodeInfo], Rejection | None]
"""Return why the pod cannot run on the node, or None where it can.

A question whose answer depends on the pods of other nodes as well has a method `shifted` (see
`Shifting`); of any other it is enough to ask it of a NodeInfo with other pods.
"""


class Shifting(Protocol):
    """A question that has counted pods beyond the node it is asked of."""

    def __call__(self, node: NodeInfo, /) -> Rejection | None:
        """Return why the pod cannot run on the node."""

    def shifted(
        self, node: NodeInfo, added: Iterable[PodInfo], removed: Iterable[PodInfo]
    ) -> Question:
        """Return the question as it would be with pods come to and gone from a node."""


class Narrowed(NamedTuple):
    """The only nodes that come into question."""

    nodes: frozenset[str]


class Wait(NamedTuple):
    """A pod is not bound before the plugin says so; after so many seconds it is rejected."""

    seconds: float


@dataclass
class Cycle:
    """One attempt to place one pod: what is known, and what plugins hand on between points."""

    pod: PodInfo
    cache: Cache
    """The cluster as it is believed to be; plugins only read it."""
    state: dict[str, Any] = field(default_factory=dict)
    """What plugins have found out, by their names."""
    skipped: set[str] = field(default_factory=set)
    """Plugins that pre-score found not to concern the pod."""
    standing: Mapping[str, int] = field(default_factory=dict)
    """For how many nodes one that is scored stands, where that is not for itself alone."""


class Waiting(Protocol):
    """A pod that waits for permission."""

    @property
    def pod(self) -> PodInfo:
        """The pod, on the node that is reserved for it."""

    def pending(self) -> Collection[str]:
        """Return the names of the plugins that have not allowed it yet."""

    def allow(self, plugin: str) -> None:
        """Take away one plugin's objection; after the last one the pod is bound."""

    def reject(self, plugin: str, message: str) -> None:
        """Give the attempt up."""


class WaitingPods(Protocol):
    """All pods that wait for permission."""

    def get(self, uid: str) -> Waiting | None:
        """Return one of them."""

    def all(self) -> Iterable[Waiting]:
        """Return them all."""


@dataclass(frozen=True)
class Handle:
    """What plugins are made with: how they reach the cluster and the scheduler."""

    client: Client
    lister: Callable[[Resource], Lister]
    """Return the cache of a kind; asked while plugins are made, so that it is filled in time."""
    clock: Clock
    events: Recorder
    waiting: WaitingPods
    activate: Callable[[str], None]
    """Try the pod with this uid at once, if it waits unschedulable."""
    start: Callable[[str, Coroutine[Any, Any, None]], object]
    """Run something beside the scheduling, under a name; it ends with the scheduler."""
    cache: Cache
    extenders: "Preempting"


class Preempting(Protocol):
    """Whoever else has a say in who is evicted."""

    async def preempt(self, cycle: Cycle, candidates: Sequence[Candidate]) -> Sequence[Candidate]:
        """Return those candidates that may be chosen."""


class Plugin(Protocol):
    """All that every plugin has."""

    @property
    def name(self) -> str:
        """Upstream's name, or the plugin's own."""


Factory = Callable[[Handle, Any], Plugin]
"""Make a plugin from its handle and its arguments, the `args` of its pluginConfig or {}.

Raises:
    ValueError: the arguments make no sense; the text begins with the field.

"""


class QueueSort(Plugin, Protocol):
    """Says which waiting pod comes first."""

    def sort_key(self, pod: PodInfo, since: float) -> tuple[Any, ...]:
        """Return a key; the least comes first. `since` is when the pod began to wait."""


class PreEnqueue(Plugin, Protocol):
    """Keeps pods from being tried at all."""

    def pre_enqueue(self, pod: PodInfo) -> Rejection | None:
        """Return why the pod is not to be tried yet."""


class PreFilter(Plugin, Protocol):
    """Looks at the pod before any node."""

    def pre_filter(self, cycle: Cycle) -> Rejection | Narrowed | None:
        """Return why no node will do, which nodes alone may do, or None."""


class Filter(Plugin, Protocol):
    """Rules nodes out."""

    def filter(self, cycle: Cycle) -> Question | None:
        """Return the question for this pod, or None where the plugin does not concern it."""


class PostFilter(Plugin, Protocol):
    """Tries to help a pod that fits nowhere."""

    async def post_filter(self, cycle: Cycle, fit: "Fitting") -> "Help":
        """Say what came of it."""


class PreScore(Plugin, Protocol):
    """Sees all fitting nodes before they are scored."""

    def pre_score(self, cycle: Cycle, nodes: Sequence[NodeInfo]) -> None:
        """Leave in the cycle what scoring needs; with its name in `skipped` it is not asked."""


class Score(Plugin, Protocol):
    """Prefers some nodes to others."""

    def score(self, cycle: Cycle, nodes: Sequence[NodeInfo]) -> Sequence[float] | None:
        """Return a number from 0 to 100 for each node, or None where all are alike."""


class Reserve(Plugin, Protocol):
    """Sets something aside for a pod that has found its node."""

    def reserve(self, cycle: Cycle, node: str) -> Rejection | None:
        """Set it aside, or return why that cannot be."""

    def unreserve(self, cycle: Cycle, node: str) -> None:
        """Give back what was set aside; asked also of a plugin that had set nothing aside."""


class Permit(Plugin, Protocol):
    """Allows a pod to be bound, forbids it or has it wait."""

    def permit(self, cycle: Cycle, node: str) -> Rejection | Wait | None:
        """Return None to allow it; `Handle.waiting` has the pods that wait."""


class PreBind(Plugin, Protocol):
    """Makes the node ready for the pod: the place to write and to wait."""

    async def pre_bind(self, cycle: Cycle, node: str) -> Rejection | None:
        """Return None when the node is ready. A StatusError has the pod tried again."""


class Bind(Plugin, Protocol):
    """Tells the cluster where the pod goes."""

    async def bind(self, cycle: Cycle, node: str) -> bool:
        """Return whether it was done here; the first plugin to do so is the last one asked."""


class PostBind(Plugin, Protocol):
    """Hears of pods that are bound."""

    def post_bind(self, cycle: Cycle, node: str) -> None:
        """Clear up."""


class Events(Plugin, Protocol):
    """Says what may help pods that the plugin rejected; without it everything may."""

    def events_to_register(self) -> Iterable[Registered]:
        """Return the events."""


@dataclass(frozen=True)
class Help:
    """What a post-filter plugin has come to."""

    message: str = ""
    """Goes into the event after the reasons."""
    node: str | None = None
    """The node that the pod is nominated for; "" takes an earlier nomination back."""
    done: bool = False
    """Whether the plugins after this one need not try."""


class Fitting(Protocol):
    """The outcome of filtering, as post-filter plugins see it."""

    @property
    def rejected(self) -> "dict[str, Rejected]":
        """Why nodes were ruled out, by name."""

    @property
    def checks(self) -> "Sequence[Check]":
        """The questions that were asked of the nodes, with the plugins they are of."""


Check = tuple[Filter, Question]


class Rejected(NamedTuple):
    """Which plugin ruled a node out, and why."""

    plugin: str
    rejection: Rejection


def scaled_to_max(values: Sequence[float], *, reverse: bool = False) -> Sequence[float] | None:
    """Scale numbers so that the greatest becomes 100; reversed, it becomes 0."""
    most = max(values, default=0)
    if most <= 0:
        return None
    shares = (value * SCORE_MAX / most for value in values)
    return [SCORE_MAX - share for share in shares] if reverse else list(shares)
