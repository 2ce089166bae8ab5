"""A pod keeps off nodes whose taints it does not tolerate, and rather off those it should."""

from collections.abc import Sequence

from minikube_py.api.taints import NO_EXECUTE, NO_SCHEDULE, PREFER_NO_SCHEDULE, untolerated
from minikube_py.server.scheduler.cache import Cache
from minikube_py.server.scheduler.framework import NODES, NodeFilter, Reasons, scaled_to_max
from minikube_py.server.scheduler.node_info import NodeInfo
from minikube_py.server.scheduler.pod_info import PodInfo

REASON = ("node(s) had untolerated taint(s)",)
HARD = (NO_SCHEDULE, NO_EXECUTE)


class TaintToleration:
    """Asks for taints that the pod does not tolerate."""

    name = "TaintToleration"
    weight = 3
    cured_by = NODES
    preemptable = False

    def filter(self, pod: PodInfo, _: Cache) -> NodeFilter | None:
        """Return the question."""

        def check(node: NodeInfo) -> Reasons | None:
            hard = (taint for taint in node.taints if taint["effect"] in HARD)
            return REASON if any(untolerated(hard, pod.tolerations)) else None

        return check

    def score(self, pod: PodInfo, nodes: Sequence[NodeInfo], _: Cache) -> Sequence[float] | None:
        """Count the soft taints that the pod does not tolerate; fewer are better."""
        soft = [
            one for one in pod.tolerations if one.get("effect") in (None, "", PREFER_NO_SCHEDULE)
        ]

        def count(node: NodeInfo) -> float:
            taints = (taint for taint in node.taints if taint["effect"] == PREFER_NO_SCHEDULE)
            return sum(1 for _ in untolerated(taints, soft))

        return scaled_to_max([count(node) for node in nodes], reverse=True)
