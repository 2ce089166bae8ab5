"""Finds devices for all claims of a pod on one node: the first match, in the order of the pools.

The search takes one device after the other and comes back where it goes no further, so that it
finds a match where there is one. Devices of one request are taken in the order of the pools, since
it is all the same which of them is the first. A search that comes back too often is given up.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from minikube_py.api import quantity
from minikube_py.api.object import Obj, get
from minikube_py.api.quantity import Quantity
from minikube_py.api.resource_k8s.allocations import RESULTS_MAX
from minikube_py.server.scheduler.devices.capacity import Amounts, consumed, fits
from minikube_py.server.scheduler.devices.constraints import Constraint
from minikube_py.server.scheduler.devices.inventory import Device, DeviceId, Inventory, Pool
from minikube_py.server.scheduler.devices.wishes import (
    AllocationError,
    Offer,
    Plan,
    Wish,
    check_size,
)

STEPS_MAX: Final = 1500
"""Devices that are tried for one pod on one node: 20 ms, and no other decision waits for longer.

Upstream gives up after ten seconds.
"""
GIVEN_UP: Final = "filter operation aborted: too many combinations of devices were tried"


class Choice(NamedTuple):
    """A device that was chosen for a wish."""

    wish: Wish
    device: Device
    amounts: Amounts | None
    """What it takes of a shared device; None where it takes the whole."""


@dataclass(frozen=True)
class Taken:
    """What others have."""

    whole: frozenset[DeviceId] = frozenset()
    shares: Mapping[DeviceId, Sequence[Amounts]] = field(default_factory=dict)


Found = Sequence[Sequence[Choice]]
"""For each claim the devices that it gets."""


def search(
    plans: Sequence[Plan],
    inventory: Inventory,
    taken: Taken,
    node: str,
    labels: Mapping[str, str],
) -> Found | None:
    """Return devices for all claims; None where there are none.

    Raises:
        AllocationError: that cannot be told, or a claim asks for what nobody can give.

    """
    return _Search(plans, taken, inventory.at(node, labels)).run()


class _Search:
    """One search: what is chosen so far, and what it takes of what is shared."""

    def __init__(self, plans: Sequence[Plan], taken: Taken, offer: Offer) -> None:
        self._plans = plans
        self._taken = taken
        self._offer = offer
        self._steps = 0
        self._chosen: list[list[Choice]] = [[] for _ in plans]
        self._constraints = [
            [Constraint(one) for one in get(plan.claim, "spec.devices.constraints") or ()]
            for plan in plans
        ]
        self._listed: dict[Wish, list[tuple[Pool, Device]]] = {}
        """Devices that come into question, as far as they have been looked for."""
        self._more: dict[Wish, Iterator[tuple[Pool, Device]]] = {}
        self._counters = _Counters(taken)

    def run(self) -> Found | None:
        for plan in self._plans:
            sizes = [[self._count(wish) for wish in wishes] for wishes in plan.requests]
            check_size(plan, sizes)
        return self._chosen if self._claim(0) else None

    def _count(self, wish: Wish) -> int:
        return len(self._everything(wish)) if wish.wants_all else int(wish.spec["count"])

    def _everything(self, wish: Wish) -> Sequence[tuple[Pool, Device]]:
        """Return all devices that a wish for all means, whoever has them."""
        listed = self._listed.get(wish)
        if listed is None:
            listed = self._listed[wish] = list(wish.everything(self._offer))
        return listed

    def _at(self, wish: Wish, place: int) -> tuple[Pool, Device] | None:
        """Return a device that comes into question; no more are looked at than are needed."""
        listed = self._listed.setdefault(wish, [])
        if place >= len(listed) and not wish.wants_all:
            more = self._more.get(wish)
            if more is None:
                more = self._more[wish] = self._selected(wish)
            if (found := next(more, None)) is not None:
                listed.append(found)
        return listed[place] if place < len(listed) else None

    def _selected(self, wish: Wish) -> Iterator[tuple[Pool, Device]]:
        for pool, devices in self._offer:
            if pool.incomplete or pool.invalid:
                continue
            for device in devices:
                free = wish.is_admin or device.is_shared or device.id not in self._taken.whole
                if free and wish.selects(device):
                    yield pool, device

    def _claim(self, number: int) -> bool:
        return number == len(self._plans) or self._request(number, 0)

    def _request(self, number: int, request: int) -> bool:
        requests = self._plans[number].requests
        if request == len(requests):
            return self._claim(number + 1)
        for wish in requests[request]:
            count = self._count(wish)
            if wish.wants_all and not count:
                continue
            if len(self._chosen[number]) + count > RESULTS_MAX:
                continue
            if self._device(number, request, wish, (count, 0)):
                return True
        return False

    def _device(self, number: int, request: int, wish: Wish, left: tuple[int, int]) -> bool:
        """Choose so many more devices, from a place in the list on."""
        count, start = left
        if not count:
            return self._request(number, request + 1)
        place = start
        while (found := self._at(wish, place)) is not None:
            self._steps += 1
            if self._steps > STEPS_MAX:
                raise AllocationError(GIVEN_UP)
            pool, device = found
            place += 1
            choice = self._take(number, wish, pool, device)
            if choice is not None:
                if self._device(number, request, wish, (count - 1, place)):
                    return True
                self._give_back(number, pool, choice)
            if wish.wants_all:
                break  # none may be left out
        return False

    def _take(self, number: int, wish: Wish, pool: Pool, device: Device) -> Choice | None:
        """Choose a device where it is free, borne and fits to the others."""
        amounts = consumed(device, wish.spec)
        if amounts is None or not self._is_free(number, wish, device, amounts):
            return None
        if not wish.bears(device) or not self._counters.take(pool, device):
            return None
        constraints = self._constraints[number]
        for index, constraint in enumerate(constraints):
            if constraint.add(wish.names, device):
                continue
            for earlier in reversed(constraints[:index]):
                earlier.remove(wish.names)
            self._counters.give_back(pool, device)
            if wish.wants_all:
                raise AllocationError(
                    f"{wish.place}: cannot add device {device.id} because a claim constraint "
                    "would not be satisfied"
                )
            return None
        choice = Choice(wish, device, amounts if device.is_shared else None)
        self._chosen[number].append(choice)
        return choice

    def _is_free(self, number: int, wish: Wish, device: Device, amounts: Amounts) -> bool:
        if wish.is_admin:
            return all(one.device is not device for one in self._chosen[number])
        mine = [one for held in self._chosen for one in held if one.device is device]
        if not device.is_shared:
            return not mine and device.id not in self._taken.whole
        others = self._taken.shares.get(device.id, ())
        return fits(device, amounts, [*others, *(one.amounts or {} for one in mine)])

    def _give_back(self, number: int, pool: Pool, choice: Choice) -> None:
        self._chosen[number].pop()
        for constraint in reversed(self._constraints[number]):
            constraint.remove(choice.wish.names)
        self._counters.give_back(pool, choice.device)


class _Counters:
    """What devices of a pool draw on together, such as the memory of a card that is cut up."""

    def __init__(self, taken: Taken) -> None:
        self._taken = taken
        self._left: dict[Pool, dict[tuple[str, str], Quantity]] = {}

    def take(self, pool: Pool, device: Device) -> bool:
        """Draw what a device needs, where that is left."""
        needs = dict(_needs(device))
        if not needs:
            return True
        left = self._of(pool)
        if any(left.get(name, quantity.ZERO) < amount for name, amount in needs.items()):
            return False
        for name, amount in needs.items():
            left[name] = left[name] - amount
        return True

    def give_back(self, pool: Pool, device: Device) -> None:
        for name, amount in _needs(device):
            left = self._of(pool)
            left[name] = left[name] + amount

    def _of(self, pool: Pool) -> dict[tuple[str, str], Quantity]:
        left = self._left.get(pool)
        if left is None:
            left = self._left[pool] = {
                (group, name): quantity.parse(counter["value"])
                for group, counters in pool.counters.items()
                for name, counter in counters.items()
            }
            for device in pool.devices:
                if device.id in self._taken.whole or device.id in self._taken.shares:
                    for name, amount in _needs(device):
                        if name in left:
                            left[name] = left[name] - amount
        return left


def _needs(device: Device) -> Iterator[tuple[tuple[str, str], Quantity]]:
    for one in device.obj.get("consumesCounters") or ():
        counters: Mapping[str, Obj] = one.get("counters") or {}
        for name, counter in counters.items():
            yield (one["counterSet"], name), quantity.parse(counter["value"])
