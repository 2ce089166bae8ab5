"""A pod goes where its volumes are, or where they can be made; they are bound before the pod is.

A filter asks of each node whether bound volumes can be reached from there, and whether each claim
that waits for the pod finds a free volume there or can have one made. What was found for the node
that is chosen is set aside (`reserve`), written (`pre_bind`: a volume names the claim, or the claim
names the node for its provisioner), and waited for. Upstream: plugins/volumebinding.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, cast

from minikube_py.api.core import NODES, PERSISTENTVOLUMECLAIMS, PERSISTENTVOLUMES
from minikube_py.api.core.persistentvolume import class_of
from minikube_py.api.core.volume_matching import (
    SELECTED_NODE,
    bound_volume,
    is_bound,
    reach_of,
    requested,
    waits_for_consumer,
)
from minikube_py.api.errors import ServiceUnavailableError
from minikube_py.api.node_selectors import NodeTest
from minikube_py.api.object import (
    Key,
    Obj,
    annotations_of,
    evolve,
    get,
)
from minikube_py.api.storage import (
    CSIDRIVERS,
    CSINODES,
    CSISTORAGECAPACITIES,
    STORAGECLASSES,
)
from minikube_py.client.informer import Informer
from minikube_py.server.scheduler.cluster_events import Action, ClusterEvent, Registered
from minikube_py.server.scheduler.framework import Cycle, Handle, Question, Rejection, rejection
from minikube_py.server.scheduler.node_info import NodeInfo
from minikube_py.server.scheduler.plugins.volume_facts import trouble_of
from minikube_py.server.scheduler.plugins.volume_pool import Pool, Provisioning
from minikube_py.server.scheduler.plugins.volume_stores import Assumed, VolumeStores
from minikube_py.server.scheduler.pod_info import PodInfo

UNREACHABLE = "node(s) had volume node affinity conflict"
NO_VOLUME = "node(s) didn't find available persistent volumes to bind"
NO_ROOM = "node(s) did not have enough free storage"
GONE = "node(s) unavailable due to one or more pvc(s) bound to non-existent pv(s)"
UNBOUND = "pod has unbound immediate PersistentVolumeClaims"
BIND_SECONDS = 600.0
ADDED_OR_CHANGED = Action.ADD | Action.UPDATE


@dataclass(frozen=True)
class Choice:
    """How the claims of a pod are met on one node."""

    bindings: tuple[tuple[Obj, Obj], ...] = ()
    """Claims and the free volumes that they get."""
    provisioned: tuple[Obj, ...] = ()
    """Claims whose volumes are to be made."""


@dataclass
class Found:
    """What is known of a pod's claims, and what was found on the nodes that were asked."""

    bound: Sequence[NodeTest | None] = ()
    """For each volume that the pod has for sure: from where it can be reached."""
    missing: bool = False
    """Whether a claim is bound to a volume that does not exist."""
    waiting: Sequence[Obj] = ()
    """Claims that are to be met on the node of the pod, those that ask for least first."""
    claims: Sequence[Key] = ()
    choices: dict[str, Choice] = field(default_factory=dict)


class Options(NamedTuple):
    """How one claim may be met."""

    claim: Obj
    selected: str
    """The node on which its volume is to be made, "" where that is open."""
    pool: Pool
    provisioning: Provisioning


def choose(options: Iterable[Options], node: NodeInfo) -> Choice | str:
    """Find for each claim a volume or somebody who makes one, or say what there is none of."""
    bindings: dict[str, tuple[Obj, Obj]] = {}
    provisioned: list[Obj] = []
    for one in options:
        if one.selected and one.selected != node.name:
            return NO_VOLUME
        chosen = None if one.selected else one.pool.choose(node, bindings)
        if chosen is not None:
            bindings[chosen["metadata"]["name"]] = (one.claim, chosen)
            continue
        if not one.provisioning.is_possible(node):
            return NO_VOLUME
        if not one.provisioning.has_room(node):
            return NO_ROOM
        provisioned.append(one.claim)
    return Choice(tuple(bindings.values()), tuple(provisioned))


class VolumeBinding:
    """Asks for volumes, sets them aside, and has them bound."""

    name = "VolumeBinding"

    def __init__(self, handle: Handle, args: Mapping[str, object] | None = None) -> None:
        seconds = (args or {}).get("bindTimeoutSeconds", BIND_SECONDS)
        if not isinstance(seconds, int | float) or seconds < 0:
            raise ValueError(
                f"bindTimeoutSeconds: Invalid value: {seconds}: invalid BindTimeoutSeconds, "
                "should not be a negative value"
            )
        self._seconds = float(seconds)
        self._client = handle.client
        self._stores = VolumeStores(handle)
        self._assumed = Assumed()

    def events_to_register(self) -> Iterable[Registered]:
        """Volumes, claims, classes and room that come or change; nodes with other labels."""
        return (
            Registered(STORAGECLASSES, ADDED_OR_CHANGED),
            Registered(PERSISTENTVOLUMECLAIMS, ADDED_OR_CHANGED, _is_its_claim),
            Registered(PERSISTENTVOLUMES, ADDED_OR_CHANGED),
            Registered(NODES, Action.ADD | Action.NODE_LABEL),
            Registered(CSINODES, ADDED_OR_CHANGED),
            Registered(CSIDRIVERS, Action.UPDATE),
            Registered(CSISTORAGECAPACITIES, ADDED_OR_CHANGED),
        )

    # --- deciding ---

    def pre_filter(self, cycle: Cycle) -> Rejection | None:
        """Look at all claims of the pod; one that nobody can meet now rejects it."""
        found, trouble = self._look(cycle.pod)
        cycle.state[self.name] = found
        return rejection(trouble, final=True) if trouble else None

    def filter(self, cycle: Cycle) -> Question | None:
        """Return the question, where the pod has claims."""
        found: Found | None = cycle.state.get(self.name)
        if found is None or not found.claims:
            return None
        options = [self._options(claim, len(found.waiting)) for claim in found.waiting]

        def ask(node: NodeInfo) -> Rejection | None:
            reasons = self._ask(found, node, options)
            return Rejection(reasons, final=True) if reasons else None

        return ask

    def _look(self, pod: PodInfo) -> tuple[Found, str]:
        """Sort the claims of a pod; the second value is why it cannot be scheduled."""
        bound: list[NodeTest | None] = []
        waiting: list[Obj] = []
        keys: list[Key] = []
        missing = immediate = False
        for volume, key in pod.claims:
            keys.append(key)
            claim = self._stores.claims.get(key)
            trouble = trouble_of(pod, volume, key, claim)
            if trouble or claim is None:
                return Found(), trouble
            name = self._volume_of(claim, key)
            if name:
                its = self._stores.volumes.get(Key("", name))
                missing = missing or its is None
                bound += [reach_of(its)] if its is not None else []
            elif get(claim, "spec.volumeName") or not waits_for_consumer(
                self._stores.class_of(claim)
            ):
                immediate = True
            else:
                waiting.append(claim)
        waiting.sort(key=requested)
        return Found(bound, missing, waiting, keys), UNBOUND if immediate else ""

    def _volume_of(self, claim: Obj, key: Key) -> str | None:
        """Return the name of the volume that a claim has, or that was chosen for it."""
        if is_bound(claim):
            return str(claim["spec"]["volumeName"])
        return self._assumed.volume_of(key)

    def _options(self, claim: Obj, wanted: int) -> Options:
        key = _key(claim)
        taken = {name for name, other in self._assumed.volumes.items() if other != key}
        candidates = self._stores.candidates(key, class_of(claim))
        return Options(
            claim,
            self._assumed.nodes.get(key) or annotations_of(claim).get(SELECTED_NODE, ""),
            Pool(claim, candidates, taken, wanted),
            Provisioning(claim, self._stores),
        )

    def _ask(self, found: Found, node: NodeInfo, options: Sequence[Options]) -> tuple[str, ...]:
        reasons = []
        if found.missing:
            reasons.append(GONE)
        if not all(test is None or test(node.name, node.labels) for test in found.bound):
            reasons.append(UNREACHABLE)
        choice = choose(options, node)
        if isinstance(choice, str):
            reasons.append(choice)
        else:
            found.choices[node.name] = choice
        return tuple(reasons)

    # --- carrying out ---

    def reserve(self, cycle: Cycle, node: str) -> Rejection | None:
        """Set aside what was found on the node."""
        found: Found | None = cycle.state.get(self.name)
        choice = found.choices.get(node) if found is not None else None
        for claim, volume in choice.bindings if choice else ():
            self._assumed.volumes[volume["metadata"]["name"]] = _key(claim)
        for claim in choice.provisioned if choice else ():
            self._assumed.nodes[_key(claim)] = node
        return None

    def unreserve(self, cycle: Cycle, node: str) -> None:
        """Give back what was set aside."""
        found: Found | None = cycle.state.get(self.name)
        choice = found.choices.get(node) if found is not None else None
        for _, volume in choice.bindings if choice else ():
            self._assumed.volumes.pop(volume["metadata"]["name"], None)
        for claim in choice.provisioned if choice else ():
            self._assumed.nodes.pop(_key(claim), None)

    def post_bind(self, cycle: Cycle, node: str) -> None:
        """Forget what the cluster knows by now."""
        self.unreserve(cycle, node)

    async def pre_bind(self, cycle: Cycle, node: str) -> Rejection | None:
        """Write what was chosen, and wait until all claims of the pod are bound."""
        found: Found | None = cycle.state.get(self.name)
        if found is None or not found.claims or all(map(self._is_done, found.claims)):
            return None
        choice = found.choices.get(node, Choice())
        for claim, volume in choice.bindings:
            new = bound_volume(volume, claim)
            if new is not volume:
                await self._client.update(PERSISTENTVOLUMES, new)
        for claim in choice.provisioned:
            newest = self._stores.claims.get(_key(claim)) or claim
            if annotations_of(newest).get(SELECTED_NODE) != node:
                notes = {**annotations_of(newest), SELECTED_NODE: node}
                noted = evolve(newest, "metadata.annotations", notes)
                await self._client.update(PERSISTENTVOLUMECLAIMS, noted)
        await self._wait(found.claims, choice, node)
        return None

    def _is_done(self, key: Key) -> bool:
        """Tell whether a claim is bound and says so: kubelets do not mount it before that."""
        claim = self._stores.claims.get(key)
        return claim is not None and is_bound(claim) and get(claim, "status.phase") == "Bound"

    async def _wait(self, keys: Sequence[Key], choice: Choice, node: str) -> None:
        """Wait for the binder and the provisioners; raises ServiceUnavailableError."""
        selected: set[Key] = set()
        to_select = {_key(claim) for claim in choice.provisioned}
        failed: list[str] = []

        def settled() -> bool:
            for key in keys:
                claim = self._stores.claims.get(key)
                if claim is None:
                    failed.append(f'persistentvolumeclaim "{key.name}" not found')
                elif annotations_of(claim).get(SELECTED_NODE) == node:
                    selected.add(key)
                elif key in selected and key in to_select and not is_bound(claim):
                    failed.append(f'provisioning failed for PVC "{key.name}"')
            return bool(failed) or all(map(self._is_done, keys))

        try:
            informer = cast("Informer", self._stores.claims)
            await informer.wait_until(settled, self._seconds)
        except TimeoutError:
            failed.append("context deadline exceeded")
        if failed:
            text = f'running PreBind plugin "{self.name}": binding volumes: {failed[0]}'
            raise ServiceUnavailableError(text)


def _key(claim: Obj) -> Key:
    return Key(claim["metadata"]["namespace"], claim["metadata"]["name"])


def _is_its_claim(pod: PodInfo, event: ClusterEvent) -> bool:
    item = event.new or event.old
    return item is not None and any(key == item.key for _, key in pod.claims)
