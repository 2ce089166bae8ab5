"""How fast nodes may be emptied: slower, or not at all, where many of a zone fail together.

When most nodes of a zone are silent, the network between us and them is the likelier cause, and
when all nodes are, it is certainly ours: then nobody is moved. The numbers are upstream's
defaults (`--node-eviction-rate` and what belongs to it).
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import NamedTuple

REGION, ZONE = "topology.kubernetes.io/region", "topology.kubernetes.io/zone"
OLD_REGION = "failure-domain.beta.kubernetes.io/region"
OLD_ZONE = "failure-domain.beta.kubernetes.io/zone"


class State(Enum):
    """How a zone does."""

    NORMAL = "Normal"
    PARTIAL = "PartialDisruption"
    FULL = "FullDisruption"


@dataclass(frozen=True)
class Rates:
    """How many nodes a second are given up in each zone."""

    usual: float = 0.1
    slow: float = 0.01
    """In a large zone that is partly disrupted; a small one is left alone then."""
    threshold: float = 0.55
    """The part of a zone's nodes, and more than two of them, that makes it disrupted."""
    large: int = 50
    """A zone with more nodes is large."""


class Seen(NamedTuple):
    """What counts of a node."""

    zone: str
    ready: bool


@dataclass
class Zone:
    """The nodes of one zone, and when the next one may be given up."""

    ready: int = 0
    silent: int = 0
    state: State | None = None
    """As it was when last asked; None before that."""
    last: float = float("-inf")
    slots: dict[str, float] = field(default_factory=dict)
    """When each node that waits may be given up."""

    @property
    def size(self) -> int:
        """How many nodes there are."""
        return self.ready + self.silent


def zone_of(labels: Mapping[str, str]) -> str:
    """Return the key of a node's zone, "" where it has none."""
    region = labels.get(REGION) or labels.get(OLD_REGION) or ""
    zone = labels.get(ZONE) or labels.get(OLD_ZONE) or ""
    return f"{region}:\x00:{zone}" if region or zone else ""


def state_of(zone: Zone, rates: Rates) -> State:
    """Tell how a zone does."""
    if zone.silent and not zone.ready:
        return State.FULL
    if zone.silent > 2 and zone.silent / zone.size >= rates.threshold:
        return State.PARTIAL
    return State.NORMAL


class Census:
    """All nodes by zone, kept up to date change by change."""

    def __init__(self, rates: Rates | None = None) -> None:
        self.rates = rates or Rates()
        self.nodes: dict[str, Seen] = {}
        self.zones: dict[str, Zone] = {}

    @property
    def all_disrupted(self) -> bool:
        """Whether no node at all is ready, though there are some."""
        return bool(self.zones) and all(
            zone.silent and not zone.ready for zone in self.zones.values()
        )

    def count(self, name: str, seen: Seen | None) -> Iterable[str]:
        """Note what a node is like now, None for gone; return the nodes whose lot has changed."""
        before, was_disrupted = self.nodes.get(name), self.all_disrupted
        if seen == before:
            return ()
        if before is not None and (seen is None or seen.zone != before.zone):
            self.forget(name)
        for one, number in ((before, -1), (seen, 1)):
            if one is not None:
                self._add(one, number)
        if seen is None:
            del self.nodes[name]
        else:
            self.nodes[name] = seen
        touched = {one.zone for one in (before, seen) if one is not None}
        changed = {zone for zone in touched if self._settle(zone)}
        if was_disrupted != self.all_disrupted:
            changed = set(self.zones)
        for zone in changed & self.zones.keys():
            self.zones[zone].slots.clear()
        return [other for other, one in self.nodes.items() if one.zone in changed]

    def _add(self, seen: Seen, number: int) -> None:
        zone = self.zones.setdefault(seen.zone, Zone())
        if seen.ready:
            zone.ready += number
        else:
            zone.silent += number

    def _settle(self, name: str) -> bool:
        """Tell whether the state of a zone has changed; forget it with its last node."""
        zone = self.zones[name]
        if not zone.size:
            del self.zones[name]
            return False
        before, zone.state = zone.state, state_of(zone, self.rates)
        return before is not None and before is not zone.state

    def rate(self, name: str) -> float:
        """Return how many nodes a second of a zone may be given up."""
        zone = self.zones[name]
        if self.all_disrupted:
            return 0.0
        if state_of(zone, self.rates) is not State.PARTIAL:
            return self.rates.usual
        return self.rates.slow if zone.size > self.rates.large else 0.0

    def wait(self, name: str, now: float) -> float | None:
        """Return in how many seconds a node may be given up; None for not as things are.

        Nodes of a zone come one after the other, in the order in which they asked.
        """
        seen = self.nodes.get(name)
        rate = self.rate(seen.zone) if seen is not None else 0.0
        if seen is None or not rate:
            return None
        zone = self.zones[seen.zone]
        if name not in zone.slots:
            zone.last = zone.slots[name] = max(now, zone.last + 1.0 / rate)
        return max(zone.slots[name] - now, 0.0)

    def forget(self, name: str) -> None:
        """A node need not be given up any more."""
        seen = self.nodes.get(name)
        if seen is not None:
            self.zones[seen.zone].slots.pop(name, None)
