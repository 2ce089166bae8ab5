"""The pods of a stateful set: their names, what they are made of, and the claims they keep.

A pod is known by its ordinal. Its name, host name and claims follow from that, so a pod that is
made again is the same one to all who know it by name.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from minikube_py.api.core import PERSISTENTVOLUMECLAIMS, PODS
from minikube_py.api.object import Key, Obj, evolve, get, is_deleting, owner_reference, owners_of
from minikube_py.client.actions import Action, Create, Patch, Update
from minikube_py.server.controllers.pod_facts import PodFacts
from minikube_py.server.controllers.pods import new_pod
from minikube_py.server.controllers.statefulset_revisions import (
    Revisions,
    name_of,
    template_of,
)

REVISION_LABEL = "controller-revision-hash"
NAME_LABEL = "statefulset.kubernetes.io/pod-name"
INDEX_LABEL = "apps.kubernetes.io/pod-index"
_NUMBERED = re.compile(r"(.*)-(0|[1-9][0-9]*)", re.ASCII)


def split_name(name: str) -> tuple[str, int]:
    """Return the set and the ordinal that a pod's name tells; ("", -1) where it tells none."""
    found = _NUMBERED.fullmatch(name)
    return (found[1], int(found[2])) if found else ("", -1)


def is_member(sts: Obj, name: str) -> bool:
    """Tell whether a pod of that name can be one of the set's."""
    return bool(split_name(name)[0] == sts["metadata"]["name"])


@dataclass(frozen=True)
class View:
    """A stateful set and what it has at one moment."""

    sts: Obj
    revisions: Revisions
    pods: Mapping[int, PodFacts]
    """Its pods by their ordinals, those too many and terminating ones too."""
    now: datetime
    claims: Mapping[str, Obj]
    """The claims of its namespace that its pods may have, by name."""
    strangers: frozenset[str] = frozenset()
    """Names of pods that it does not own."""

    @property
    def spec(self) -> Obj:
        """The spec of the set."""
        spec: Obj = self.sts["spec"]
        return spec

    @property
    def start(self) -> int:
        """The first ordinal."""
        return int(get(self.sts, "spec.ordinals.start", 0))

    @property
    def ordinals(self) -> range:
        """The ordinals that should have a pod."""
        return range(self.start, self.start + self.spec.get("replicas", 1))

    @property
    def ordered(self) -> bool:
        """Whether one pod waits for another."""
        return bool(self.spec.get("podManagementPolicy", "OrderedReady") == "OrderedReady")

    @property
    def condemned(self) -> Sequence[PodFacts]:
        """The pods that are too many, the highest ordinal first."""
        return [self.pods[n] for n in sorted(self.pods, reverse=True) if n not in self.ordinals]

    def is_available(self, pod: PodFacts) -> bool:
        """Tell whether a pod has been ready for long enough."""
        return is_running_ready(pod) and pod.is_available(self.min_ready_seconds, self.now)

    @property
    def min_ready_seconds(self) -> int:
        """How long a pod has to be ready to count as available."""
        return int(self.spec.get("minReadySeconds", 0))


def is_running_ready(pod: PodFacts) -> bool:
    """Tell whether a pod runs and is ready."""
    return pod.phase == "Running" and pod.ready


def revision_of(pod: PodFacts) -> str:
    """Return the name of the revision that a pod was made of."""
    return pod.labels.get(REVISION_LABEL, "")


def partition_of(sts: Obj) -> int:
    """Return how many pods, counted from the first, keep the current revision in an update."""
    return int(get(sts, "spec.updateStrategy.rollingUpdate.partition", 0))


def is_rolling(sts: Obj) -> bool:
    """Tell whether the set replaces its pods by itself."""
    return bool(get(sts, "spec.updateStrategy.type", "RollingUpdate") == "RollingUpdate")


def pod_for(view: View, ordinal: int) -> dict[str, Any]:
    """Return the pod to create: of the current revision below the partition."""
    sts = view.sts
    below = is_rolling(sts) and ordinal < view.start + partition_of(sts)
    revision = view.revisions.current if below else view.revisions.update
    pod = new_pod(sts, template_of(revision))
    name = f"{sts['metadata']['name']}-{ordinal}"
    labels = {**pod["metadata"].get("labels", {}), **identity(name, ordinal)}
    pod["metadata"] |= {"name": name, "labels": {**labels, REVISION_LABEL: name_of(revision)}}
    pod["spec"] = {**pod["spec"], "hostname": name}
    if sts["spec"].get("serviceName"):
        pod["spec"]["subdomain"] = sts["spec"]["serviceName"]
    return _with_volumes(pod, sts, ordinal)


def identity(name: str, ordinal: int) -> dict[str, str]:
    """Return the labels that say which pod of its set this is."""
    return {NAME_LABEL: name, INDEX_LABEL: str(ordinal)}


def _with_volumes(pod: dict[str, Any], sts: Obj, ordinal: int) -> dict[str, Any]:
    """Put the claims in the place of the template's volumes of the same names."""
    names = {one["metadata"]["name"]: claim_name(sts, one, ordinal) for one in templates(sts)}
    if not names:
        return pod
    kept = [v for v in pod["spec"].get("volumes") or () if v["name"] not in names]
    claimed = [
        {"name": name, "persistentVolumeClaim": {"claimName": claim}}
        for name, claim in names.items()
    ]
    return evolve(pod, "spec.volumes", [*claimed, *kept])


def plan_identity(pod: PodFacts, ordinal: int) -> Iterator[Action]:
    """Put right the labels that say which pod this is."""
    wanted = identity(pod.key.name, ordinal)
    if any(pod.labels.get(key) != value for key, value in wanted.items()):
        yield Patch(PODS, pod.key, {"metadata": {"uid": pod.uid, "labels": wanted}})


def templates(sts: Obj) -> Sequence[Obj]:
    """Return the claim templates of the set."""
    return sts["spec"].get("volumeClaimTemplates") or ()


def claim_name(sts: Obj, template: Obj, ordinal: int) -> str:
    """Return the name of a pod's claim."""
    return f"{template['metadata']['name']}-{sts['metadata']['name']}-{ordinal}"


def owns_claim(sts: Obj, name: str) -> bool:
    """Tell whether a claim of that name belongs to one of the set's pods."""
    before, ordinal = split_name(name)
    wanted = (claim_name(sts, template, ordinal) for template in templates(sts))
    return bool(before) and name in wanted


def claim_names(sts: Obj, ordinal: int) -> list[str]:
    """Return the names of the claims of one pod."""
    return [claim_name(sts, template, ordinal) for template in templates(sts)]


def new_claim(sts: Obj, template: Obj, ordinal: int) -> dict[str, Any]:
    """Return the claim to create for a pod that is wanted."""
    given = template["metadata"]
    matched = get(sts, "spec.selector.matchLabels", {})
    metadata: dict[str, Any] = {
        "name": claim_name(sts, template, ordinal),
        "namespace": sts["metadata"]["namespace"],
        "labels": {**(given.get("labels") or {}), **matched},
    }
    if given.get("annotations"):
        metadata["annotations"] = given["annotations"]
    if retention(sts)[0] == "Delete":
        metadata["ownerReferences"] = [owner_reference(sts)]
    kind = {"apiVersion": "v1", "kind": "PersistentVolumeClaim"}
    return {**kind, "metadata": metadata, "spec": template["spec"]}


def retention(sts: Obj) -> tuple[str, str]:
    """Return what becomes of claims when the set goes, and when it shrinks: Retain or Delete."""
    policy: Obj = sts["spec"].get("persistentVolumeClaimRetentionPolicy") or {}
    return policy.get("whenDeleted", "Retain"), policy.get("whenScaled", "Retain")


def plan_claims(view: View, ordinal: int) -> Iterator[Action]:
    """Create the claims of a pod that are missing."""
    for template in templates(view.sts):
        if claim_name(view.sts, template, ordinal) not in view.claims:
            yield Create(PERSISTENTVOLUMECLAIMS, new_claim(view.sts, template, ordinal))


def has_stale_claim(view: View, ordinal: int) -> bool:
    """Tell whether a claim of a pod that is to be made still goes with the one before it."""
    name = f"{view.sts['metadata']['name']}-{ordinal}"
    found = (view.claims.get(one) for one in claim_names(view.sts, ordinal))
    return any(
        is_deleting(claim) or any(_is_pod(ref, name) for ref in owners_of(claim))
        for claim in found
        if claim is not None
    )


def _is_pod(reference: Obj, name: str) -> bool:
    return bool(reference.get("kind") == "Pod" and reference.get("name") == name)


def plan_retention(view: View, pod: PodFacts, ordinal: int) -> Iterator[Action]:
    """Let each claim be owned by whose end shall be its own."""
    for name in claim_names(view.sts, ordinal):
        claim = view.claims.get(name)
        if claim is None or is_deleting(claim):
            continue
        owners = claim_owners(view, claim, pod, ordinal)
        if owners != list(owners_of(claim)):
            owned = evolve(claim, "metadata.ownerReferences", owners)
            yield Update(PERSISTENTVOLUMECLAIMS, owned)


def claim_owners(view: View, claim: Obj, pod: PodFacts, ordinal: int) -> list[Obj]:
    """Return the owners of a claim as the retention policy wants them.

    Another controller's claim is never taken over.
    """
    sts = view.sts
    mine = {sts["metadata"]["uid"], pod.uid}
    others = [ref for ref in owners_of(claim) if ref.get("uid") not in mine]
    when_deleted, when_scaled = retention(sts)
    if any(ref.get("controller") for ref in others):
        return others
    if when_scaled == "Delete" and ordinal not in view.ordinals:
        return [*others, _pod_reference(pod.key, pod.uid)]
    return [*others, owner_reference(sts)] if when_deleted == "Delete" else others


def _pod_reference(key: Key, uid: str) -> Obj:
    return owner_reference(
        {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": key.name, "uid": uid}}
    )
