"""What a Service means: which pods are behind it, on which ports, under which addresses.

Endpoints and endpoint slices are both derived from the answers here.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from minikube_py.api import selectors
from minikube_py.api.core import PODS, SERVICES
from minikube_py.api.item import Item
from minikube_py.api.object import Key, Obj, get
from minikube_py.client.controller import Context, KeysOf
from minikube_py.client.store import LABELS, label_values
from minikube_py.server.controllers.pod_facts import PodFacts, facts, facts_of

HEADLESS_LABEL = "service.kubernetes.io/headless"
SELECTORS = "selectors"
"""Name of the index that finds services by one label that they select."""


class Port(NamedTuple):
    """One port of an endpoint; equal for all pods that resolve it to the same number."""

    name: str
    number: int
    protocol: str
    app_protocol: str

    def document(self) -> dict[str, Any]:
        """Return the port as Endpoints and endpoint slices have it."""
        made = {"name": self.name, "port": self.number, "protocol": self.protocol}
        return {**made, "appProtocol": self.app_protocol} if self.app_protocol else made


def port_of(document: Obj) -> Port:
    """Return the port of an endpoint slice."""
    return Port(
        document.get("name") or "",
        document.get("port") or 0,
        document.get("protocol") or "TCP",
        document.get("appProtocol") or "",
    )


def selector_of(service: Obj) -> Mapping[str, str]:
    """Return the labels that the service's pods have; empty where it has no pods of its own."""
    if get(service, "spec.type") == "ExternalName":
        return {}
    return get(service, "spec.selector") or {}


def is_headless(service: Obj) -> bool:
    """Tell whether the service has no address of its own."""
    return bool(get(service, "spec.clusterIP") == "None")


def families_of(service: Obj) -> Sequence[str]:
    """Return the address families of the service, the first one first."""
    families: Sequence[str] = get(service, "spec.ipFamilies", ())
    if families:
        return families
    address = get(service, "spec.clusterIP", "")
    if address and address != "None":
        return (family_of(address),)
    return ("IPv4",)


def family_of(address: str) -> str:
    """Return IPv4 or IPv6."""
    return "IPv6" if ":" in address else "IPv4"


def addresses_of(pod: PodFacts, family: str) -> list[str]:
    """Return the pod's addresses of a family."""
    return [address for address in pod.addresses if family_of(address) == family]


class Backend(NamedTuple):
    """A pod that a service selects, and its ports for that service."""

    pod: PodFacts
    ports: tuple[Port, ...]


def backends_of(service: Obj, ctx: Context) -> list[Backend]:
    """Return the pods that the service selects and that can have an address, by name."""
    selector = selectors.from_labels(selector_of(service))
    namespace = service["metadata"]["namespace"]
    items = ctx.lister(PODS).select(namespace, selector)
    named = any(isinstance(port.get("targetPort"), str) for port in _ports(service))
    common = () if named else ports_of(service, {})
    found = []
    for item in sorted(items, key=lambda item: item.key):
        pod = facts(item)
        if not pod.finished:
            found.append(Backend(pod, ports_of(service, item.obj) if named else common))
    return found


def backend(service: Obj, pod: Obj) -> Backend:
    """Return one pod as a backend of the service."""
    return Backend(facts_of(pod), ports_of(service, pod))


def _ports(service: Obj) -> Sequence[Obj]:
    ports: Sequence[Obj] = get(service, "spec.ports", ())
    return ports


def ports_of(service: Obj, pod: Obj) -> tuple[Port, ...]:
    """Return the service's ports as this pod has them; a name that it lacks is left out."""
    found = []
    for port in _ports(service):
        number = resolve(port, pod)
        if number is not None:
            protocol, application = port.get("protocol", "TCP"), port.get("appProtocol") or ""
            found.append(Port(port.get("name") or "", number, protocol, application))
    return tuple(sorted(found))


def resolve(port: Obj, pod: Obj) -> int | None:
    """Return the number of a service port on a pod: its own, or that of the port it names."""
    target = port.get("targetPort") or port["port"]
    if isinstance(target, int):
        return target
    for container in _serving_containers(pod):
        for candidate in container.get("ports", ()):
            same = candidate.get("protocol", "TCP") == port.get("protocol", "TCP")
            if candidate.get("name") == target and same:
                return int(candidate["containerPort"])
    return None


def _serving_containers(pod: Obj) -> Iterator[Obj]:
    """Yield the containers that run as long as the pod: the usual ones, then side-cars."""
    yield from get(pod, "spec.containers", ())
    for container in get(pod, "spec.initContainers", ()):
        if container.get("restartPolicy") == "Always":
            yield container


def hostname_of(pod: PodFacts, service: Obj) -> str:
    """Return the name that the pod has below the service in DNS, "" where it has none."""
    return pod.hostname if pod.subdomain == service["metadata"]["name"] else ""


def target_reference(pod: PodFacts) -> dict[str, Any]:
    """Return the reference from an endpoint to its pod."""
    namespace, name = pod.key
    return {"kind": "Pod", "namespace": namespace, "name": name, "uid": pod.uid}


def index_services(context: Context) -> None:
    """Make services findable by what they select, and pods by their labels."""
    context.lister(SERVICES).add_index(SELECTORS, _selected_labels)
    context.lister(PODS).add_index(LABELS, label_values)


def _selector(item: Item) -> Mapping[str, str]:
    return selector_of(item.obj)


def _selected_labels(item: Item) -> Iterable[str]:
    labels = item.derived(_selector)
    for key in sorted(labels):
        return (f"{item.key.namespace}/{key}={labels[key]}",)
    return ()


def of_pod(old: Item | None, new: Item | None, ctx: Context) -> Iterator[Key]:
    """Look at the services that select a pod, or selected it before."""
    if old is not None and new is not None and old.labels == new.labels:
        old = None
    services = ctx.lister(SERVICES)
    for pod in (old, new):
        for value in label_values(pod) if pod is not None else ():
            for service in services.indexed(SELECTORS, value):
                if pod is not None and service.derived(_selector).items() <= pod.labels.items():
                    yield service.key


def of_dependent(service_of: Callable[[Item], str]) -> KeysOf:
    """Return the function that leads from what was derived to its service."""

    def keys(old: Item | None, new: Item | None, _: Context) -> Iterator[Key]:
        item = new or old
        if item is not None and (name := service_of(item)):
            yield Key(item.key.namespace, name)

    return keys
