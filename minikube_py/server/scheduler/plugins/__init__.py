"""The plugins there are, one file each, and those that are on by default, in upstream's order.

The first filter that rejects a node gives the reason; cheap ones come first.
"""

from collections.abc import Mapping, Sequence

from minikube_py.server.scheduler.framework import Factory, Handle
from minikube_py.server.scheduler.plugins.default_binder import DefaultBinder
from minikube_py.server.scheduler.plugins.default_preemption import DefaultPreemption
from minikube_py.server.scheduler.plugins.device_books import device_classes
from minikube_py.server.scheduler.plugins.dynamic_resources import DynamicResources
from minikube_py.server.scheduler.plugins.image_locality import ImageLocality
from minikube_py.server.scheduler.plugins.inter_pod_affinity import InterPodAffinity
from minikube_py.server.scheduler.plugins.node_affinity import NodeAffinity
from minikube_py.server.scheduler.plugins.node_declared_features import NodeDeclaredFeatures
from minikube_py.server.scheduler.plugins.node_name import NodeName
from minikube_py.server.scheduler.plugins.node_ports import NodePorts
from minikube_py.server.scheduler.plugins.node_resources import (
    NodeResourcesBalancedAllocation,
    NodeResourcesFit,
)
from minikube_py.server.scheduler.plugins.node_unschedulable import NodeUnschedulable
from minikube_py.server.scheduler.plugins.node_volume_limits import NodeVolumeLimits
from minikube_py.server.scheduler.plugins.pod_topology_spread import PodTopologySpread
from minikube_py.server.scheduler.plugins.priority_sort import PrioritySort
from minikube_py.server.scheduler.plugins.scheduling_gates import SchedulingGates
from minikube_py.server.scheduler.plugins.taint_toleration import TaintToleration
from minikube_py.server.scheduler.plugins.volume_binding import VolumeBinding
from minikube_py.server.scheduler.plugins.volume_restrictions import VolumeRestrictions
from minikube_py.server.scheduler.plugins.volume_zone import VolumeZone
from minikube_py.server.scheduler.profile import DEFAULT_NAME, Profile, compose, everywhere

FACTORIES: Mapping[str, Factory] = {
    "SchedulingGates": lambda _, __: SchedulingGates(),
    "PrioritySort": lambda _, __: PrioritySort(),
    "NodeUnschedulable": lambda _, __: NodeUnschedulable(),
    "NodeName": lambda _, __: NodeName(),
    "TaintToleration": lambda _, __: TaintToleration(),
    "NodeAffinity": lambda _, args: NodeAffinity(args),
    "NodeDeclaredFeatures": lambda _, __: NodeDeclaredFeatures(),
    "NodePorts": lambda _, __: NodePorts(),
    "NodeVolumeLimits": lambda handle, _: NodeVolumeLimits(handle),
    "VolumeBinding": VolumeBinding,
    "VolumeRestrictions": lambda handle, _: VolumeRestrictions(handle),
    "VolumeZone": lambda handle, _: VolumeZone(handle),
    "NodeResourcesFit": lambda handle, args: NodeResourcesFit(args, device_classes(handle)),
    "PodTopologySpread": PodTopologySpread,
    "InterPodAffinity": lambda _, args: InterPodAffinity(args),
    "DynamicResources": lambda handle, _: DynamicResources(handle),
    "DefaultPreemption": DefaultPreemption,
    "NodeResourcesBalancedAllocation": lambda _, args: NodeResourcesBalancedAllocation(args),
    "ImageLocality": lambda _, __: ImageLocality(),
    "DefaultBinder": lambda handle, _: DefaultBinder(handle),
}
"""How each plugin is made, of its handle and its arguments."""

DEFAULT: tuple[tuple[str, int], ...] = (
    ("SchedulingGates", 0),
    ("PrioritySort", 0),
    ("NodeDeclaredFeatures", 0),
    ("NodeUnschedulable", 0),
    ("NodeName", 0),
    ("TaintToleration", 3),
    ("NodeAffinity", 2),
    ("NodePorts", 0),
    ("NodeResourcesFit", 1),
    ("VolumeRestrictions", 0),
    ("NodeVolumeLimits", 0),
    ("VolumeBinding", 0),
    ("VolumeZone", 0),
    ("PodTopologySpread", 2),
    ("InterPodAffinity", 2),
    ("DynamicResources", 0),
    ("DefaultPreemption", 0),
    ("NodeResourcesBalancedAllocation", 1),
    ("ImageLocality", 1),
    ("DefaultBinder", 0),
)
"""What the default scheduler works with, at every point that a plugin has, and its score's weight.

The order is upstream's (pkg/scheduler/apis/config/v1/default_plugins.go).
"""


def default_profile(handle: Handle, name: str = DEFAULT_NAME) -> Profile:
    """Return a profile of the plugins that are on by default."""
    made = [(FACTORIES[plugin](handle, {}), weight) for plugin, weight in DEFAULT]
    return compose(everywhere(made), name=name)


def default_profiles(handle: Handle) -> Sequence[Profile]:
    """Return the profiles of a scheduler that nobody configured."""
    return (default_profile(handle),)
