"""Which pods are of one kind where nobody says so: those of the same services and controller.

Upstream's rule (component helper DefaultSelector): all labels that the pod's services select by,
and the selector of its ReplicationController, ReplicaSet or StatefulSet.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from minikube_py.api import selectors
from minikube_py.api.apps import REPLICASETS, STATEFULSETS
from minikube_py.api.core import REPLICATIONCONTROLLERS, SERVICES
from minikube_py.api.item import Item
from minikube_py.api.object import Key, Obj, controller_of, get
from minikube_py.api.selectors import LabelSelector
from minikube_py.server.scheduler.framework import Handle
from minikube_py.server.scheduler.pod_info import PodInfo

KNOWN_MAX = 4096
"""Selectors that are held with the revision they are of; beyond that all are read anew."""


class DefaultSelector:
    """Finds the selector of a pod."""

    def __init__(self, handle: Handle) -> None:
        self._services = handle.lister(SERVICES)
        self._owners = {
            ("v1", kind.kind) if not kind.group else (kind.api_version, kind.kind): handle.lister(
                kind
            )
            for kind in (REPLICATIONCONTROLLERS, REPLICASETS, STATEFULSETS)
        }
        self._known: dict[tuple[str, Key], tuple[int, LabelSelector]] = {}

    def of(self, pod: PodInfo) -> LabelSelector:
        """Return the selector; without requirements where nothing is known of the pod's kind."""
        found = tuple(self._requirements(pod))
        return LabelSelector(tuple(dict.fromkeys(found)))

    def _requirements(self, pod: PodInfo) -> Iterator[selectors.Requirement]:
        for item in self._services.items(pod.namespace):
            selector = self._read("", item)
            if selector.requirements and selector.matches(pod.labels):
                yield from selector.requirements
        owner = self._owner(pod)
        if owner is not None:
            yield from owner.requirements

    def _owner(self, pod: PodInfo) -> LabelSelector | None:
        """Return the selector of the pod's controller, of the kinds that count."""
        if not pod.owner:
            return None
        reference = controller_of(pod.obj) or {}
        kind = reference.get("kind", "")
        lister = self._owners.get((reference.get("apiVersion", ""), kind))
        if lister is None:
            return None
        item = lister.item(Key(pod.namespace, reference.get("name", "")))
        return None if item is None else self._read(kind, item)

    def _read(self, kind: str, item: Item) -> LabelSelector:
        known = self._known.get((kind, item.key))
        if known is not None and known[0] == item.revision:
            return known[1]
        if len(self._known) >= KNOWN_MAX:
            self._known.clear()
        selector = _selector(item.obj)
        self._known[kind, item.key] = (item.revision, selector)
        return selector


def _selector(obj: Obj) -> LabelSelector:
    """Return the selector of a service or a controller; one that is absent has no requirements."""
    given: Mapping[str, Any] = get(obj, "spec.selector", {})
    if "matchLabels" in given or "matchExpressions" in given:
        return selectors.from_object(given)
    return selectors.from_labels(given)
