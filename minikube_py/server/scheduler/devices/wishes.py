"""What claims ask for, put together from their requests and from the classes these name.

A request is a list of alternatives, most often of one; the first one that can be met counts. Which
devices come into question depends on the node: a wish for all devices means all that are there.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final

from minikube_py.api.object import Obj, get
from minikube_py.api.resource_k8s.allocations import RESULTS_MAX
from minikube_py.api.resource_k8s.pod_claims import tolerates
from minikube_py.api.resource_k8s.requests import ALL
from minikube_py.server.scheduler.devices.inventory import (
    Device,
    Pool,
    SelectorError,
)

PREVENTING: Final = ("NoSchedule", "NoExecute")
Offer = Sequence[tuple[Pool, Sequence[Device]]]
"""The pools that a node can use, and which devices of each."""


class AllocationError(Exception):
    """Devices cannot be chosen for a claim, for more than want of them; the text is upstream's."""


@dataclass(frozen=True, eq=False)
class Wish:
    """One alternative of one request."""

    claim: Obj
    request: Obj
    """The entry of `spec.devices.requests`."""
    spec: Obj
    """What is asked for: `exactly`, or one of `firstAvailable`."""
    device_class: Obj

    @property
    def name(self) -> str:
        """The name that results bear: of an alternative with that of its request before it."""
        base = str(self.request["name"])
        return base if self.spec is self.request.get("exactly") else f"{base}/{self.spec['name']}"

    @cached_property
    def names(self) -> Sequence[str]:
        """All names by which constraints and configurations may mean it."""
        return tuple(dict.fromkeys((str(self.request["name"]), self.name)))

    @property
    def wants_all(self) -> bool:
        """Whether it wants all devices that there are."""
        return bool(self.spec.get("allocationMode") == ALL)

    @property
    def is_admin(self) -> bool:
        """Whether it may have devices that others have."""
        return bool(self.spec.get("adminAccess"))

    @property
    def place(self) -> str:
        """The request as messages name it."""
        return f"claim {claim_text(self.claim)}, request {self.name.rpartition('/')[2]}"

    @cached_property
    def _selectors(self) -> Sequence[tuple[str, int, str]]:
        """The expressions that have to hold, with what messages say of whose they are."""
        of_class = f"class {self.device_class['metadata']['name']}"
        of_claim = f"claim {claim_text(self.claim)}"
        return [
            (owner, index, selector["cel"]["expression"])
            for owner, listed in (
                (of_class, get(self.device_class, "spec.selectors") or ()),
                (of_claim, self.spec.get("selectors") or ()),
            )
            for index, selector in enumerate(listed)
        ]

    def selects(self, device: Device) -> bool:
        """Tell whether a device is what is asked for.

        Raises:
            AllocationError: a selector cannot tell.

        """
        for owner, index, expression in self._selectors:
            try:
                if not device.answers(expression):
                    return False
            except SelectorError as error:
                raise AllocationError(f"{owner}: selector #{index}: {error}") from None
        return True

    def bears(self, device: Device) -> bool:
        """Tell whether the taints of a device are tolerated."""
        tolerations = self.spec.get("tolerations") or ()
        return all(
            any(tolerates(toleration, taint) for toleration in tolerations)
            for taint in device.obj.get("taints") or ()
            if taint.get("effect") in PREVENTING
        )

    def everything(self, offer: Offer) -> Sequence[tuple[Pool, Device]]:
        """Return all devices that are asked for.

        Raises:
            AllocationError: that cannot be told now.

        """
        found = []
        for pool, devices in offer:
            for trouble, state in (
                (pool.incomplete, "being updated"),
                (pool.invalid, "invalid"),
            ):
                if trouble:
                    raise AllocationError(
                        f"{self.place}: asks for all devices, but resource pool {pool} is "
                        f"currently {state}"
                    )
            found += [(pool, one) for one in devices if self.selects(one)]
        return found


@dataclass(frozen=True, eq=False)
class Plan:
    """A claim that has no devices yet."""

    claim: Obj
    requests: Sequence[Sequence[Wish]]
    """For each request its alternatives."""


def plan_of(claim: Obj, class_of: Callable[[str], Obj | None]) -> Plan:
    """Return what a claim asks for.

    Raises:
        AllocationError: it names a class that does not exist.

    """
    requests = get(claim, "spec.devices.requests") or ()
    return Plan(claim, [list(_wishes(claim, request, class_of)) for request in requests])


def _wishes(claim: Obj, request: Obj, class_of: Callable[[str], Obj | None]) -> Iterator[Wish]:
    exactly = request.get("exactly")
    for spec in (exactly,) if exactly is not None else request.get("firstAvailable") or ():
        name = spec["deviceClassName"]
        found = class_of(name)
        wish = Wish(claim, request, spec, found or {})
        if found is None:
            raise AllocationError(f"request {wish.name}: device class {name} does not exist")
        yield wish


def check_size(plan: Plan, sizes: Sequence[Sequence[int]]) -> None:
    """Refuse a claim that wants more devices than one may have, whichever alternatives count."""
    least = sum(min(alternatives, default=0) for alternatives in sizes)
    if least > RESULTS_MAX:
        raise AllocationError(
            f"claim {claim_text(plan.claim)}: number of requested devices {least} exceeds the "
            f"claim limit of {RESULTS_MAX}"
        )


def claim_text(claim: Obj) -> str:
    """Return a claim as messages name it."""
    return f"{claim['metadata']['namespace']}/{claim['metadata']['name']}"
