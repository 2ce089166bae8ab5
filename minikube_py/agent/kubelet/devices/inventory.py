"""The devices that plugins have told of, and the choice of some of them for a container. Pure."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from minikube_py.agent.kubelet.topology.errors import AdmissionError
from minikube_py.agent.kubelet.topology.hints import Hint, Nodes, mark_preferred, subsets

HEALTHY = "Healthy"


class Device(NamedTuple):
    """A device of a plugin."""

    is_healthy: bool
    nodes: Nodes = frozenset()
    """The NUMA nodes near it; empty where that is not known."""


Devices = Mapping[str, Device]
"""By id."""


@dataclass(frozen=True, kw_only=True)
class Request:
    """So many devices of a resource for a container, before any is chosen."""

    resource: str
    count: int
    reusable: frozenset[str] = frozenset()
    """Of init containers that have ended by then."""
    in_use: frozenset[str] = frozenset()
    nodes: Nodes | None = None
    """Where they should lie."""


@dataclass(frozen=True, kw_only=True)
class Choice:
    """Devices that are taken in any case, and those of which the plugin may prefer some."""

    resource: str
    count: int
    taken: tuple[str, ...]
    groups: Sequence[tuple[str, ...]] = field(default=())
    """What the rest is taken of, in this order."""

    @property
    def missing(self) -> int:
        """How many are still to be taken."""
        return self.count - len(self.taken)

    @property
    def available(self) -> list[str]:
        """What the rest may be taken of."""
        return [one for group in self.groups for one in group]

    def finish(self, preferred: Collection[str] = ()) -> tuple[str, ...]:
        """Take the rest: what the plugin prefers, then in the order of the groups."""
        available = self.available
        wanted = [one for one in available if one in preferred]
        others = [one for one in available if one not in preferred]
        return (*self.taken, *[*wanted, *others][: self.missing])


def parse(listed: Iterable[Mapping[str, Any]]) -> Devices:
    """Return the devices of a ListAndWatchResponse."""
    found = {}
    for one in listed:
        nodes = (one.get("topology") or {}).get("nodes") or ()
        where = frozenset(int(node.get("ID", 0)) for node in nodes)
        found[str(one.get("ID", ""))] = Device(one.get("health") == HEALTHY, where)
    return found


def healthy(devices: Devices) -> list[str]:
    """Return the devices that can be given, by name."""
    return sorted(name for name, device in devices.items() if device.is_healthy)


def check_held(resource: str, devices: Devices | None, held: Collection[str]) -> None:
    """See that a container may have what it has, and more; raises AdmissionError."""
    if devices is None:
        raise AdmissionError(f"cannot allocate unregistered device {resource}")
    able = healthy(devices)
    if not able:
        raise AdmissionError(
            f"no healthy devices present; cannot allocate unhealthy devices {resource}"
        )
    if not set(held) <= set(able):
        raise AdmissionError(
            "previously allocated devices are no longer healthy;"
            f" cannot allocate unhealthy devices {resource}"
        )


def choose(devices: Devices, request: Request) -> Choice:
    """Choose devices for a container; raises AdmissionError where there are too few.

    What init containers leave comes first; then what lies near, as the topology manager wants it.
    """
    able = healthy(devices)
    taken = tuple(one for one in able if one in request.reusable)[: request.count]
    resource, count = request.resource, request.count
    if len(taken) == count:
        return Choice(resource=resource, count=count, taken=taken)
    available = [one for one in able if one not in request.in_use and one not in taken]
    needed = count - len(taken)
    if len(available) < needed:
        raise AdmissionError(
            f"requested number of devices unavailable for {resource}."
            f" Requested: {needed}, Available: {len(available)}"
        )
    near, far, anywhere = _by_place(devices, available, request.nodes)
    if needed < len(near):
        return Choice(resource=resource, count=count, taken=taken, groups=(near,))
    taken += near[:needed]
    return Choice(resource=resource, count=count, taken=taken, groups=(far, anywhere))


def _by_place(
    devices: Devices, available: Sequence[str], nodes: Nodes | None
) -> tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]:
    if nodes is None:
        return (), (), tuple(available)
    near = tuple(one for one in available if devices[one].nodes & nodes)
    far = tuple(one for one in available if devices[one].nodes and one not in near)
    return near, far, tuple(one for one in available if not devices[one].nodes)


def hints(
    devices: Devices,
    usable: Collection[str],
    reusable: Collection[str],
    count: int,
    nodes: Sequence[int],
) -> list[Hint] | None:
    """Return the sets of NUMA nodes whose devices would do; None where devices lie nowhere."""
    if not any(device.nodes for device in devices.values()):
        return None
    smallest, found = len(nodes), []
    for some in subsets(nodes):
        if sum(1 for device in devices.values() if device.nodes & some) >= count:
            smallest = min(smallest, len(some))
        held = [devices[one].nodes for one in reusable if one in devices and devices[one].nodes]
        if any(not where & some for where in held):
            continue
        free = [one for one in usable if one not in reusable and devices[one].nodes & some]
        if len(held) + len(free) >= count:
            found.append(some)
    return mark_preferred(found, smallest)


def counts(devices: Devices) -> tuple[int, int]:
    """Return the number of all devices, and of those that can be given."""
    return len(devices), len(healthy(devices))


def unhealthy(devices: Devices) -> Devices:
    """Return the devices as they are while nobody answers for them."""
    return {name: Device(is_healthy=False, nodes=one.nodes) for name, one in devices.items()}


def by_node(devices: Devices, ids: Iterable[str]) -> Iterator[tuple[int, list[str]]]:
    """Yield the devices of each NUMA node, as a checkpoint lists them; -1 for nowhere."""
    found: dict[int, list[str]] = {}
    for name in sorted(ids):
        device = devices.get(name)
        for node in sorted(device.nodes) if device is not None and device.nodes else (-1,):
            found.setdefault(node, []).append(name)
    yield from sorted(found.items())
