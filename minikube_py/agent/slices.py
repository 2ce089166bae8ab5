"""Endpoint slices by the service that they belong to: an index that proxy and DNS share."""

from collections.abc import Iterable, Sequence

from minikube_py.api.item import Item
from minikube_py.api.object import Key, Obj
from minikube_py.client.informer import Informer

SERVICE_LABEL = "kubernetes.io/service-name"
INDEX = "service"


def add_service_index(slices: Informer) -> None:
    """Make `slices_of` work; may be repeated."""
    slices.add_index(INDEX, _service_of)


def slices_of(slices: Informer, service: Key) -> Sequence[Obj]:
    """Return the endpoint slices of a service."""
    return [item.obj for item in slices.indexed(INDEX, str(service))]


def service_key(item: Item) -> Key | None:
    """Return the service that an endpoint slice belongs to, or None."""
    name = item.labels.get(SERVICE_LABEL)
    return Key(item.key.namespace, name) if name else None


def _service_of(item: Item) -> Iterable[str]:
    key = service_key(item)
    return (str(key),) if key is not None else ()
