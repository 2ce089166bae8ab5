"""A pod keeps off nodes whose taints it does not tolerate, and rather off those it should."""

from collections.abc import Sequence

from minikube_py.api.taints import PREFER_NO_SCHEDULE, untolerated
from minikube_py.server.scheduler.cache import Cache
from minikube_py.server.scheduler.framework import NODES, NodeFilter, Reasons, scaled_to_max
from minikube_py.server.scheduler.node_info import NodeInfo
from minikube_py.server.scheduler.pod_info import PodInfo

REASON = ("node(s) had untolerated taint(s)",)


class TaintToleration:
    """Asks for taints that the pod does not tolerate."""

    name = "TaintToleration"
    weight = 3
    cured_by = NODES
    preemptable = False

    def filter(self, pod: PodInfo, _: Cache) -> NodeFilter | None:
        """Return the question."""
        tolerations = pod.tolerations

        def check(node: NodeInfo) -> Reasons | None:
            hard = node.hard_taints
            return REASON if hard and any(untolerated(hard, tolerations)) else None

        return check

    def score(
        self, pod: PodInfo, nodes: Sequence[NodeInfo], cache: Cache
    ) -> Sequence[float] | None:
        """Count the soft taints that the pod does not tolerate; fewer are better."""
        if not cache.soft_tainted:
            return None
        effects = (None, "", PREFER_NO_SCHEDULE)
        soft = [one for one in pod.tolerations if one.get("effect") in effects]
        counts = [sum(1 for _ in untolerated(node.soft_taints, soft)) for node in nodes]
        return scaled_to_max(counts, reverse=True)
