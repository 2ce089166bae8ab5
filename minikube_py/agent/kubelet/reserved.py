"""What a node keeps back from its pods: for system and kubelet, and as a last reserve. Pure.

    capacity - kube-reserved - system-reserved - hard eviction thresholds = allocatable

The group of all pods is held to the same less the thresholds: what pods take of the reserve is what
makes the node evict them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from minikube_py.agent.kubelet.eviction.thresholds import (
    DEFAULT_HARD,
    MEMORY,
    NODE_FS,
    Threshold,
    parse,
)
from minikube_py.api import quantity
from minikube_py.api.quantity import ZERO, Quantity

KINDS = ("cpu", "memory", "ephemeral-storage", "pid")
SIGNALS = {"memory": MEMORY, "ephemeral-storage": NODE_FS}
"""Resource -> the signal of which the hard threshold is kept back as well."""
LEVELS = ("none", "pods")
"""What can be enforced; the groups of the system and of the kubelet are not the node's to limit."""


@dataclass(frozen=True, kw_only=True)
class Reserved:
    """What is kept back."""

    kube: Mapping[str, Quantity] = field(default_factory=dict)
    system: Mapping[str, Quantity] = field(default_factory=dict)
    thresholds: Sequence[Threshold] = field(default_factory=lambda: parse(DEFAULT_HARD))
    enforced: bool = True
    """Whether the pods together are held to what they may have."""

    def named(self, resource: str) -> Quantity:
        """Return what is reserved by name, without the eviction threshold."""
        return self.kube.get(resource, ZERO) + self.system.get(resource, ZERO)

    def threshold(self, resource: str, capacity: int) -> int:
        """Return the hard eviction threshold of a resource with that capacity, in bytes."""
        signal = SIGNALS.get(resource)
        hard = [one for one in self.thresholds if one.hard and one.signal == signal]
        return hard[0].amount(capacity) if hard else 0

    def amount(self, resource: str, capacity: int) -> int:
        """Return all that is kept back of a resource, in bytes."""
        return self.named(resource).value() + self.threshold(resource, capacity)


def parse_reserved(pairs: Mapping[str, str], flag: str) -> dict[str, Quantity]:
    """Read an option such as `cpu=100m,memory=256Mi`; raises ValueError."""
    found = {}
    for name, text in pairs.items():
        if name not in KINDS and not name.startswith("hugepages-"):
            raise ValueError(f'cannot reserve "{name}" resource in {flag}')
        amount = quantity.parse(text)
        if amount < ZERO:
            raise ValueError(f'resource quantity for "{name}" cannot be negative: {text} in {flag}')
        found[name] = amount
    return found


def parse_levels(texts: Sequence[str]) -> bool:
    """Read --enforce-node-allocatable; tell whether pods are held. Raises ValueError."""
    for text in texts:
        if text not in LEVELS:
            raise ValueError(
                f'option "{text}" specified for enforceNodeAllocatable setting is not supported;'
                f' it is "pods" or "none"'
            )
    return "pods" in texts
