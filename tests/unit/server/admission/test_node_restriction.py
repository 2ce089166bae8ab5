"""A kubelet is held to what is its own, whatever a stolen credential of one tries."""

import base64
from collections.abc import Callable
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from minikube_py.api.certificates import CERTIFICATESIGNINGREQUESTS
from minikube_py.api.coordination import LEASES
from minikube_py.api.core import (
    NODES,
    PERSISTENTVOLUMECLAIMS,
    PERSISTENTVOLUMES,
    PODS,
    SERVICEACCOUNTS,
)
from minikube_py.api.resource_k8s import RESOURCESLICES
from minikube_py.api.storage import CSIDRIVERS, CSINODES
from minikube_py.server.admission.node_restriction import NodeRestriction
from minikube_py.server.attributes import Admission, Attributes, Decision, User
from tests.unit.server.admission.acting import pod, refusal, run, write

Listing = Callable[..., Any]
KUBELET = User("system:node:n1", ("system:nodes",))
MIRROR = {"kubernetes.io/config.mirror": "x"}
OWNER = {"apiVersion": "v1", "kind": "Node", "name": "n1", "uid": "n1-uid", "controller": True}


class Nobody:
    """An authoriser that allows one audience."""

    def authorize(self, attributes: Attributes) -> Decision:
        asked = (attributes.verb, attributes.resource)
        return Decision(asked == ("request-serviceaccounts-token-audience", "allowed"))


@pytest.fixture
def plugin(listing: Listing) -> Callable[..., NodeRestriction]:
    """Make the plugin of a cluster with one node and the given other objects, by resource."""

    def make(objects: Any = None) -> NodeRestriction:
        known = {NODES: [{"metadata": {"name": "n1", "uid": "n1-uid"}}], **(objects or {})}
        caches = {resource: listing(*found) for resource, found in known.items()}
        return NodeRestriction(lambda resource: caches.get(resource) or listing(), Nobody())

    return make


def node(**fields: Any) -> dict[str, Any]:
    metadata = {"name": "n1", **fields.pop("metadata", {})}
    return {"metadata": metadata, **fields}


def mirror(owners: Any = None, **spec: Any) -> dict[str, Any]:
    made = pod(**{"nodeName": "n1", **spec})
    made["metadata"]["annotations"] = MIRROR
    made["metadata"]["ownerReferences"] = [OWNER] if owners is None else owners
    return made


def token(bound: Any = None, **spec: Any) -> dict[str, Any]:
    reference = {"apiVersion": "v1", "kind": "Pod", "name": "p", "uid": "u", **(bound or {})}
    return {"metadata": {"name": "default"}, "spec": {"boundObjectRef": reference, **spec}}


def labelled(key: str) -> dict[str, Any]:
    return node(metadata={"labels": {key: "x"}})


def request(common_name: str) -> str:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, common_name)])
    made = x509.CertificateSigningRequestBuilder().subject_name(name).sign(key, hashes.SHA256())
    return base64.b64encode(made.public_bytes(serialization.Encoding.PEM)).decode()


def signing(common_name: str) -> dict[str, Any]:
    spec = {
        "signerName": "kubernetes.io/kube-apiserver-client-kubelet",
        "request": request(common_name),
    }
    return {"metadata": {"name": "csr"}, "spec": spec}


def by(resource: Any, obj: Any, operation: str = "CREATE", **more: Any) -> Admission:
    return write(resource, obj, operation, user=KUBELET, **more)


REFUSED: list[tuple[Admission, str]] = [
    (by(NODES, node(metadata={"name": "n2"})), 'node "n1" is not allowed to modify node "n2"'),
    (
        by(NODES, labelled("node-restriction.kubernetes.io/x")),
        ('node "n1" is not allowed to set the following labels: node-restriction.kubernetes.io/x'),
    ),
    (
        by(NODES, labelled("node-restriction.kubernetes.io/x"), "UPDATE", old=node()),
        "is not allowed to modify labels: node-restriction.kubernetes.io/x",
    ),
    (
        by(NODES, node(), "UPDATE", old=labelled("node-role.kubernetes.io/control-plane")),
        "is not allowed to modify labels: node-role.kubernetes.io/control-plane",
    ),
    (
        by(NODES, node(spec={"taints": [{"key": "a"}]}), "UPDATE", old=node()),
        'node "n1" is not allowed to modify taints',
    ),
    (
        by(NODES, node(metadata={"ownerReferences": [OWNER]}), "UPDATE", old=node()),
        'node "n1" is not allowed to modify ownerReferences',
    ),
    (
        by(NODES, node(spec={"configSource": {}}), "UPDATE", old=node()),
        'node "n1" is not allowed to update configSource to a new non-nil configSource',
    ),
    (
        by(PODS, pod()),
        (
            'pod does not have "kubernetes.io/config.mirror" annotation, node "n1" can only '
            "create mirror pods"
        ),
    ),
    (
        by(PODS, mirror(nodeName="n2")),
        'node "n1" can only create pods with spec.nodeName set to itself',
    ),
    (
        by(PODS, mirror([])),
        'node "n1" can only create pods with an owner reference set to itself',
    ),
    (
        by(PODS, mirror([OWNER, OWNER])),
        'node "n1" can only create pods with a single owner reference set to itself',
    ),
    (
        by(PODS, mirror([{**OWNER, "controller": False}])),
        'node "n1" can only create pods with a controller owner reference set to itself',
    ),
    (
        by(PODS, mirror([{**OWNER, "blockOwnerDeletion": True}])),
        'node "n1" must not set blockOwnerDeletion on an owner reference',
    ),
    (
        by(PODS, mirror([{**OWNER, "uid": "old"}])),
        "node n1 UID mismatch: expected old got n1-uid",
    ),
    (
        by(PODS, mirror(serviceAccountName="default")),
        'node "n1" can not create pods that reference a service account',
    ),
    (
        by(PODS, mirror(volumes=[{"name": "v", "secret": {"secretName": "s"}}])),
        'node "n1" can not create pods that reference secrets',
    ),
    (
        by(
            PODS,
            mirror(containers=[{"name": "c", "envFrom": [{"configMapRef": {"name": "settings"}}]}]),
        ),
        'node "n1" can not create pods that reference configmaps',
    ),
    (
        by(PODS, mirror(volumes=[{"name": "v", "persistentVolumeClaim": {"claimName": "c"}}])),
        'node "n1" can not create pods that reference persistentvolumeclaims',
    ),
    (
        by(PODS, None, "DELETE", name="p", old=pod(nodeName="n2")),
        'node "n1" can only delete pods with spec.nodeName set to itself',
    ),
    (
        by(PODS, pod(nodeName="n1"), "UPDATE", old=pod(nodeName="n1")),
        'unexpected operation "UPDATE", node "n1" can only create and delete mirror pods',
    ),
    (
        by(PODS, pod(nodeName="n2"), "UPDATE", old=pod(nodeName="n2"), subresource="status"),
        'node "n1" can only update pod status for pods with spec.nodeName set to itself',
    ),
    (
        by(
            PODS,
            {**pod(nodeName="n1"), "metadata": {"name": "p", "labels": {"app": "db"}}},
            "UPDATE",
            old=pod(nodeName="n1"),
            subresource="status",
        ),
        'node "n1" cannot update labels through pod status',
    ),
    (
        by(PODS, pod(), subresource="binding"),
        "unexpected pod subresource \"binding\", only 'status' and 'eviction' are allowed",
    ),
    (by(PODS, {"metadata": {"name": "gone"}}, subresource="eviction"), 'pods "gone" not found'),
    (
        by(PERSISTENTVOLUMECLAIMS, {"metadata": {"name": "c"}}),
        "may only update PVC status",
    ),
    (
        by(
            PERSISTENTVOLUMECLAIMS,
            {"metadata": {"name": "c"}, "status": {"phase": "Bound"}},
            "UPDATE",
            old={"metadata": {"name": "c"}, "status": {"phase": "Lost"}},
            subresource="status",
        ),
        (
            'node "n1" is not allowed to update fields other than status.quantity and '
            "status.conditions"
        ),
    ),
    (
        by(SERVICEACCOUNTS, {"metadata": {"name": "default"}, "spec": {}}, subresource="token"),
        "node requested token not bound to a pod",
    ),
    (
        by(SERVICEACCOUNTS, token({"uid": ""}), subresource="token"),
        "node requested token with a pod binding without a uid",
    ),
    (
        by(SERVICEACCOUNTS, token({"name": "gone"}), subresource="token"),
        'pods "gone" not found',
    ),
    (
        by(SERVICEACCOUNTS, token({"uid": "old"}), subresource="token"),
        (
            "the UID in the bound object reference (old) does not match the UID in record. The "
            "object might have been deleted and then recreated"
        ),
    ),
    (
        by(SERVICEACCOUNTS, token({"name": "elsewhere"}), subresource="token"),
        "node requested token bound to a pod scheduled on a different node",
    ),
    (
        by(SERVICEACCOUNTS, token(audiences=["a", "b"]), subresource="token"),
        "node may only request 0 or 1 audiences",
    ),
    (
        by(SERVICEACCOUNTS, token(audiences=["vault"]), subresource="token"),
        (
            'audience "vault" not found in pod spec volume, system:node:n1 is not authorized to '
            "request tokens for this audience"
        ),
    ),
    (
        by(LEASES, {"metadata": {"name": "n1"}}),
        'can only access leases in the "kube-node-lease" system namespace',
    ),
    (
        by(LEASES, {"metadata": {"name": "n2"}}, namespace="kube-node-lease"),
        "can only access node lease with the same name as the requesting node",
    ),
    (
        by(CSINODES, {"metadata": {"name": "n2"}}),
        "can only access CSINode with the same name as the requesting node",
    ),
    (
        by(RESOURCESLICES, {"metadata": {"name": "s"}, "spec": {"nodeName": "n2"}}),
        "can only create ResourceSlice with the same NodeName as the requesting node",
    ),
    (
        by(
            RESOURCESLICES,
            None,
            "DELETE",
            name="s",
            old={"metadata": {"name": "s"}, "spec": {"nodeName": "n2"}},
        ),
        "can only delete ResourceSlice with the same NodeName as the requesting node",
    ),
    (
        by(CERTIFICATESIGNINGREQUESTS, signing("system:node:n2")),
        "can only create a node CSR with CN=system:node:n1",
    ),
    (
        by(CERTIFICATESIGNINGREQUESTS, signing("kubernetes-admin")),
        "can only create a node CSR with CN=system:node:n1",
    ),
]

PROJECTED = {"serviceAccountToken": {"path": "token", "audience": ""}}
MINE = pod(
    nodeName="n1",
    volumes=[
        {"name": "token", "projected": {"sources": [PROJECTED]}},
        {"name": "inline", "csi": {"driver": "inline.csi"}},
        {"name": "claimed", "persistentVolumeClaim": {"claimName": "c"}},
    ],
)
MINE["metadata"]["uid"] = "u"
ELSEWHERE = pod(nodeName="n2")
ELSEWHERE["metadata"] |= {"uid": "u", "name": "elsewhere"}
CLUSTER: dict[Any, list[Any]] = {
    PODS: [MINE, ELSEWHERE],
    CSIDRIVERS: [
        {"metadata": {"name": "inline.csi"}, "spec": {"tokenRequests": [{"audience": "inline"}]}},
        {"metadata": {"name": "disk.csi"}, "spec": {"tokenRequests": [{"audience": "disk"}]}},
    ],
    PERSISTENTVOLUMECLAIMS: [
        {"metadata": {"name": "c", "namespace": "a"}, "spec": {"volumeName": "pv"}}
    ],
    PERSISTENTVOLUMES: [{"metadata": {"name": "pv"}, "spec": {"csi": {"driver": "disk.csi"}}}],
}


@pytest.mark.parametrize(("admission", "text"), REFUSED)
async def test_a_kubelet_is_held_to_what_is_its_own(
    plugin: Any, admission: Admission, text: str
) -> None:
    assert (await refusal(plugin(CLUSTER), admission)).endswith(text)


LABELS = {"kubernetes.io/hostname": "n1", "custom": "x", "node.kubernetes.io/y": "z"}
GROWN = {"metadata": {"name": "c"}, "status": {"capacity": {"storage": "2Gi"}}}


@pytest.mark.parametrize(
    "admission",
    [
        by(NODES, node(metadata={"labels": LABELS}, spec={"taints": [{"key": "own"}]})),
        by(NODES, node(metadata={"labels": LABELS}), "UPDATE", old=node(), subresource="status"),
        by(PODS, mirror()),
        by(PODS, None, "DELETE", name="p"),
        by(PODS, MINE, "UPDATE", old=MINE, subresource="status"),
        by(PODS, {"metadata": {"name": "p"}}, subresource="eviction"),
        by(
            PERSISTENTVOLUMECLAIMS,
            GROWN,
            "UPDATE",
            old={"metadata": {"name": "c"}, "status": {}},
            subresource="status",
        ),
        by(SERVICEACCOUNTS, token(), subresource="token"),
        by(SERVICEACCOUNTS, token(audiences=["inline"]), subresource="token"),
        by(SERVICEACCOUNTS, token(audiences=["disk"]), subresource="token"),
        by(SERVICEACCOUNTS, token(audiences=["allowed"]), subresource="token"),
        by(LEASES, {"metadata": {"name": "n1"}}, namespace="kube-node-lease"),
        by(CSINODES, {"metadata": {"name": "n1"}}),
        by(RESOURCESLICES, {"metadata": {"name": "s"}, "spec": {"nodeName": "n1"}}),
        by(CERTIFICATESIGNINGREQUESTS, signing("system:node:n1")),
        by(PODS, pod(), "CONNECT", subresource="exec"),
    ],
)
async def test_a_kubelet_does_its_work(plugin: Any, admission: Admission) -> None:
    assert await run(plugin(CLUSTER), admission) == admission.obj


async def test_others_are_none_of_its_business(plugin: Any) -> None:
    for user in (User("system:node:n1"), User("eve", ("system:masters",))):
        await run(plugin(), write(NODES, node(metadata={"name": "n2"}), user=user))
    nameless = User("kubelet", ("system:nodes",))
    await run(plugin(), write(NODES, node(metadata={"name": "n2"}), user=nameless))
