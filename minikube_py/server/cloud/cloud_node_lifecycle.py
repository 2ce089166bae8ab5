"""Deletes nodes whose machines no longer exist, and taints those whose machines are off.

Only of nodes that are not ready is the cloud asked, every five seconds. Upstream:
cloud-node-lifecycle-controller.
"""

import functools
from collections.abc import Iterator

from minikube_py.api import times
from minikube_py.api.core import NODES
from minikube_py.api.errors import ConflictError, NotFoundError, StatusError
from minikube_py.api.object import Key, Obj, evolve, get, is_deleting, uid_of
from minikube_py.api.taints import NO_SCHEDULE, taints_of
from minikube_py.client.actions import Action, Delete, Emit, Update
from minikube_py.client.controller import Context, Controller
from minikube_py.server.cloud.nodes import SHUTDOWN, UNINITIALIZED, is_ready, taint_of
from minikube_py.server.cloud.provider import Instances

NAME = "cloud-node-lifecycle-controller"
PERIOD_SECONDS = 5.0
"""Upstream's `--node-monitor-period`."""
PATIENCE_SECONDS = 60.0
"""A node that was not initialised yet is given this long."""


async def reconcile(instances: Instances, key: Key, ctx: Context) -> float | None:
    """See to one node."""
    node = ctx.lister(NODES).get(key)
    if node is None or is_deleting(node):
        return None
    if is_ready(node):
        await ctx.apply(plan_ready(node))
        return None
    if left := patience(node, times.seconds_between(_created(node), times.now_string(ctx.clock))):
        return left
    if not await instances.exists(node):
        await _delete(node, ctx)
        return None
    off = await instances.is_shut_down(node)
    await ctx.apply(plan_present(node, is_shut_down=off))
    return PERIOD_SECONDS if instances.polled else None


def _created(node: Obj) -> str:
    return str(node["metadata"]["creationTimestamp"])


def patience(node: Obj, age_seconds: float) -> float:
    """Return for how many seconds a node that is not initialised is to be left alone."""
    is_new = not get(node, "spec.providerID") and taint_of(node, UNINITIALIZED) is not None
    return max(PATIENCE_SECONDS - age_seconds, 0.0) if is_new else 0.0


def plan_ready(node: Obj) -> Iterator[Action]:
    """A node that is ready is on."""
    if taint_of(node, SHUTDOWN) is not None:
        kept = [taint for taint in taints_of(node) if taint["key"] != SHUTDOWN]
        yield Update(NODES, evolve(node, "spec.taints", kept))


def plan_present(node: Obj, *, is_shut_down: bool) -> Iterator[Action]:
    """Keep pods off a machine that is off; the taint stays until the node is ready again."""
    if is_shut_down and taint_of(node, SHUTDOWN) is None:
        taint = {"key": SHUTDOWN, "effect": NO_SCHEDULE}
        yield Update(NODES, evolve(node, "spec.taints", [*taints_of(node), taint]))


def plan_gone(node: Obj) -> Iterator[Action]:
    """Delete a node whose machine does not exist."""
    name = node["metadata"]["name"]
    message = f"Deleting node {name} because it does not exist in the cloud provider"
    yield Emit(node, "Normal", "DeletingNode", message)
    yield Delete(NODES, Key("", name), uid_of(node))


async def _delete(node: Obj, ctx: Context) -> None:
    try:
        await ctx.apply(plan_gone(node))
    except (ConflictError, NotFoundError):
        raise
    except StatusError as error:
        name = node["metadata"]["name"]
        message = f"Failed deleting node {name}: {error}"
        await ctx.apply([Emit(node, "Warning", "DeletingNodeFailed", message)])
        raise


def controller(instances: Instances, user: str) -> Controller:
    """Return the controller for a cloud."""
    return Controller(
        name=NAME, user=user, watches=NODES, reconcile=functools.partial(reconcile, instances)
    )
