"""How a daemon set replaces its old pods: so many nodes at once without a pod, or with two."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from minikube_py.api import intstr
from minikube_py.api.object import Obj, get
from minikube_py.client.actions import Action
from minikube_py.server.controllers.daemonset_pods import View, creations, deletions
from minikube_py.server.controllers.pod_facts import PodFacts


class Pair(NamedTuple):
    """The pods of one node that stay: at most one of the new template and one of an old one."""

    new: PodFacts | None
    old: PodFacts | None
    doubled: bool
    """There are more of one sort; they are deleted first."""


def bounds(ds: Obj, wanted: int) -> tuple[int, int]:
    """Return on how many nodes a pod may be too many and missing: (surge, unavailable).

    Both are rounded up; where both are 0 nothing would ever move, so then one may be missing.
    """
    rolling: Obj = get(ds, "spec.updateStrategy.rollingUpdate", {})
    surge = intstr.scaled(rolling.get("maxSurge", 0), wanted, round_up=True)
    unavailable = intstr.scaled(rolling.get("maxUnavailable", 1), wanted, round_up=True)
    if wanted and not surge and not unavailable:
        unavailable = 1
    return surge, unavailable


def plan_rollout(view: View) -> Iterator[Action]:
    """Decide which old pods go now; OnDelete leaves that to the user."""
    if get(view.ds, "spec.updateStrategy.type") != "RollingUpdate":
        return
    surge, unavailable = bounds(view.ds, len(view.wanted))
    if surge:
        yield from _surging(view, surge)
    else:
        yield from deletions(view, _replaceable(view, unavailable))


def pair_of(view: View, pods: Sequence[PodFacts]) -> Pair:
    """Sort the pods of a node that are not on their way out."""
    staying = [pod for pod in pods if not pod.deleting]
    new = [pod for pod in staying if view.is_updated(pod)]
    old = [pod for pod in staying if not view.is_updated(pod)]
    return Pair(
        new[0] if new else None, old[0] if old else None, doubled=max(len(new), len(old)) > 1
    )


def _replaceable(view: View, unavailable_max: int) -> Sequence[PodFacts]:
    """Return the old pods that do not work, and as many that do as may be missing at once."""
    broken: list[PodFacts] = []
    working: list[PodFacts] = []
    unavailable = 0
    for node in view.wanted:
        new, old, doubled = pair_of(view, view.pods.get(node, ()))
        if new is None and old is not None and not doubled:
            (working if view.is_available(old) else broken).append(old)
        elif new is None or old is not None or doubled or not view.is_available(new):
            unavailable += 1
    left = max(unavailable_max - unavailable - len(broken), 0)
    return [*broken, *working[:left]]


def _surging(view: View, surge_max: int) -> Iterator[Action]:
    """Add new pods beside old ones, and delete old ones whose successor is available."""
    broken: list[str] = []
    working: list[str] = []
    done: list[PodFacts] = []
    surging = 0
    for node in view.wanted:
        new, old, doubled = pair_of(view, view.pods.get(node, ()))
        if doubled:
            surging += 1
        elif old is None:
            continue  # nothing to replace
        elif new is None:
            (working if view.is_available(old) else broken).append(node)
        elif view.is_available(new):
            done.append(old)
        else:
            surging += 1
    yield from deletions(view, done)
    yield from creations(view, [*broken, *working[: max(surge_max - surging, 0)]])
