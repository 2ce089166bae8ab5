"""A kubelet writes its own node and its own pods, and nothing else.

Which requests a kubelet may make at all is the Node authoriser's matter; here it is about what
is in them. Texts are those of upstream's `plugin/pkg/admission/noderestriction`.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from minikube_py.api.coordination import LEASES
from minikube_py.api.core import NODES, PODS, SERVICEACCOUNTS
from minikube_py.api.object import Key, Obj, annotations_of, get, labels_of
from minikube_py.api.storage import CSINODES
from minikube_py.client.protocol import Lister
from minikube_py.server.admission.errors import forbidden
from minikube_py.server.attributes import Admission
from minikube_py.server.authz.node import LEASE_NAMESPACE, node_of
from minikube_py.server.authz.references import MIRROR

RESTRICTED = "node-restriction.kubernetes.io"
KUBELET_LABELS = frozenset(
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
KUBELET_LABEL_DOMAINS = ("kubelet.kubernetes.io", "node.kubernetes.io")
OWN_DOMAINS = ("kubernetes.io", "k8s.io")
STATUS_OF_OTHERS = (
    'node "{node}" can only update pod status for pods with spec.nodeName set to itself'
)


class NodeRestriction:
    """Holds kubelets to what is theirs."""

    name = "NodeRestriction"

    def __init__(self, pods: Lister) -> None:
        self._pods = pods
        self._checks: Mapping[object, Callable[[str, Admission], None]] = {
            PODS: self._pod,
            NODES: _node,
            SERVICEACCOUNTS: self._token,
            LEASES: _lease,
            CSINODES: _csi_node,
        }

    async def admit(self, admission: Admission) -> Obj | None:
        """Check a create or update before anything else is filled in."""
        self._check(admission)
        return admission.obj

    async def validate(self, admission: Admission) -> Sequence[str]:
        """Check a delete, which nothing is filled into."""
        if admission.operation == "DELETE":
            self._check(admission)
        return ()

    def _check(self, admission: Admission) -> None:
        is_node, node = node_of(admission.user)
        if not is_node:
            return
        if not node:
            user = admission.user.name
            raise forbidden(admission, f'could not determine node from user "{user}"')
        check = self._checks.get(admission.resource)
        if check is not None:
            check(node, admission)

    def _pod(self, node: str, admission: Admission) -> None:
        if admission.subresource == "":
            self._pod_itself(node, admission)
        elif admission.subresource == "status":
            if get(admission.old or admission.obj, "spec.nodeName") != node:
                raise forbidden(admission, STATUS_OF_OTHERS.format(node=node))
        elif admission.subresource == "eviction":
            pod = self._pods.get(Key(admission.namespace, admission.name))
            if get(pod, "spec.nodeName") != node:
                text = f"node {node} can only evict pods with spec.nodeName set to itself"
                raise forbidden(admission, text)
        else:
            raise forbidden(
                admission,
                f'unexpected pod subresource "{admission.subresource}", '
                'only "status" and "eviction" are allowed',
            )

    def _pod_itself(self, node: str, admission: Admission) -> None:
        if admission.operation == "CREATE":
            _mirror_pod(node, admission, admission.obj or {})
        elif admission.operation == "DELETE":
            pod = admission.old or self._pods.get(Key(admission.namespace, admission.name))
            if get(pod, "spec.nodeName") != node:
                text = f'node "{node}" can only delete pods with spec.nodeName set to itself'
                raise forbidden(admission, text)
        else:
            raise forbidden(
                admission,
                f'unexpected operation "{admission.operation}", node "{node}" can only create and '
                "delete mirror pods",
            )

    def _token(self, node: str, admission: Admission) -> None:
        """A kubelet asks for tokens only for the pods that run on it."""
        if admission.subresource != "token":
            return
        reference: Any = get(admission.obj, "spec.boundObjectRef")
        if reference is None or reference.get("kind") != "Pod" or not reference.get("name"):
            raise forbidden(admission, "node requested token not bound to a pod")
        if not reference.get("uid"):
            raise forbidden(admission, "node requested token with a pod binding without a uid")
        pod = self._pods.get(Key(admission.namespace, reference["name"]))
        if pod is None:
            raise forbidden(admission, f'pod "{reference["name"]}" not found')
        if reference["uid"] != get(pod, "metadata.uid"):
            raise forbidden(
                admission,
                f"the UID in the bound object reference ({reference['uid']}) does not match the "
                "UID in record. The object might have been deleted and then recreated",
            )
        if get(pod, "spec.nodeName") != node:
            raise forbidden(
                admission, "node requested token bound to a pod scheduled on a different node"
            )


def _mirror_pod(node: str, admission: Admission, pod: Obj) -> None:
    if MIRROR not in annotations_of(pod):
        raise forbidden(
            admission,
            f'pod does not have "{MIRROR}" annotation, node "{node}" can only create mirror pods',
        )
    if get(pod, "spec.nodeName") != node:
        raise forbidden(
            admission, f'node "{node}" can only create pods with spec.nodeName set to itself'
        )
    if get(pod, "spec.serviceAccountName"):
        raise forbidden(
            admission, f'node "{node}" can not create pods that reference a service account'
        )
    owners = get(pod, "metadata.ownerReferences") or ()
    foreign = [o for o in owners if o.get("kind") != "Node" or o.get("name") != node]
    if foreign or len(owners) > 1:
        raise forbidden(
            admission, f'node "{node}" can only create pods with an owner reference set to itself'
        )
    for volume in get(pod, "spec.volumes") or ():
        for field, what in (("secret", "secrets"), ("configMap", "configmaps")):
            if volume.get(field):
                raise forbidden(
                    admission, f'node "{node}" can not create pods that reference {what}'
                )


def _node(node: str, admission: Admission) -> None:
    obj, old = admission.obj or {}, admission.old
    name = admission.name or get(obj, "metadata.name", "")
    if name != node:
        raise forbidden(admission, f'node "{node}" is not allowed to modify node "{name}"')
    if admission.operation == "CREATE" or old is None:
        # A kubelet registers with taints of its own choice.
        _refuse_labels(admission, "set the following labels", set(labels_of(obj)) if obj else set())
        return
    if admission.operation == "UPDATE":
        if get(obj, "spec.taints") != get(old, "spec.taints"):
            raise forbidden(admission, f'node "{node}" is not allowed to modify taints')
        _refuse_labels(admission, "modify labels", _changed_labels(obj, old))
        if get(obj, "metadata.ownerReferences") != get(old, "metadata.ownerReferences"):
            raise forbidden(admission, f'node "{node}" is not allowed to modify ownerReferences')


def _changed_labels(obj: Obj, old: Obj) -> set[str]:
    new, former = labels_of(obj), labels_of(old)
    return {key for key in {*new, *former} if new.get(key) != former.get(key)}


def _refuse_labels(admission: Admission, what: str, keys: set[str]) -> None:
    refused = sorted(key for key in keys if not _may_label(key))
    if refused:
        raise forbidden(admission, f"is not allowed to {what}: {', '.join(refused)}")


def _may_label(key: str) -> bool:
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


def _lease(node: str, admission: Admission) -> None:
    if admission.namespace != LEASE_NAMESPACE:
        raise forbidden(
            admission, f'can only access leases in the "{LEASE_NAMESPACE}" system namespace'
        )
    name = admission.name or get(admission.obj, "metadata.name", "")
    if name != node:
        text = "can only access node lease with the same name as the requesting node"
        raise forbidden(admission, text)


def _csi_node(node: str, admission: Admission) -> None:
    name = admission.name or get(admission.obj, "metadata.name", "")
    if name != node:
        raise forbidden(
            admission, "can only access CSINode with the same name as the requesting node"
        )
