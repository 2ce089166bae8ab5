"""What a kubelet may write of its node and of the objects that are called like it."""

from typing import Final

from minikube_py.api.object import Obj, get, labels_of
from minikube_py.server.admission.certificates import common_names
from minikube_py.server.admission.errors import forbidden
from minikube_py.server.attributes import Admission
from minikube_py.server.authz.node import LEASE_NAMESPACE

RESTRICTED: Final = "node-restriction.kubernetes.io"
KUBELET_LABELS: Final = frozenset(
    {
        "kubernetes.io/hostname",
        "kubernetes.io/arch",
        "kubernetes.io/os",
        "beta.kubernetes.io/instance-type",
        "node.kubernetes.io/instance-type",
        "failure-domain.beta.kubernetes.io/region",
        "failure-domain.beta.kubernetes.io/zone",
        "topology.kubernetes.io/region",
        "topology.kubernetes.io/zone",
        "beta.kubernetes.io/arch",
        "beta.kubernetes.io/os",
    }
)
"""Labels of Kubernetes' domains that a kubelet sets itself."""
KUBELET_LABEL_DOMAINS: Final = ("kubelet.kubernetes.io", "node.kubernetes.io")
OWN_DOMAINS: Final = ("kubernetes.io", "k8s.io")
KUBELET_SIGNERS: Final = (
    "kubernetes.io/kubelet-serving",
    "kubernetes.io/kube-apiserver-client-kubelet",
)


def check_node(node: str, admission: Admission) -> None:
    """Check a write of a node: its own, with labels and taints as they are its to set."""
    obj, old = admission.obj or {}, admission.old
    name = admission.name or get(obj, "metadata.name", "")
    if name != node:
        raise forbidden(admission, f'node "{node}" is not allowed to modify node "{name}"')
    if admission.operation == "CREATE":
        if get(obj, "spec.configSource") is not None:
            text = "is not allowed to create pods with a non-nil configSource"
            raise forbidden(admission, f'node "{node}" {text}')
        # A kubelet registers with taints of its own choice.
        what = f'node "{node}" is not allowed to set the following labels'
        _refuse_labels(admission, what, set(labels_of(obj)))
    elif admission.operation == "UPDATE" and old is not None:
        _check_update(node, admission, obj, old)


def _check_update(node: str, admission: Admission, obj: Obj, old: Obj) -> None:
    source = get(obj, "spec.configSource")
    if source is not None and source != get(old, "spec.configSource"):
        text = "is not allowed to update configSource to a new non-nil configSource"
        raise forbidden(admission, f'node "{node}" {text}')
    if (get(obj, "spec.taints") or []) != (get(old, "spec.taints") or []):
        raise forbidden(admission, f'node "{node}" is not allowed to modify taints')
    _refuse_labels(admission, "is not allowed to modify labels", _changed_labels(obj, old))
    owners = "metadata.ownerReferences"
    if (get(obj, owners) or []) != (get(old, owners) or []):
        raise forbidden(admission, f'node "{node}" is not allowed to modify ownerReferences')


def _changed_labels(obj: Obj, old: Obj) -> set[str]:
    new, former = labels_of(obj), labels_of(old)
    return {key for key in {*new, *former} if new.get(key) != former.get(key)}


def _refuse_labels(admission: Admission, what: str, keys: set[str]) -> None:
    refused = sorted(key for key in keys if not may_label(key))
    if refused:
        raise forbidden(admission, f"{what}: {', '.join(refused)}")


def may_label(key: str) -> bool:
    """Tell whether a kubelet may set a label; of Kubernetes' domains only a few."""
    domain, _, rest = key.rpartition("/")
    if not rest or not domain or key in KUBELET_LABELS:
        return True
    if _within(domain, RESTRICTED):
        return False
    if any(_within(domain, own) for own in KUBELET_LABEL_DOMAINS):
        return True
    return not any(_within(domain, own) for own in OWN_DOMAINS)


def _within(domain: str, parent: str) -> bool:
    return domain == parent or domain.endswith(f".{parent}")


def check_lease(node: str, admission: Admission) -> None:
    """Check a heartbeat: there is one place for it."""
    if admission.namespace != LEASE_NAMESPACE:
        raise forbidden(
            admission, f'can only access leases in the "{LEASE_NAMESPACE}" system namespace'
        )
    name = admission.name or get(admission.obj, "metadata.name", "")
    if name != node:
        text = "can only access node lease with the same name as the requesting node"
        raise forbidden(admission, text)


def check_csi_node(node: str, admission: Admission) -> None:
    """Check what a kubelet tells of its storage drivers."""
    name = admission.name or get(admission.obj, "metadata.name", "")
    if name != node:
        text = "can only access CSINode with the same name as the requesting node"
        raise forbidden(admission, text)


def check_slice(node: str, admission: Admission) -> None:
    """Check what a kubelet's drivers tell of the node's devices."""
    same = "with the same NodeName as the requesting node"
    if admission.operation == "CREATE" and get(admission.obj, "spec.nodeName") != node:
        raise forbidden(admission, f"can only create ResourceSlice {same}")
    if admission.operation == "DELETE" and get(admission.old, "spec.nodeName") != node:
        raise forbidden(admission, f"can only delete ResourceSlice {same}")


def check_signing_request(node: str, admission: Admission) -> None:
    """Check that a kubelet asks for certificates in its own name only."""
    if admission.operation != "CREATE" or admission.subresource:
        return
    if get(admission.obj, "spec.signerName") not in KUBELET_SIGNERS:
        return
    try:
        names = common_names(get(admission.obj, "spec.request", ""))
    except ValueError as error:
        raise forbidden(admission, f"unable to parse csr: {error}") from error
    if names != [f"system:node:{node}"]:
        text = f"can only create a node CSR with CN=system:node:{node}"
        raise forbidden(admission, text)
