"""How long kubelets may keep secrets and config maps: the longer, the more nodes there are.

The number stands in an annotation of each node. The bounds overlap, so that a cluster whose size
changes back and forth does not have all its nodes written again and again.
"""

from collections.abc import Iterator
from typing import NamedTuple

from minikube_py.api.core import NODES
from minikube_py.api.item import Item
from minikube_py.api.object import Key, Obj, annotations_of, key_of, uid_of
from minikube_py.client.actions import Action, Patch
from minikube_py.client.controller import Also, Context, Controller

ANNOTATION = "node.alpha.kubernetes.io/ttl"
STEP = "step"


class Step(NamedTuple):
    """One size of clusters."""

    least: int
    most: int
    seconds: int


STEPS = (
    Step(0, 100, 0),
    Step(90, 500, 15),
    Step(450, 1000, 30),
    Step(900, 2000, 60),
    Step(1800, 10000, 300),
    Step(9000, 2**31, 600),
)
"""Upstream's steps."""


async def reconcile(key: Key, ctx: Context) -> None:
    """See that one node has the number."""
    node = ctx.lister(NODES).get(key)
    if node is not None:
        await ctx.apply(plan(node, STEPS[ctx.memory.get(STEP, 0)].seconds))


def plan(node: Obj, seconds: int) -> Iterator[Action]:
    """Write the number where it differs."""
    if annotations_of(node).get(ANNOTATION) != str(seconds):
        metadata = {"uid": uid_of(node), "annotations": {ANNOTATION: str(seconds)}}
        yield Patch(NODES, key_of(node), {"metadata": metadata}, missing_ok=True)


def step_of(step: int, count: int) -> int:
    """Return the number of the step for so many nodes, starting at one."""
    while count > STEPS[step].most:
        step += 1
    while count < STEPS[step].least:
        step -= 1
    return step


def of_number(old: Item | None, new: Item | None, ctx: Context) -> Iterator[Key]:
    """Look at all nodes when one that comes or goes makes another step of it."""
    if old is not None and new is not None:
        return
    before = ctx.memory.get(STEP, 0)
    after = ctx.memory[STEP] = step_of(before, ctx.lister(NODES).count(""))
    if after != before:
        for item in ctx.lister(NODES).items():
            yield item.key


CONTROLLER = Controller(
    name="ttl-controller",
    watches=NODES,
    also=(Also(NODES, of_number),),
    reconcile=reconcile,
)
