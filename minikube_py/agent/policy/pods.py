"""What network policies look at in a pod."""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from minikube_py.api.item import Item
from minikube_py.api.object import Key, Obj, get, labels_of

OVER = ("Succeeded", "Failed")
DNS_LABELS = {"k8s-app": "kube-dns"}


class NamedPort(NamedTuple):
    """A port that containers name."""

    name: str
    protocol: str
    number: int


class Pod(NamedTuple):
    """One pod, or what stands for one."""

    namespace: str
    labels: Mapping[str, str]
    ips: tuple[str, ...] = ()
    ports: tuple[NamedPort, ...] = ()
    node: str = ""


def pod_of(item: Item) -> Pod | None:
    """Return what policies know of a pod; None where they have nothing to do with it.

    Pods in the network of their node have no address of their own; those that are over have given
    theirs back, and another pod may have it. A pod that terminates is covered until then.
    """
    pod = item.obj
    status = pod.get("status") or {}
    if get(pod, "spec.hostNetwork") or status.get("phase") in OVER:
        return None
    given = [entry.get("ip") for entry in status.get("podIPs") or ()] or [status.get("podIP")]
    ips = tuple(ip for ip in given if ip)
    if not ips:
        return None
    return pod_at(pod, ips)


def pod_at(pod: Obj, ips: Sequence[str]) -> Pod:
    """Return what policies know of a pod that has these addresses."""
    ports = tuple(sorted(set(_ports(pod["spec"]))))
    node = get(pod, "spec.nodeName", "")
    return Pod(pod["metadata"].get("namespace", ""), labels_of(pod), tuple(ips), ports, node)


def _ports(spec: Obj) -> Iterator[NamedPort]:
    sidecars = (c for c in spec.get("initContainers") or () if c.get("restartPolicy") == "Always")
    for container in (*(spec.get("containers") or ()), *sidecars):
        for port in container.get("ports") or ():
            if port.get("name"):
                protocol = port.get("protocol") or "TCP"
                yield NamedPort(port["name"], protocol, port["containerPort"])


def dns_pod(addresses: Sequence[str]) -> tuple[Key, Pod]:
    """Return what stands for the cluster DNS that nodes serve themselves.

    Policies let pods reach DNS by the labels and ports that its pods have elsewhere, and that
    has to mean the same here, where the address of the service is one of the node's own.
    """
    ports = (NamedPort("dns", "UDP", 53), NamedPort("dns-tcp", "TCP", 53))
    pod = Pod("kube-system", DNS_LABELS, tuple(addresses), ports)
    return Key("kube-system", "kube-dns (on every node)"), pod
