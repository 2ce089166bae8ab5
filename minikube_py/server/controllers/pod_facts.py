"""What controllers ask of every pod again and again, in a tuple that is made once per version.

A replica set of five hundred pods is looked at whenever one of them changes; parsing five hundred
documents each time would make that quadratic in documents. The facts of an item are kept with it.
"""

import math
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, NamedTuple

from minikube_py.api import times
from minikube_py.api.item import Item
from minikube_py.api.object import Key, Obj, annotations_of, condition_of, controller_of, get
from minikube_py.server.controllers.pods import phase_of, restarts_of

DELETION_COST = "controller.kubernetes.io/pod-deletion-cost"
_PHASES = {"Pending": 0, "Unknown": 1, "Running": 2}


class PodFacts(NamedTuple):
    """One version of one pod."""

    key: Key
    uid: str
    labels: Mapping[str, str]
    controller: str
    """The uid of its controller, "" for none."""
    deleting: bool
    node: str
    hostname: str
    subdomain: str
    phase: str
    addresses: tuple[str, ...]
    ready: bool
    ready_since: float | None
    """Seconds of the epoch; None where it is not ready or that is not known."""
    restarts: int
    cost: int
    """What its annotation says deleting it costs."""
    created: float | None

    @property
    def finished(self) -> bool:
        """Whether all containers have ended for good."""
        return self.phase in ("Succeeded", "Failed")

    @property
    def active(self) -> bool:
        """Whether the pod counts as a replica: neither finished nor on its way out."""
        return not self.deleting and not self.finished

    @property
    def terminating(self) -> bool:
        """Whether the pod still runs and is on its way out."""
        return self.deleting and not self.finished

    def seconds_to_available(self, min_ready_seconds: float, now: datetime) -> float:
        """Return how long a ready pod has to stay so until it counts as available."""
        if not min_ready_seconds:
            return 0.0
        if self.ready_since is None:
            return min_ready_seconds
        return max(min_ready_seconds - (now.timestamp() - self.ready_since), 0.0)

    def is_available(self, min_ready_seconds: float, now: datetime) -> bool:
        """Tell whether the pod has been ready for so long."""
        return self.ready and self.seconds_to_available(min_ready_seconds, now) == 0.0


def facts(item: Item) -> PodFacts:
    """Return the facts of a pod's item, made at the first call."""
    return item.derived(_of_item)


def _of_item(item: Item) -> PodFacts:
    return facts_of(item.obj)._replace(key=item.key, labels=item.labels)  # shared, not kept twice


def facts_of(pod: Obj) -> PodFacts:
    """Extract the facts of a pod."""
    metadata, spec = pod["metadata"], pod["spec"]
    ready = condition_of(pod, "Ready")
    is_ready = ready is not None and ready.get("status") == "True"
    return PodFacts(
        key=Key(metadata.get("namespace", ""), metadata["name"]),
        uid=metadata["uid"],
        labels=metadata.get("labels") or {},
        controller=get(controller_of(pod), "uid", ""),
        deleting=metadata.get("deletionTimestamp") is not None,
        node=spec.get("nodeName") or "",
        hostname=spec.get("hostname") or "",
        subdomain=spec.get("subdomain") or "",
        phase=phase_of(pod),
        addresses=tuple(_addresses(pod)),
        ready=is_ready,
        ready_since=_seconds(get(ready, "lastTransitionTime")) if is_ready else None,
        restarts=restarts_of(pod),
        cost=_cost(pod),
        created=_seconds(metadata.get("creationTimestamp")),
    )


def _addresses(pod: Obj) -> Iterable[str]:
    found = [entry.get("ip") or "" for entry in get(pod, "status.podIPs", ())]
    return filter(None, found or [get(pod, "status.podIP", "")])


def _seconds(moment: str | None) -> float | None:
    return times.parse(moment).timestamp() if moment else None


def _cost(pod: Obj) -> int:
    try:
        return int(annotations_of(pod).get(DELETION_COST, "0"))
    except ValueError:
        return 0


def deletion_order(
    pods: Iterable[PodFacts], on_node: Mapping[str, int], now: datetime
) -> list[PodFacts]:
    """Sort pods so that the one to delete first stands first.

    `on_node` counts the related active pods of each node. Unassigned before assigned, pending
    before running, not ready before ready, cheap before costly, where more of them run before
    where fewer do, ready for less long before longer (by powers of two), more restarts before
    fewer, younger before older.
    """
    moment = now.timestamp()

    def rank(pod: PodFacts) -> tuple[Any, ...]:
        return (
            bool(pod.node),
            _PHASES.get(pod.phase, 2),
            pod.ready,
            pod.cost,
            -on_node.get(pod.node, 0),
            _log_age(pod.ready_since, moment),
            -pod.restarts,
            _log_age(pod.created, moment),
            pod.uid,
        )

    return sorted(pods, key=rank)


def _log_age(since: float | None, now: float) -> int:
    """Return the power of two of an age, so that ages of one size are equal."""
    age = now - since if since is not None else 0.0
    return math.floor(math.log2(age * 1e9)) if age > 0 else -1
