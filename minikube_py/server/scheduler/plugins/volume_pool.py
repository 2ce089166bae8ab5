"""What one claim may have on which node: volumes that are there, and room for a new one.

What makes a volume suit a claim has nothing to do with nodes; it is found out once for each pod.
Volumes that say by host name where they are stand under that name, so that a node is asked about
few; of those that can be reached from everywhere only the first few can ever be chosen.
"""

from collections.abc import Collection, Iterable, Sequence
from typing import NamedTuple

from minikube_py.api.core.persistentvolume import class_of
from minikube_py.api.core.volume_matching import (
    NO_PROVISIONER,
    Facts,
    Rank,
    facts_of,
    reach_of,
    requested,
    suitability,
)
from minikube_py.api.item import Item
from minikube_py.api.node_selectors import NodeTest
from minikube_py.api.object import Key, Obj, get
from minikube_py.server.scheduler.node_info import NodeInfo
from minikube_py.server.scheduler.plugins.volume_facts import allows
from minikube_py.server.scheduler.plugins.volume_stores import VolumeStores

HOSTNAME = "kubernetes.io/hostname"


class Candidate(NamedTuple):
    """A volume that a claim may have."""

    facts: Facts
    test: NodeTest | None
    """For nodes from which it can be reached; None where from all."""
    hosts: frozenset[str]
    """The names of its hosts, none where it says otherwise where it is."""

    def is_for(self, node: NodeInfo, taken: Collection[str]) -> bool:
        """Tell whether the claim may have it on a node."""
        if self.facts.name in taken:
            return False
        return self.test is None or self.test(node.name, node.labels)


def candidate(volume: Item) -> Candidate:
    """Return what is asked of a volume, read once for each version of it."""
    return volume.derived(_candidate)


def _candidate(item: Item) -> Candidate:
    volume = item.obj
    return Candidate(facts_of(volume), reach_of(volume), _hosts_of(volume))


class Pool:
    """The candidates for one claim."""

    def __init__(
        self, claim: Obj, volumes: Iterable[Item], taken: Collection[str], wanted: int
    ) -> None:
        """Take the volumes that are taken already, and how many claims the pod has."""
        suits = suitability(claim)
        self._volumes: dict[str, Item] = {}
        suitable = []
        for item in volumes:
            one = candidate(item)
            if one.facts.name not in taken and suits(one.facts):
                self._volumes[one.facts.name] = item
                suitable.append(one)
        meant = [one for one in suitable if one.facts.claim is not None]
        self._here: dict[str, list[Candidate]] = {}
        """Those of one host or some, by its name."""
        self._elsewhere: list[Candidate] = []
        """Those that say in another way where they are."""
        self._everywhere: list[Candidate] = []
        for one in sorted(meant[:1] or suitable, key=_rank):
            self._place(one, wanted)

    def _place(self, one: Candidate, wanted: int) -> None:
        for host in one.hosts:
            self._here.setdefault(host, []).append(one)
        if one.test is None and len(self._everywhere) < wanted:
            self._everywhere.append(one)
        elif one.test is not None and not one.hosts:
            self._elsewhere.append(one)

    def choose(self, node: NodeInfo, taken: Collection[str]) -> Obj | None:
        """Return the volume that the claim gets on a node, None where there is none."""
        here = self._here.get(node.labels.get(HOSTNAME, ""), ())
        found = [
            first
            for part in (here, self._elsewhere, self._everywhere)
            if (first := _first(part, node, taken)) is not None
        ]
        return self._volumes[min(found, key=_rank).facts.name].obj if found else None


def _rank(one: Candidate) -> Rank:
    return one.facts.rank


def _first(part: Sequence[Candidate], node: NodeInfo, taken: Collection[str]) -> Candidate | None:
    return next((one for one in part if one.is_for(node, taken)), None)


def _hosts_of(volume: Obj) -> frozenset[str]:
    terms = get(volume, "spec.nodeAffinity.required.nodeSelectorTerms", ())
    if len(terms) != 1:
        return frozenset()
    for one in terms[0].get("matchExpressions") or ():
        if one["key"] == HOSTNAME and one["operator"] == "In":
            return frozenset(one["values"])
    return frozenset()


class Provisioning:
    """Where a new volume can be made for one claim."""

    def __init__(self, claim: Obj, stores: VolumeStores) -> None:
        self._stores = stores
        self._class = stores.class_of(claim)
        self._size = requested(claim).value()
        self._name = class_of(claim)
        driver = stores.drivers.get(Key("", get(self._class, "provisioner", "")))
        self._asks = bool(self._size and get(driver, "spec.storageCapacity"))
        """Whether the driver tells how much room it has; else it is taken to have enough."""

    def is_possible(self, node: NodeInfo) -> bool:
        """Tell whether somebody makes volumes near a node."""
        if self._class is None or self._class["provisioner"] in ("", NO_PROVISIONER):
            return False
        return allows(self._class, node.labels)

    def has_room(self, node: NodeInfo) -> bool:
        """Tell whether the volume is not too large for what there is near a node."""
        return not self._asks or self._stores.has_room(self._name, self._size, node.labels)
