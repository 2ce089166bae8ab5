"""What several cloud controllers ask of nodes: their taints and labels, who may be balanced to."""

import math
from collections.abc import Iterable, Sequence

from minikube_py.api.object import Obj, get, has_condition, is_deleting, labels_of
from minikube_py.api.taints import taints_of

UNINITIALIZED = "node.cloudprovider.kubernetes.io/uninitialized"
SHUTDOWN = "node.cloudprovider.kubernetes.io/shutdown"
TO_BE_DELETED = "ToBeDeletedByClusterAutoscaler"
EXCLUDED = "node.kubernetes.io/exclude-from-external-load-balancers"
FALSE = ("0", "f", "F", "false", "FALSE", "False")
"""What Go's ParseBool reads as false; upstream takes all else for an exclusion."""


def taint_of(node: Obj, key: str) -> Obj | None:
    """Return the node's taint of that key, or None."""
    return next((taint for taint in taints_of(node) if taint["key"] == key), None)


def is_ready(node: Obj) -> bool:
    """Return whether the node says that it is ready."""
    return has_condition(node, "Ready")


def is_excluded(node: Obj) -> bool:
    """Return whether a label keeps the node out of load balancers."""
    value = labels_of(node).get(EXCLUDED)
    return value is not None and value not in FALSE


def may_be_balanced(node: Obj) -> bool:
    """Return whether load balancers may send to the node, ready or not.

    Whether it is ready is for the load balancer's own health checks: a set of nodes that does not
    change with that spares connections (KEP-3458).
    """
    return not (is_deleting(node) or is_excluded(node) or taint_of(node, TO_BE_DELETED))


def addresses_of(node: Obj, *kinds: str) -> Sequence[str]:
    """Return the node's addresses of some types, in the order of its status."""
    found: Iterable[Obj] = get(node, "status.addresses") or ()
    return [one["address"] for one in found if one["type"] in kinds]


def seconds_until_tick(now: float, period: float) -> float:
    """Return how long until the next multiple of a period.

    All who wait so wake together, so thousands of nodes cost one timer.
    """
    return period - math.fmod(now, period)
