"""A pod goes where the devices are that its claims ask for, and they are its own before it starts.

A filter asks of each node whether claims that have devices can be used there, and whether those
without can be given some. What was found for the node that is chosen is set aside (`reserve`) and
written (`pre_bind`): the claim gets its allocation and lists the pod as its user. Where a claim
has devices that no node can use, and nobody else uses it, they are given free (`post_filter`).
Where devices stand for extended resources that a node does not have itself, the pod gets one more
claim, which differs by node and is written last of all. Upstream: plugins/dynamicresources.
"""

import contextlib
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from minikube_py.api import times
from minikube_py.api.core import NODES, PODS
from minikube_py.api.errors import (
    ConflictError,
    NotFoundError,
    ServiceUnavailableError,
    StatusError,
)
from minikube_py.api.node_selectors import NodeTest, compile_selector
from minikube_py.api.object import (
    Obj,
    controller_of,
    evolve,
    get,
    is_deleting,
    key_of,
    uid_of,
)
from minikube_py.api.resource_k8s import DEVICECLASSES, RESOURCECLAIMS, RESOURCESLICES
from minikube_py.api.resource_k8s.pod_claims import (
    FINALIZER,
    ClaimError,
    check_owner,
    claims_of,
    is_allocated,
    is_reserved_for,
    key_in,
    key_of_pod,
    names_of,
    user_entry,
    users_of,
)
from minikube_py.server.scheduler.cluster_events import Action, ClusterEvent, Registered
from minikube_py.server.scheduler.devices.extended import (
    Mapped,
    is_made_for,
    missing_on,
    new_claim,
    requests_of,
    to_write,
)
from minikube_py.server.scheduler.devices.inventory import Inventory
from minikube_py.server.scheduler.devices.results import allocation
from minikube_py.server.scheduler.devices.search import Found, Taken, search
from minikube_py.server.scheduler.devices.wishes import AllocationError, Plan, plan_of
from minikube_py.server.scheduler.framework import (
    Cycle,
    Fitting,
    Handle,
    Help,
    Question,
    Rejection,
    rejection,
)
from minikube_py.server.scheduler.node_info import NodeInfo
from minikube_py.server.scheduler.plugins.device_books import DeviceBooks, revision
from minikube_py.server.scheduler.plugins.device_conditions import DeviceConditions
from minikube_py.server.scheduler.pod_info import PodInfo

log = logging.getLogger(__name__)
ELSEWHERE: Final = "resourceclaim not available on the node"
NO_DEVICES: Final = "cannot allocate all claims"
STALE: Final = "cannot schedule extended resource claim"
FREED: Final = "deallocation of ResourceClaim completed"
WRITES_MAX: Final = 5
"""Attempts to write a claim that others write, too."""
ADDED_OR_CHANGED: Final = Action.ADD | Action.UPDATE


class Extra(NamedTuple):
    """The claim for a pod's extended resources, as it would be on some nodes."""

    plan: Plan
    mapped: Sequence[Mapped]
    """Which container has what of it."""


@dataclass
class State:
    """What is known of a pod's claims, and what was found on the nodes that were asked."""

    claims: Sequence[Obj] = ()
    plans: Sequence[Plan] = ()
    """Of those that have no devices yet."""
    reaches: Sequence[tuple[Obj, NodeTest]] = ()
    """Claims with devices, and from where these can be used."""
    found: dict[str, Found] = field(default_factory=dict)
    elsewhere: dict[str, Obj] = field(default_factory=dict)
    """By uid: claims whose devices some node cannot use."""
    node: str = ""
    """The node for which devices are set aside."""
    classes: Mapping[str, str] = field(default_factory=dict)
    """The device classes of the extended resources that the pod asks for."""
    stale: Obj | None = None
    """A claim for them that an earlier attempt has left."""
    extras: dict[tuple[str, ...], Extra] = field(default_factory=dict)
    """By the resources that a node lacks."""
    extra: dict[str, Extra] = field(default_factory=dict)
    """By node, where it was found to do."""
    written: Obj | None = None
    """The claim for extended resources, once it is an object."""

    def plans_on(self, node: str) -> Sequence[Plan]:
        """Return all that has to be found on a node."""
        extra = self.extra.get(node)
        return self.plans if extra is None else [*self.plans, extra.plan]


class DynamicResources:
    """Finds devices for claims, sets them aside and writes who has them."""

    name = "DynamicResources"

    def __init__(self, handle: Handle) -> None:
        self._client = handle.client
        self._clock = handle.clock
        self._start = handle.start
        self._books = DeviceBooks(handle)
        self._conditions = DeviceConditions(self._books.claims)

    def events_to_register(self) -> Iterable[Registered]:
        """Claims that come, change or give devices free; devices, classes and nodes."""
        return (
            Registered(RESOURCECLAIMS, Action.ALL, _concerns),
            Registered(PODS, Action.POD_GENERATED_CLAIM, _is_itself),
            Registered(RESOURCESLICES, ADDED_OR_CHANGED),
            Registered(DEVICECLASSES, ADDED_OR_CHANGED),
            Registered(NODES, Action.ADD | Action.NODE_LABEL),
        )

    # --- deciding ---

    def pre_enqueue(self, pod: PodInfo) -> Rejection | None:
        """Hold a pod back until its claims are there."""
        try:
            self._claims_of(pod.obj)
        except ClaimError as error:
            return rejection(str(error), final=True)
        return None

    def _claims_of(self, pod: Obj) -> Sequence[Obj]:
        """Return the claims of a pod; raises ClaimError."""
        found = []
        for entry in claims_of(pod):
            if entry.claim is None:
                raise ClaimError(f'pod "{key_of_pod(pod)}": ResourceClaim not created yet')
            if not entry.claim:
                continue
            claim = self._books.claim(key_in(pod, entry.claim))
            if claim is None:
                raise ClaimError(f'resourceclaim "{entry.claim}" not found')
            if is_deleting(claim):
                raise ClaimError(f'resourceclaim "{entry.claim}" is being deleted')
            if entry.template:
                check_owner(pod, claim)
            found.append(claim)
        return found

    def pre_filter(self, cycle: Cycle) -> Rejection | None:
        """Look at all claims of the pod; one that nobody can meet now rejects it."""
        pod, classes = cycle.pod, self._books.classes_for(cycle.pod.requests)
        if not classes and not get(pod.obj, "spec.resourceClaims"):
            return None
        try:
            state = self._look(self._claims_of(pod.obj))
            state.classes = classes
            owned = self._books.claims.owned_by(pod.uid) if classes else ()
            state.stale = next((one for one in owned if is_made_for(pod.obj, one)), None)
            cycle.state[self.name] = state
        except (ClaimError, AllocationError) as error:
            return rejection(str(error), final=True)
        return None

    def _look(self, claims: Sequence[Obj]) -> State:
        plans, reaches = [], []
        for claim in claims:
            if is_allocated(claim):
                selector = get(claim, "status.allocation.nodeSelector")
                if selector is not None:
                    reaches.append((claim, compile_selector(selector)))
                continue
            if uid_of(claim) in self._books.pending:
                shown = f"{claim['metadata']['namespace']}/{claim['metadata']['name']}"
                raise ClaimError(f"resource claim {shown} is in the process of being allocated")
            plans.append(plan_of(claim, self._books.device_class))
        return State(claims, plans, reaches)

    def filter(self, cycle: Cycle) -> Question | None:
        """Return the question, where the pod has claims that depend on the node."""
        state: State | None = cycle.state.get(self.name)
        if state is None or not (state.plans or state.reaches or state.classes):
            return None
        if state.stale is not None:
            return lambda _: rejection(STALE)
        inventory, taken = self._books.inventory(), self._books.taken()

        def ask(node: NodeInfo) -> Rejection | None:
            away = [one for one, reach in state.reaches if not reach(node.name, node.labels)]
            if away:
                state.elsewhere.update((uid_of(claim), claim) for claim in away)
                return rejection(ELSEWHERE, final=True)
            try:
                return self._search(cycle.pod, state, node, inventory, taken)
            except AllocationError as error:
                return rejection(str(error), final=True)

        return ask

    def _search(
        self, pod: PodInfo, state: State, node: NodeInfo, inventory: Inventory, taken: Taken
    ) -> Rejection | None:
        """Look for devices on a node, and note what is found.

        Raises:
            AllocationError: that cannot be told now.

        """
        extra = self._extra(pod, state, missing_on(node.allocatable, state.classes))
        plans = state.plans if extra is None else [*state.plans, extra.plan]
        if not plans:
            return None
        found = search(plans, inventory, taken, node.name, node.labels)
        if found is None:
            return rejection(NO_DEVICES, final=True)
        if extra is not None:
            state.extra[node.name] = extra
        state.found[node.name] = found
        return None

    def _extra(self, pod: PodInfo, state: State, names: tuple[str, ...]) -> Extra | None:
        """Return the claim for the extended resources that a node lacks; made once for all alike.

        Raises:
            AllocationError: a class is gone.

        """
        if not names:
            return None
        if names not in state.extras:
            classes = {name: state.classes[name] for name in names}
            requests, mapped = requests_of(pod.obj, classes)
            plan = plan_of(new_claim(pod.obj, requests), self._books.device_class)
            state.extras[names] = Extra(plan, mapped)
        return state.extras[names]

    async def post_filter(self, cycle: Cycle, _fit: Fitting) -> Help:
        """Give devices free that no fitting node can use and that nobody else uses."""
        state: State | None = cycle.state.get(self.name)
        if state is not None and state.stale is not None:
            await self._remove(state.stale)
            return Help(FREED)
        for claim in state.elsewhere.values() if state is not None else ():
            if any(user.get("uid") != cycle.pod.uid for user in users_of(claim)):
                continue
            await self._free(claim)
            return Help(FREED)
        return Help()

    async def _free(self, claim: Obj) -> None:
        status = {key: claim["status"][key] for key in claim["status"] if key not in _GRANTS}
        self._books.wrote(await self._update(claim, status))

    # --- carrying out ---

    def reserve(self, cycle: Cycle, node: str) -> Rejection | None:
        """Set aside what was found on the node."""
        state: State | None = cycle.state.get(self.name)
        if state is None or not state.plans_on(node):
            return None
        found = state.found.get(node)
        if found is None:
            return rejection(NO_DEVICES)
        for plan, choices in zip(state.plans_on(node), found, strict=True):
            self._books.set_aside(plan.claim, choices)
        state.node = node
        return None

    def unreserve(self, cycle: Cycle, node: str) -> None:
        """Give back what was set aside, and have the pod taken off claims that list it."""
        state: State | None = cycle.state.get(self.name)
        if state is None:
            return
        if state.node == node:
            for plan in state.plans_on(node):
                self._books.give_back(plan.claim)
        if state.written is not None:
            self._start(f"remove {key_of(state.written)}", self._removed(state.written))
        for claim in state.claims:
            newest = self._books.claim(key_of(claim))
            if newest is not None and is_reserved_for(cycle.pod.obj, newest):
                self._start(f"release {key_of(claim)}", self._release(newest, cycle.pod.uid))

    async def _release(self, claim: Obj, pod_uid: str) -> None:
        """Take a pod off a claim; where that fails, the controller of claims does it later."""
        key = key_of(claim)
        for _ in range(WRITES_MAX):
            left = [user for user in users_of(claim) if user.get("uid") != pod_uid]
            status = {**claim["status"], "reservedFor": left}
            try:
                self._books.wrote(await self._update(claim, status))
            except ConflictError:
                newest = await self._client.get(RESOURCECLAIMS, key.name, key.namespace)
                if uid_of(newest) != uid_of(claim):
                    return
                claim = newest
            except StatusError as error:
                log.warning("claim not given back claim=%s error=%s", key, error)
                return
            else:
                return

    async def _update(self, claim: Obj, status: Mapping[str, Any]) -> Obj:
        changed = {**claim, "status": status}
        return await self._client.update(RESOURCECLAIMS, changed, subresource="status")

    async def pre_bind(self, cycle: Cycle, node: str) -> Rejection | None:
        """Write what the claims of the pod have, and that it uses them."""
        state: State | None = cycle.state.get(self.name)
        if state is None:
            return None
        granted: dict[str, Mapping[str, Any]] = {}
        for plan, choices in zip(state.plans, state.found.get(node, ()), strict=False):
            granted[uid_of(plan.claim)] = allocation(plan, choices, node)
        written = []
        for claim in state.claims:
            answer = await self._write(claim, granted.get(uid_of(claim)), cycle.pod.obj)
            self._books.wrote(answer)
            self._books.give_back(claim)
            written.append(answer)
        if node in state.extra:
            written.append(await self._write_extra(cycle.pod.obj, state, node))
        failed = await self._conditions.wait(written)
        if not failed:
            return None
        for claim in written:
            if uid_of(claim) in granted:
                await self._free(self._books.claim(key_of(claim)) or claim)
        return rejection(failed)

    async def _write_extra(self, pod: Obj, state: State, node: str) -> Obj:
        """Make the claim for extended resources an object, and say in the pod's status which.

        What was set aside stays so until the cache shows the claim with its devices.
        """
        plan, mapped = state.extra[node]
        made = await self._client.create(RESOURCECLAIMS, to_write(plan.claim))
        state.written = made
        granted = allocation(plan, state.found[node][-1], node)
        answer = state.written = await self._write(made, granted, pod)
        try:
            await self._books.claims.wait_for(revision(answer))
        except TimeoutError:
            raise ServiceUnavailableError(f"claim {key_of(made)} is not in the cache") from None
        self._books.wrote(answer)
        self._books.give_back(plan.claim)
        name = made["metadata"]["name"]
        status = {"requestMappings": mapped, "resourceClaimName": name}
        patch = {
            "metadata": {"uid": uid_of(pod)},
            "status": {"extendedResourceClaimStatus": status},
        }
        key = key_of(pod)
        await self._client.patch(PODS, key.name, patch, key.namespace, subresource="status")
        return answer

    async def _removed(self, claim: Obj) -> None:
        """Remove a claim for a pod that is not bound after all; if need be its controller does."""
        try:
            await self._remove(claim)
        except StatusError as error:
            log.warning("claim not removed claim=%s error=%s", key_of(claim), error)

    async def _remove(self, claim: Obj) -> None:
        """Remove a claim for extended resources, whatever it has."""
        key = key_of(claim)
        with contextlib.suppress(NotFoundError):
            newest = await self._client.get(RESOURCECLAIMS, key.name, key.namespace)
            left = [one for one in newest["metadata"].get("finalizers") or () if one != FINALIZER]
            freed = evolve(newest, "metadata.finalizers", left)
            await self._client.update(RESOURCECLAIMS, freed)
            await self._client.delete(RESOURCECLAIMS, key.name, key.namespace)

    async def _write(self, claim: Obj, granted: Mapping[str, Any] | None, pod: Obj) -> Obj:
        """Write a claim's devices and its user, also where others change it meanwhile."""
        key = key_of(claim)
        newest = self._books.claim(key) or claim
        for _ in range(WRITES_MAX):
            if uid_of(newest) != uid_of(claim) or is_deleting(newest):
                raise NotFoundError(f"claim {key} got deleted in the meantime")
            if is_reserved_for(pod, newest):
                return newest
            try:
                return await self._attempt(newest, granted, pod)
            except ConflictError:
                newest = await self._client.get(RESOURCECLAIMS, key.name, key.namespace)
        raise ServiceUnavailableError(f"claim {key}: too many conflicts")

    async def _attempt(self, claim: Obj, granted: Mapping[str, Any] | None, pod: Obj) -> Obj:
        status = dict(claim.get("status") or {})
        if granted is not None:
            if is_allocated(claim):
                raise ServiceUnavailableError(
                    f"claim {key_of(claim)} was allocated elsewhere in the meantime"
                )
            finalizers = claim["metadata"].get("finalizers") or ()
            if FINALIZER not in finalizers:
                held = evolve(claim, "metadata.finalizers", [*finalizers, FINALIZER])
                claim = await self._client.update(RESOURCECLAIMS, held)
            now = times.now_string(self._clock)
            status["allocation"] = {**granted, "allocationTimestamp": now}
        elif not is_allocated(claim):
            raise ServiceUnavailableError(
                f"claim {key_of(claim)} lost its allocation in the meantime"
            )
        status["reservedFor"] = [*users_of(claim), user_entry(pod)]
        return await self._update(claim, status)


_GRANTS: Final = ("allocation", "reservedFor", "devices")
"""What a claim's status holds of its devices."""


def _concerns(pod: PodInfo, event: ClusterEvent) -> bool:
    """Tell whether a claim is the pod's, or gives devices free."""
    old, new = event.old, event.new
    if old is not None and is_allocated(old.obj) and (new is None or not is_allocated(new.obj)):
        return True
    item = new or old
    if item is None or item.key.namespace != pod.key.namespace:
        return False
    owner = controller_of(item.obj)
    mine = owner is not None and owner.get("uid") == pod.uid
    return mine or item.key.name in names_of(pod.obj)


def _is_itself(pod: PodInfo, event: ClusterEvent) -> bool:
    return event.new is not None and event.new.uid == pod.uid
