"""What a plugin is: a question about a pod and a node, prepared once per pod.

A filter plugin gives for a pod either None (it does not concern it) or a function that tells for a
node why the pod cannot run there. A score plugin gives numbers for all fitting nodes at once, so
that it can weigh them against each other. Plugins keep no state and ask nothing but the cache.
"""

import enum
from collections.abc import Callable, Sequence
from typing import Protocol

from minikube_py.server.scheduler.cache import Cache
from minikube_py.server.scheduler.node_info import NodeInfo
from minikube_py.server.scheduler.pod_info import PodInfo

Reasons = tuple[str, ...]
"""Why a pod cannot run on a node, in upstream's words; never empty."""
NodeFilter = Callable[[NodeInfo], Reasons | None]
"""Return why the pod cannot run on the node, or None where it can."""
SCORE_MAX = 100.0


class Change(enum.Enum):
    """What happened in the cluster that may let a pod fit that did not."""

    NODE_ADDED = "node added"
    NODE_CHANGED = "node changed"  # labels, taints, allocatable, cordon
    POD_PLACED = "pod placed"  # or its labels changed
    POD_GONE = "pod gone"


NODES = frozenset({Change.NODE_ADDED, Change.NODE_CHANGED})
EVERYTHING = frozenset(Change)


class Filter(Protocol):
    """A plugin that rules nodes out."""

    @property
    def name(self) -> str:
        """Upstream's name."""

    @property
    def cured_by(self) -> frozenset[Change]:
        """After which changes a pod that this plugin rejected may fit."""

    @property
    def preemptable(self) -> bool:
        """Whether the reasons may go away with other pods."""

    def filter(self, pod: PodInfo, cache: Cache) -> NodeFilter | None:
        """Return the question for this pod, or None where it does not concern it."""


class Score(Protocol):
    """A plugin that prefers some nodes to others."""

    @property
    def name(self) -> str:
        """Upstream's name."""

    @property
    def weight(self) -> int:
        """How much this counts against the others."""

    def score(
        self, pod: PodInfo, nodes: Sequence[NodeInfo], cache: Cache
    ) -> Sequence[float] | None:
        """Return a number from 0 to 100 for each node, or None where all are alike."""


def scaled_to_max(values: Sequence[float], *, reverse: bool = False) -> Sequence[float] | None:
    """Scale numbers so that the greatest becomes 100; reversed, it becomes 0."""
    most = max(values, default=0)
    if most <= 0:
        return None
    shares = (value * SCORE_MAX / most for value in values)
    return [SCORE_MAX - share for share in shares] if reverse else list(shares)
