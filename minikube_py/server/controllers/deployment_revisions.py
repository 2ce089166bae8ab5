"""The replica sets of a deployment: which is the new one, what it is called, its revision.

Every template that a deployment ever had is a replica set; the one whose template equals the
deployment's is the new one, whatever its hash. Revisions count up in an annotation, so that a
rollback to an old template gives that replica set the newest number.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson

from minikube_py.api import intstr
from minikube_py.api.object import (
    Obj,
    annotations_of,
    evolve,
    get,
    is_deleting,
    labels_of,
    owner_reference,
    without,
)

HASH_LABEL = "pod-template-hash"
REVISION = "deployment.kubernetes.io/revision"
HISTORY = "deployment.kubernetes.io/revision-history"
DESIRED = "deployment.kubernetes.io/desired-replicas"
MAX = "deployment.kubernetes.io/max-replicas"
NOT_COPIED = frozenset(
    {
        "kubectl.kubernetes.io/last-applied-configuration",
        "deprecated.deployment.rollback.to",
        REVISION,
        HISTORY,
        DESIRED,
        MAX,
    }
)
HISTORY_CHARS_MAX = 2000
NAME_MAX = 253
ALPHABET = "bcdfghjklmnpqrstvwxz2456789"
"""Letters that make no words; apimachinery's `SafeEncodeString` uses these."""


@dataclass(frozen=True)
class View:
    """A deployment and its replica sets at one moment."""

    deployment: Obj
    new: Obj | None
    old: Sequence[Obj]
    """All others, oldest first."""
    now: datetime

    @property
    def all(self) -> Sequence[Obj]:
        """The old ones, then the new one."""
        return self.old if self.new is None else [*self.old, self.new]


def view_of(deployment: Obj, replicasets: Iterable[Obj], now: datetime) -> View:
    """Tell the new replica set from the old ones."""
    ordered = sorted(replicasets, key=by_age)
    template = deployment["spec"]["template"]
    new = next((rs for rs in ordered if same_template(rs["spec"]["template"], template)), None)
    return View(deployment, new, [rs for rs in ordered if rs is not new], now)


def by_age(rs: Obj) -> tuple[str, str]:
    """Sort key: oldest first."""
    return rs["metadata"].get("creationTimestamp", ""), rs["metadata"]["name"]


def same_template(one: Obj, other: Obj) -> bool:
    """Compare two pod templates apart from the hash label."""
    path = ("metadata", "labels", HASH_LABEL)
    left, right = without(one, path), without(other, path)
    return bool(_plain(left) == _plain(right))


def _plain(template: Obj) -> Any:
    metadata = {key: value for key, value in (template.get("metadata") or {}).items() if value}
    return {**template, "metadata": metadata}


def template_hash(template: Obj, collision_count: int | None) -> str:
    """Return the hash of a template as it stands in names and labels: FNV-1a of 32 bits."""
    data = orjson.dumps(template, option=orjson.OPT_SORT_KEYS)
    if collision_count is not None:
        data += collision_count.to_bytes(8, "little")
    value = 0x811C9DC5
    for byte in data:
        value = ((value ^ byte) * 0x01000193) & 0xFFFFFFFF
    return "".join(ALPHABET[ord(digit) % len(ALPHABET)] for digit in str(value))


def replicas_of(obj: Obj) -> int:
    """Return spec.replicas."""
    return int(obj["spec"].get("replicas", 1))


def available_of(rs: Obj) -> int:
    """Return status.availableReplicas."""
    return int(get(rs, "status.availableReplicas", 0))


def sum_replicas(replicasets: Iterable[Obj]) -> int:
    """Return how many pods the replica sets want."""
    return sum(map(replicas_of, replicasets))


def active(replicasets: Iterable[Obj]) -> list[Obj]:
    """Return those that want pods."""
    return [rs for rs in replicasets if replicas_of(rs) > 0]


def is_rolling(deployment: Obj) -> bool:
    """Tell whether old pods are replaced step by step."""
    return bool(get(deployment, "spec.strategy.type", "RollingUpdate") == "RollingUpdate")


def bounds(deployment: Obj) -> tuple[int, int]:
    """Return how many pods may be too many and too few: (surge, unavailable).

    A surge in percent is rounded up, the unavailable down; both 0 would never move, so then one
    pod may be unavailable.
    """
    if not is_rolling(deployment):
        return 0, 0
    rolling: Obj = get(deployment, "spec.strategy.rollingUpdate", {})
    replicas = replicas_of(deployment)
    surge = intstr.scaled(rolling.get("maxSurge", 0), replicas, round_up=True)
    unavailable = intstr.scaled(rolling.get("maxUnavailable", 0), replicas, round_up=False)
    if surge == 0 and unavailable == 0:
        unavailable = 1
    return surge, unavailable


def max_surge(deployment: Obj) -> int:
    """Return how many pods may be too many."""
    return bounds(deployment)[0]


def max_unavailable(deployment: Obj) -> int:
    """Return how many pods may be missing, at most all."""
    return min(bounds(deployment)[1], replicas_of(deployment))


def revision_of(obj: Obj) -> int:
    """Return the revision in the annotation, 0 where there is none or it is no number."""
    text = annotations_of(obj).get(REVISION, "0")
    return int(text) if text.isdigit() else 0


def next_revision(view: View) -> int:
    """Return the revision that the new replica set has or gets."""
    return max(map(revision_of, view.old), default=0) + 1


def size_annotations(deployment: Obj) -> dict[str, str]:
    """Return what a replica set notes of the deployment's size, for scaling in proportion."""
    replicas = replicas_of(deployment)
    return {DESIRED: str(replicas), MAX: str(replicas + max_surge(deployment))}


def new_replicaset(view: View, replicas: int) -> dict[str, Any]:
    """Return the replica set to create for the deployment's template."""
    deployment = view.deployment
    spec = deployment["spec"]
    digest = template_hash(spec["template"], get(deployment, "status.collisionCount"))
    template = evolve(spec["template"], ("metadata", "labels", HASH_LABEL), digest)
    selector = evolve(spec["selector"], ("matchLabels", HASH_LABEL), digest)
    name = f"{deployment['metadata']['name'][: NAME_MAX - len(digest) - 1]}-{digest}"
    made: dict[str, Any] = {
        "apiVersion": "apps/v1",
        "kind": "ReplicaSet",
        "metadata": {
            "name": name,
            "namespace": deployment["metadata"]["namespace"],
            "labels": labels_of(template),
            "annotations": {
                **copied_annotations(deployment),
                REVISION: str(next_revision(view)),
                **size_annotations(deployment),
            },
            "ownerReferences": [owner_reference(deployment)],
        },
        "spec": {"replicas": replicas, "selector": selector, "template": template},
    }
    if spec.get("minReadySeconds"):
        made["spec"]["minReadySeconds"] = spec["minReadySeconds"]
    return made


def copied_annotations(deployment: Obj) -> Mapping[str, str]:
    """Return the deployment's annotations that its replica sets get."""
    annotations = annotations_of(deployment)
    return {key: value for key, value in annotations.items() if key not in NOT_COPIED}


def synced(view: View) -> Obj | None:
    """Return the new replica set as it should be apart from its size; None where it is so."""
    rs, deployment = view.new, view.deployment
    if rs is None:
        return None
    annotations = {**annotations_of(rs), **copied_annotations(deployment)}
    before, after = revision_of(rs), next_revision(view)
    if before < after:
        if before:
            annotations[HISTORY] = _with_history(annotations.get(HISTORY, ""), before)
        annotations[REVISION] = str(after)
    wanted: Obj = rs
    if annotations != annotations_of(rs):
        wanted = evolve(wanted, "metadata.annotations", annotations)
    seconds = deployment["spec"].get("minReadySeconds", 0)
    if seconds != rs["spec"].get("minReadySeconds", 0):
        wanted = evolve(wanted, "spec.minReadySeconds", seconds)
    return None if wanted is rs else wanted


def _with_history(history: str, revision: int) -> str:
    """Append a revision to those that a replica set has had, dropping the oldest if too long."""
    revisions = [*filter(None, history.split(",")), str(revision)]
    while len(",".join(revisions)) > HISTORY_CHARS_MAX:
        del revisions[0]
    return ",".join(revisions)


def surplus_history(view: View) -> list[Obj]:
    """Return the old replica sets beyond the history limit, oldest revision first."""
    limit = view.deployment["spec"].get("revisionHistoryLimit")
    if limit is None:
        return []
    there = sorted((rs for rs in view.old if not is_deleting(rs)), key=revision_of)
    surplus = there[: max(len(there) - limit, 0)]
    return [rs for rs in surplus if _is_settled_and_empty(rs)]


def _is_settled_and_empty(rs: Obj) -> bool:
    status: Obj = rs.get("status") or {}
    seen = status.get("observedGeneration", 0) >= rs["metadata"].get("generation", 0)
    return replicas_of(rs) == 0 and not status.get("replicas") and seen
