"""Pods: the unit that is scheduled and run."""

from minikube_py.api.object import Obj, get
from minikube_py.api.resource import AGE, NAME, Column, Resource, Subresource


def pod_ips(pod: Obj) -> str:
    """Return the addresses of a pod, joined by commas, as the field selector compares them."""
    return ",".join(entry.get("ip", "") for entry in get(pod, "status.podIPs", ()))


PODS = Resource(
    kind="Pod",
    plural="pods",
    short_names=("po",),
    categories=("all",),
    schema="io.k8s.api.core.v1.Pod",
    subresources=(
        Subresource(name="attach", kind="PodAttachOptions", verbs=("create", "get")),
        Subresource(name="binding", kind="Binding", verbs=("create",)),
        Subresource(name="ephemeralcontainers", shares_object=True),
        Subresource(
            name="eviction", kind="Eviction", group="policy", version="v1", verbs=("create",)
        ),
        Subresource(name="exec", kind="PodExecOptions", verbs=("create", "get")),
        Subresource(name="log", verbs=("get",)),
        Subresource(name="portforward", kind="PodPortForwardOptions", verbs=("create", "get")),
        Subresource(
            name="proxy",
            kind="PodProxyOptions",
            verbs=("create", "delete", "get", "patch", "update"),
        ),
        Subresource(name="resize", shares_object=True),
        Subresource(name="status", shares_object=True),
    ),
    columns=(
        NAME,
        Column("Ready"),
        Column("Status"),
        Column("Restarts"),
        AGE,
        Column("IP", priority=1),
        Column("Node", priority=1),
        Column("Nominated Node", priority=1),
        Column("Readiness Gates", priority=1),
    ),
    graceful_deletion=True,
    selectable_fields={
        "spec.hostNetwork": lambda pod: "true" if get(pod, "spec.hostNetwork") else "false",
        "spec.nodeName": lambda pod: get(pod, "spec.nodeName", ""),
        "spec.restartPolicy": lambda pod: get(pod, "spec.restartPolicy", ""),
        "spec.schedulerName": lambda pod: get(pod, "spec.schedulerName", ""),
        "spec.serviceAccountName": lambda pod: get(pod, "spec.serviceAccountName", ""),
        "status.nominatedNodeName": lambda pod: get(pod, "status.nominatedNodeName", ""),
        "status.phase": lambda pod: get(pod, "status.phase", ""),
        "status.podIP": lambda pod: get(pod, "status.podIP", ""),
        "status.podIPs": pod_ips,
    },
)
