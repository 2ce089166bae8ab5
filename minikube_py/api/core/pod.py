"""Pods: the unit that is scheduled and run.

The rules fill several modules: `pod_defaults`, `pod_prepare`, `pod_validation` with its parts,
`pod_update`, `pod_status`, `pod_columns` and `pod_warnings`; here they become the kind.
"""

from minikube_py.api.core import pod_columns, pod_prepare, pod_status, pod_update, pod_warnings
from minikube_py.api.core.pod_defaults import default_pod
from minikube_py.api.object import Obj, get
from minikube_py.api.resource import Resource, Subresource


def default(pod: Obj) -> Obj:
    """Fill in what the user left out; the first of several addresses is also the only one."""
    pod = default_pod(pod)
    status = pod["status"]
    address, addresses = status.get("podIP"), status.get("podIPs")
    if not address and not addresses:
        return pod
    if not addresses or (address and addresses[0].get("ip") != address):
        addresses = [{"ip": address}]
    elif address:
        return pod
    return {**pod, "status": {**status, "podIP": addresses[0].get("ip"), "podIPs": addresses}}


def pod_ip(pod: Obj) -> str:
    """Return the first address of a pod, or ""."""
    addresses = get(pod, "status.podIPs") or ()
    return str(addresses[0].get("ip") or "") if addresses else ""


def pod_ips(pod: Obj) -> str:
    """Return the addresses of a pod, joined by commas, as the field selector compares them."""
    return ",".join(entry.get("ip", "") for entry in get(pod, "status.podIPs", ()))


PODS = Resource(
    returns_deleted_object=True,
    kind="Pod",
    plural="pods",
    short_names=("po",),
    categories=("all",),
    schema="io.k8s.api.core.v1.Pod",
    subresources=(
        Subresource(name="attach", kind="PodAttachOptions", verbs=("create", "get")),
        Subresource(name="binding", kind="Binding", verbs=("create",)),
        Subresource(
            name="ephemeralcontainers",
            shares_object=True,
            prepare_for_update=pod_prepare.prepare_ephemeral_update,
            validate=pod_update.validate_ephemeral_update,
            metadata_checks=("update", "create"),
        ),
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
        Subresource(
            name="resize",
            shares_object=True,
            prepare_for_update=pod_prepare.prepare_resize,
            validate=pod_update.validate_resize,
            metadata_checks=("update", "create"),
        ),
        Subresource(
            name="status",
            shares_object=True,
            prepare_for_update=pod_prepare.prepare_status_update,
            validate=pod_status.validate_status_update,
        ),
    ),
    columns=pod_columns.COLUMNS,
    cells=pod_columns.cells,
    row_conditions=pod_columns.row_conditions,
    default=default,
    prepare_for_create=pod_prepare.prepare_for_create,
    prepare_for_update=pod_prepare.prepare_for_update,
    validate=pod_update.validate_pod,
    warn=pod_warnings.warn,
    metadata_checks=("update", "create"),
    graceful_deletion=True,
    selectable_fields={
        "spec.hostNetwork": lambda pod: "true" if get(pod, "spec.hostNetwork") else "false",
        "spec.nodeName": lambda pod: get(pod, "spec.nodeName", ""),
        "spec.restartPolicy": lambda pod: get(pod, "spec.restartPolicy", ""),
        "spec.schedulerName": lambda pod: get(pod, "spec.schedulerName", ""),
        "spec.serviceAccountName": lambda pod: get(pod, "spec.serviceAccountName", ""),
        "status.nominatedNodeName": lambda pod: get(pod, "status.nominatedNodeName", ""),
        "status.phase": lambda pod: get(pod, "status.phase", ""),
        "status.podIP": pod_ip,
        "status.podIPs": pod_ips,
    },
)
