"""Hints that keep traffic in its zone, as many for each zone as its nodes have of all CPUs.

A service asks for it by an annotation. Each endpoint is first hinted at its own zone; zones with
more endpoints than their part then give some to those with fewer. Where that would overload a zone
there are no hints at all, and an event says why. The arithmetic is upstream's.
"""

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import NamedTuple, TypeVar

from minikube_py.api import quantity
from minikube_py.api.object import Obj, annotations_of, evolve, get, has_condition, labels_of
from minikube_py.client.actions import Emit

K = TypeVar("K")
ZONE = "topology.kubernetes.io/zone"
MODE = "service.kubernetes.io/topology-mode"
OLD_MODE = "service.kubernetes.io/topology-aware-hints"
EXCLUDED = frozenset({"node-role.kubernetes.io/control-plane", "node-role.kubernetes.io/master"})
OVERLOAD = 0.2
"""A zone may have this part more traffic for each endpoint than it should."""
ENABLED = "Topology Aware Hints has been enabled"
NO_ZONE = "One or more endpoints do not have a zone specified"
NO_INFO = (
    "Insufficient Node information: allocatable CPU or zone not specified on one or more nodes"
)
ONE_ZONE = "Nodes only ready in one zone"
TOO_FEW = "Insufficient number of endpoints"
OVERLOADED = (
    "Unable to allocate minimum required endpoints to each zone without exceeding overload "
    "threshold"
)


class Zones(NamedTuple):
    """What part of all CPUs each zone has; nothing where a node does not say."""

    shares: Mapping[str, float]
    known: bool = True


class Hinted(NamedTuple):
    """For which zone each endpoint is, by its key; no hints where `problem` says why."""

    zones: Mapping[str, str]
    problem: str = ""


def is_asked_for(service: Obj) -> bool:
    """Tell whether a service wants such hints."""
    notes = annotations_of(service)
    return notes.get(OLD_MODE, notes.get(MODE, "")) in ("Auto", "auto")


def zones_of(nodes: Iterable[Obj]) -> Zones:
    """Return the shares of the zones whose nodes are ready; control planes do not count."""
    cpus: Counter[str] = Counter()
    for node in nodes:
        if EXCLUDED & labels_of(node).keys() or not has_condition(node, "Ready"):
            continue
        zone, text = labels_of(node).get(ZONE, ""), get(node, "status.allocatable.cpu", "0")
        cpu = quantity.parse(str(text)).milli_value()
        if not zone or not cpu:
            return Zones({}, known=False)
        cpus[zone] += cpu
    total = sum(cpus.values())
    return Zones({zone: cpu / total for zone, cpu in cpus.items()})


class Part(NamedTuple):
    """How many endpoints a zone should have."""

    least: int
    wanted: float


def parts_of(zones: Zones, count: int) -> tuple[dict[str, Part], str]:
    """Return how many of the endpoints each zone should have, or why that cannot be."""
    shares = zones.shares
    if not zones.known:
        return {}, NO_INFO
    if len(shares) < 2:
        return {}, ONE_ZONE
    numbers = f" ({count} endpoints, {len(shares)} zones)"
    if len(shares) > count:
        return {}, TOO_FEW + numbers
    parts = {}
    for zone, share in sorted(shares.items()):
        wanted = share * count
        least = math.ceil(wanted / (1 + OVERLOAD))
        parts[zone] = Part(least, max(wanted, least))
    if sum(part.least for part in parts.values()) > count:
        return {}, OVERLOADED + numbers
    return parts, ""


def hints(endpoints: Mapping[str, str], zones: Zones) -> Hinted:
    """Return for which zone each ready endpoint is; `endpoints` are their zones by key."""
    parts, problem = parts_of(zones, len(endpoints))
    if not problem and not all(endpoints.values()):
        problem = NO_ZONE
    if problem:
        return Hinted({}, problem)
    given = dict(endpoints)
    giving, receiving = moves(parts, Counter(endpoints.values()))
    takers = [zone for zone in sorted(receiving) for _ in range(receiving[zone])]
    for key in sorted(given):
        if takers and giving.get(given[key], 0) > 0:
            giving[given[key]] -= 1
            given[key] = takers.pop(0)
    return Hinted(given)


def moves(
    parts: Mapping[str, Part], there: Mapping[str, int]
) -> tuple[dict[str, int], dict[str, int]]:
    """Return how many endpoints each zone gives away, and how many each gets."""
    surplus = {zone: there.get(zone, 0) - part.wanted for zone, part in parts.items()}
    giving: Counter[str] = Counter()
    receiving: Counter[str] = Counter()
    while surplus:
        giver = max(sorted(surplus), key=lambda zone: surplus[zone])
        taker = min(sorted(surplus), key=lambda zone: surplus[zone])
        give, take = surplus[giver], -surplus[taker]
        if give < 0.5 or take < 0.5 or (give < 1 and take < 1):
            break
        giving[giver] += 1
        receiving[taker] += 1
        surplus[giver] -= 1
        surplus[taker] += 1
    return dict(giving), dict(receiving)


def with_hints(groups: Mapping[K, Mapping[str, Obj]], zones: Zones) -> dict[K, dict[str, Obj]]:
    """Return the endpoints with their hints; those that are not ready have none."""
    chosen = hints(ready_zones(groups.values()), zones).zones
    return {
        name: {
            key: evolve(one, "hints", {"forZones": [{"name": chosen[key]}]})
            if key in chosen
            else one
            for key, one in group.items()
        }
        for name, group in groups.items()
    }


def told(service: Obj, family: str, problem: str) -> Emit:
    """Return the event that says whether there are hints."""
    text = f"{problem or ENABLED}, addressType: {family}"
    if problem:
        return Emit(service, "Warning", "TopologyAwareHintsDisabled", text)
    return Emit(service, "Normal", "TopologyAwareHintsEnabled", text)


def ready_zones(groups: Iterable[Mapping[str, Obj]]) -> dict[str, str]:
    """Return the zones of the endpoints that are ready, by key; "" where one has none."""
    return {
        key: endpoint.get("zone") or ""
        for group in groups
        for key, endpoint in group.items()
        if endpoint["conditions"]["ready"]
    }
