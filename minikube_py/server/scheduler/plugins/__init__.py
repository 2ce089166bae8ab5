"""The questions that are asked of every node, one file each, and their order.

The first filter that rejects a node gives the reason; cheap ones come first.
"""

from minikube_py.server.scheduler.framework import Filter, Score
from minikube_py.server.scheduler.plugins.image_locality import ImageLocality
from minikube_py.server.scheduler.plugins.inter_pod_affinity import InterPodAffinity
from minikube_py.server.scheduler.plugins.node_affinity import NodeAffinity
from minikube_py.server.scheduler.plugins.node_name import NodeName
from minikube_py.server.scheduler.plugins.node_ports import NodePorts
from minikube_py.server.scheduler.plugins.node_resources import (
    NodeResourcesBalancedAllocation,
    NodeResourcesFit,
)
from minikube_py.server.scheduler.plugins.node_unschedulable import NodeUnschedulable
from minikube_py.server.scheduler.plugins.pod_topology_spread import PodTopologySpread
from minikube_py.server.scheduler.plugins.taint_toleration import TaintToleration

FILTERS: tuple[Filter, ...] = (
    NodeUnschedulable(),
    NodeName(),
    TaintToleration(),
    NodeAffinity(),
    NodePorts(),
    NodeResourcesFit(),
    PodTopologySpread(),
    InterPodAffinity(),
)
SCORES: tuple[Score, ...] = (
    TaintToleration(),
    NodeAffinity(),
    PodTopologySpread(),
    InterPodAffinity(),
    NodeResourcesFit(),
    NodeResourcesBalancedAllocation(),
    ImageLocality(),
)
