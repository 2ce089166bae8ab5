"""The devices that drivers offer, by pool: of each pool only the newest generation counts.

Slices come one by one, so that a pool may be incomplete for a while; nothing is taken from it then.
A slice is read once for each version of it, and a pool is put together anew when one of its slices
has changed. A device remembers which selectors it answers to.
"""

import operator
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final, NamedTuple

from minikube_py.api.cel import CelCostError, CelEvaluationError
from minikube_py.api.item import Item
from minikube_py.api.node_selectors import NodeTest, compile_selector
from minikube_py.api.object import Obj
from minikube_py.api.resource_k8s.device_selectors import (
    DeviceSelectorError,
    compiled,
    device_value,
)

ANSWERS_MAX: Final = 100
"""Answers to selectors that a device remembers."""


class DeviceId(NamedTuple):
    """What tells one device from all others."""

    driver: str
    pool: str
    device: str

    def __str__(self) -> str:
        return "/".join(self)


class SelectorError(Exception):
    """A selector cannot tell whether it selects a device; the text is upstream's."""


@dataclass(frozen=True, eq=False)
class Device:
    """A device of a slice."""

    id: DeviceId
    obj: Obj
    """What the slice says of it."""
    place: Obj
    """Where it can be used: the slice's spec, or the device where each has its own place."""
    reach: NodeTest
    """(name, labels) -> whether it can be used there."""
    _answers: dict[str, bool] = field(default_factory=dict)

    @cached_property
    def value(self) -> Mapping[str, Any]:
        """The device as expressions see it."""
        return device_value(self.obj, self.id.driver)

    @property
    def is_shared(self) -> bool:
        """Whether several claims may have it at a time, each some of its capacity."""
        return bool(self.obj.get("allowMultipleAllocations"))

    def answers(self, expression: str) -> bool:
        """Tell whether a selector selects the device.

        Raises:
            SelectorError: that cannot be told.

        """
        if (known := self._answers.get(expression)) is not None:
            return known
        try:
            answer = compiled(expression).matches(self.value)
        except DeviceSelectorError as error:
            raise SelectorError(f"CEL compile error: {error}") from None
        except (CelEvaluationError, CelCostError) as error:
            raise SelectorError(f"CEL runtime error: {error}") from None
        if len(self._answers) < ANSWERS_MAX:
            self._answers[expression] = answer
        return answer

    def attribute(self, name: str) -> Obj | None:
        """Return an attribute by its full name; those of the driver's domain may stand without."""
        known: Mapping[str, Obj] = self.obj.get("attributes") or {}
        domain, _, own = name.partition("/")
        found = known.get(name)
        return known.get(own) if found is None and domain == self.id.driver else found


class Piece(NamedTuple):
    """What a slice says of its part of a pool."""

    driver: str
    pool: str
    generation: int
    slices: int
    """How many of them the pool has."""
    name: str
    devices: Sequence[Device]
    counters: Mapping[str, Obj]

    @property
    def key(self) -> tuple[str, str]:
        """What tells its pool from all others."""
        return self.driver, self.pool


@dataclass(frozen=True, eq=False)
class Pool:
    """The newest generation of a pool."""

    driver: str
    name: str
    devices: Sequence[Device]
    counters: Mapping[str, Obj]
    """By counter set: what its devices share."""
    incomplete: bool
    invalid: bool
    """Whether two of its devices have one name."""
    pieces: Sequence[Piece]

    def __str__(self) -> str:
        return f"{self.driver}/{self.name}"


Place = tuple[int, int, Device]
"""The number of a pool, the place of a device in it, and the device."""


@dataclass(eq=False)
class Inventory:
    """All pools, in the order of their names."""

    pools: Sequence[Pool]

    @classmethod
    def of(cls, pieces: Iterable[Piece], before: "Inventory | None" = None) -> "Inventory":
        """Return the inventory of some slices; pools that are as before are taken from there."""
        newest: dict[tuple[str, str], list[Piece]] = {}
        for piece in pieces:
            known = newest.setdefault(piece.key, [])
            if known and piece.generation > known[0].generation:
                known.clear()
            if not known or piece.generation == known[0].generation:
                known.append(piece)
        had = (
            {(pool.driver, pool.name): pool for pool in before.pools} if before is not None else {}
        )
        return cls([_pool(newest[key], had.get(key)) for key in sorted(newest)])

    @cached_property
    def _places(self) -> tuple[Mapping[str, Sequence[Place]], Sequence[Place]]:
        """The devices that one node has to itself, by its name, and all others."""
        bound: dict[str, list[Place]] = {}
        others: list[Place] = []
        for number, pool in enumerate(self.pools):
            for order, device in enumerate(pool.devices):
                node = device.place.get("nodeName")
                listed = bound.setdefault(node, []) if node else others
                listed.append((number, order, device))
        return bound, others

    def at(self, node: str, labels: Mapping[str, str]) -> Sequence[tuple[Pool, Sequence[Device]]]:
        """Return the pools that have devices for a node, with these devices."""
        bound, others = self._places
        there = list(bound.get(node, ()))
        there += (place for place in others if place[2].reach(node, labels))
        there.sort(key=lambda place: place[:2])
        found: dict[int, list[Device]] = {}
        for number, _, device in there:
            found.setdefault(number, []).append(device)
        return [(self.pools[number], devices) for number, devices in found.items()]


def read(item: Item) -> Piece:
    """Return what a ResourceSlice says, read once for each version of it."""
    return item.derived(_read)


def _read(item: Item) -> Piece:
    spec = item.obj["spec"]
    driver, pool = spec["driver"], spec["pool"]
    counters = {one["name"]: one.get("counters") or {} for one in spec.get("sharedCounters") or ()}
    return Piece(
        driver,
        pool["name"],
        int(pool.get("generation") or 0),
        pool.get("resourceSliceCount") or 0,
        item.key.name,
        tuple(_devices(driver, pool["name"], spec)),
        counters,
    )


def _pool(pieces: list[Piece], before: Pool | None) -> Pool:
    pieces.sort(key=lambda piece: piece.name)
    if before is not None and _are_same(pieces, before.pieces):
        return before
    devices = [device for piece in pieces for device in piece.devices]
    counters = {name: each for piece in pieces for name, each in piece.counters.items()}
    names = {device.id.device for device in devices}
    return Pool(
        *pieces[0].key,
        devices,
        counters,
        incomplete=len(pieces) != pieces[0].slices,
        invalid=len(names) != len(devices),
        pieces=pieces,
    )


def _are_same(left: Sequence[Piece], right: Sequence[Piece]) -> bool:
    return len(left) == len(right) and all(map(operator.is_, left, right))


def _devices(driver: str, pool: str, spec: Obj) -> Iterable[Device]:
    whole = None if spec.get("perDeviceNodeSelection") else _reach(spec)
    for obj in spec.get("devices") or ():
        name = DeviceId(driver, pool, obj["name"])
        if whole is not None:
            yield Device(name, obj, spec, whole)
        else:
            yield Device(name, obj, obj, _reach(obj))


def _reach(place: Obj) -> NodeTest:
    """Return the test for nodes from which devices can be used."""
    if place.get("nodeName"):
        wanted = place["nodeName"]
        return lambda name, _: bool(name == wanted)
    if place.get("allNodes"):
        return lambda _, __: True
    if place.get("nodeSelector") is not None:
        return compile_selector(place["nodeSelector"])
    return lambda _, __: False
