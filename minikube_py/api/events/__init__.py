"""The kinds of events.k8s.io, one file each; `RESOURCES` is all of them."""

from minikube_py.api.events.event import EVENTS_V1
from minikube_py.api.resource import Resource

RESOURCES: tuple[Resource, ...] = (EVENTS_V1,)

__all__ = [
    "EVENTS_V1",
    "RESOURCES",
]
