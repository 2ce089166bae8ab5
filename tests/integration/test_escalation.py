"""Each way by which a node, a pod's token or a namespace's admin could reach for more: refused.

The attempts are data; every one is a request as a client would send it. Beside them stand requests
that the same users are there to make, so that a server which refuses everything fails, too.
"""

import base64
import io
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, NamedTuple

import orjson
import pytest
from multidict import CIMultiDict

from minikube_py.lib import pki
from tests.integration.conftest import Server, running
from tests.integration.patience import eventually

CORE, RBAC = "/api/v1", "/apis/rbac.authorization.k8s.io/v1"
OWN, OTHER, STRICT = (f"{CORE}/namespaces/{name}" for name in ("own", "other", "strict"))
LEASES = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"
CSRS = "/apis/certificates.k8s.io/v1/certificatesigningrequests"
MERGE = "application/merge-patch+json"
NODE = ("system:node:here", "system:nodes")
POD = (
    "system:serviceaccount:own:default",
    "system:serviceaccounts",
    "system:serviceaccounts:own",
)
ADMIN = ("anna",)
"""Bound to the ClusterRole admin in the namespace own; user, then groups."""


class Try(NamedTuple):
    """One request: what it reaches for, and how."""

    what: str
    method: str
    path: str
    body: Any = None
    refusal: int = 403


def named(kind: str, name: str, version: str = "v1", **more: Any) -> dict[str, Any]:
    metadata = {"name": name, **more.pop("metadata", {})}
    return {"apiVersion": version, "kind": kind, "metadata": metadata, **more}


def pod(name: str, node: str, **spec: Any) -> dict[str, Any]:
    containers = [{"name": "c", "image": "i"}]
    return named("Pod", name, spec={"nodeName": node, "containers": containers, **spec})


def mirror(node: str, **spec: Any) -> dict[str, Any]:
    notes = {"kubernetes.io/config.mirror": "hash", "kubernetes.io/config.hash": "hash"}
    made = pod("mirror", node, **spec)
    return {**made, "metadata": {"name": "mirror", "annotations": notes}}


def certificate(signer: str, name: str, usage: str, group: str = "system:nodes") -> dict[str, Any]:
    names = ("10.0.0.9",) if usage == "server auth" else ()
    subject = pki.Subject(name=name, organizations=(group,), alternatives=names)
    request = base64.b64encode(pki.request(subject, pki.new_key())).decode()
    return named(
        "CertificateSigningRequest",
        "evil",
        "certificates.k8s.io/v1",
        spec={"signerName": signer, "request": request, "usages": ["digital signature", usage]},
    )


def role(kind: str, name: str, *verbs: str, of: str = "secrets") -> dict[str, Any]:
    rule = {"apiGroups": ["*" if of == "*" else ""], "resources": [of], "verbs": list(verbs)}
    return named(kind, name, "rbac.authorization.k8s.io/v1", rules=[rule])


def binding(kind: str, name: str, ref: str, to: str = "anna") -> dict[str, Any]:
    group = "rbac.authorization.k8s.io"
    return named(
        kind,
        name,
        f"{group}/v1",
        roleRef={"apiGroup": group, "kind": "ClusterRole", "name": ref},
        subjects=[{"kind": "User", "name": to, "apiGroup": group}],
    )


TOKEN: dict[str, Any] = {
    "apiVersion": "authentication.k8s.io/v1",
    "kind": "TokenRequest",
    "spec": {},
}
LABELS = {"metadata": {"labels": {"node-restriction.kubernetes.io/trusted": "yes"}}}
TAINTS = {"spec": {"taints": [{"key": "a", "effect": "NoSchedule"}]}}
OWNED = {
    "metadata": {"ownerReferences": [{"apiVersion": "v1", "kind": "Pod", "name": "x", "uid": "1"}]}
}
BOUND_ELSEWHERE = {**TOKEN, "spec": {"boundObjectRef": {"kind": "Pod", "name": "there"}}}
UNBOUND = TOKEN
STATUS = {"status": {"phase": "Succeeded"}}

REFUSED_TO_A_NODE = (
    Try("all secrets", "GET", f"{CORE}/secrets"),
    Try("all secrets of a namespace", "GET", f"{OWN}/secrets"),
    Try("a secret that only a pod elsewhere uses", "GET", f"{OWN}/secrets/theirs"),
    Try("a secret that nobody uses", "GET", f"{OWN}/secrets/spare"),
    Try("a config map that nobody uses", "GET", f"{OWN}/configmaps/spare"),
    Try("writing a secret that its pod uses", "PATCH", f"{OWN}/secrets/ours", {"data": {}}),
    Try("another node's status", "PATCH", f"{CORE}/nodes/there/status", {"status": {}}),
    Try("another node", "PATCH", f"{CORE}/nodes/there", {"metadata": {"labels": {"a": "b"}}}),
    Try("deleting another node", "DELETE", f"{CORE}/nodes/there"),
    Try("deleting itself", "DELETE", f"{CORE}/nodes/here"),
    Try("a label that admins trust", "PATCH", f"{CORE}/nodes/here", LABELS),
    Try("its own taints", "PATCH", f"{CORE}/nodes/here", TAINTS),
    Try("an owner of itself", "PATCH", f"{CORE}/nodes/here", OWNED),
    Try("making another node", "POST", f"{CORE}/nodes", named("Node", "new")),
    Try("a pod of its own invention", "POST", f"{OWN}/pods", pod("evil", "here")),
    Try("a pod on another node", "POST", f"{OWN}/pods", pod("evil", "there")),
    Try("deleting a pod elsewhere", "DELETE", f"{OWN}/pods/there"),
    Try("the status of a pod elsewhere", "PATCH", f"{OWN}/pods/there/status", STATUS),
    Try("the spec of its pod", "PATCH", f"{OWN}/pods/here",
        {"spec": {"containers": [{"name": "c", "image": "evil"}]}}),
    Try("the labels of its pod by its status", "PATCH", f"{OWN}/pods/here/status",
        {"metadata": {"labels": {"app": "victim"}}}),
    Try("running something in a pod", "POST", f"{OWN}/pods/there/exec?command=id&stdout=1"),
    Try("another node's kubelet", "GET", f"{CORE}/nodes/there/proxy/pods"),
    Try("a token that is bound to no pod", "POST", f"{OWN}/serviceaccounts/default/token",
        UNBOUND),
    Try("a token for a pod elsewhere", "POST", f"{OWN}/serviceaccounts/default/token",
        BOUND_ELSEWHERE),
    Try("another node's lease", "PATCH", f"{LEASES}/there", {"spec": {"holderIdentity": "here"}}),
    Try("a lease that leads the controllers", "POST",
        "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases",
        named("Lease", "kube-controller-manager", "coordination.k8s.io/v1", spec={})),
    Try("rights", "POST", f"{RBAC}/clusterrolebindings",
        binding("ClusterRoleBinding", "evil", "cluster-admin", "system:node:here")),
    Try("approving a certificate", "PATCH", f"{CSRS}/any/approval", {"status": {}}),
    Try("another's volumes", "PATCH", f"{CORE}/persistentvolumes/any", {"metadata": {}}),
    Try("a service account", "POST", f"{OWN}/serviceaccounts", named("ServiceAccount", "evil")),
    Try("pods of all nodes", "GET", f"{CORE}/pods"),
    Try("pods of another node", "GET", f"{CORE}/pods?fieldSelector=spec.nodeName%3Dthere"),
    Try("pods of all nodes but one", "GET", f"{CORE}/pods?fieldSelector=spec.nodeName!%3Dx"),
    Try("all nodes", "GET", f"{CORE}/nodes"),
    Try("a secret of a pod elsewhere by a list", "GET",
        f"{OWN}/secrets?fieldSelector=metadata.name%3Dtheirs"),
    Try("devices of all nodes", "GET", "/apis/resource.k8s.io/v1/resourceslices"),
    Try("removing devices of all nodes", "DELETE", "/apis/resource.k8s.io/v1/resourceslices"),
    Try("a claim on devices of another's pod", "GET",
        "/apis/resource.k8s.io/v1/namespaces/own/resourceclaims/any"),
    Try("another node's CSI drivers", "POST", "/apis/storage.k8s.io/v1/csinodes",
        named("CSINode", "there", "storage.k8s.io/v1", spec={"drivers": []})),
    Try("another node's devices", "POST", "/apis/resource.k8s.io/v1/resourceslices",
        named("ResourceSlice", "evil", "resource.k8s.io/v1", spec={
            "driver": "d.example.com", "nodeName": "there",
            "pool": {"name": "there", "resourceSliceCount": 1, "generation": 1}})),
    Try("devices of every node", "POST", "/apis/resource.k8s.io/v1/resourceslices",
        named("ResourceSlice", "evil", "resource.k8s.io/v1", spec={
            "driver": "d.example.com", "allNodes": True,
            "pool": {"name": "all", "resourceSliceCount": 1, "generation": 1}})),
    Try("a label of Kubernetes' own", "PATCH", f"{CORE}/nodes/here",
        {"metadata": {"labels": {"kubernetes.io/evil": "yes"}}}),
    Try("a role of nodes", "PATCH", f"{CORE}/nodes/here",
        {"metadata": {"labels": {"node-role.kubernetes.io/control-plane": ""}}}),
    Try("the labels of another node by its status", "PATCH", f"{CORE}/nodes/there/status", LABELS),
    Try("evicting a pod elsewhere", "POST", f"{OWN}/pods/there/eviction",
        named("Eviction", "there", "policy/v1")),
    Try("binding a pod to itself", "POST", f"{OWN}/pods/there/binding",
        named("Binding", "there", target={"kind": "Node", "name": "here"})),
    Try("a mirror pod that mounts a secret", "POST", f"{OWN}/pods",
        mirror("here", volumes=[{"name": "v", "secret": {"secretName": "theirs"}}])),
    Try("a mirror pod that reads a config map", "POST", f"{OWN}/pods",
        mirror("here", volumes=[{"name": "v", "configMap": {"name": "spare"}}])),
    Try("a mirror pod with an account", "POST", f"{OWN}/pods",
        mirror("here", serviceAccountName="default")),
    Try("a mirror pod elsewhere", "POST", f"{OWN}/pods", mirror("there")),
    Try("a container in its pod", "PATCH", f"{OWN}/pods/here/ephemeralcontainers",
        {"spec": {"ephemeralContainers": [{"name": "e", "image": "i"}]}}),
    Try("more for its pod", "PATCH", f"{OWN}/pods/here/resize", {"spec": {}}),
    Try("a token for an audience that its pod does not want", "POST",
        f"{OWN}/serviceaccounts/default/token",
        {**TOKEN, "spec": {"audiences": ["vault"],
                           "boundObjectRef": {"kind": "Pod", "name": "here", "uid": "HERE"}}}),
    Try("a claim of a pod elsewhere", "GET", f"{OWN}/persistentvolumeclaims/any"),
    Try("growing a claim", "PATCH", f"{OWN}/persistentvolumeclaims/any", {"spec": {}}),
    Try("a volume that none of its pods uses", "GET", f"{CORE}/persistentvolumes/any"),
    Try("attaching a volume", "POST", "/apis/storage.k8s.io/v1/volumeattachments",
        named("VolumeAttachment", "evil", "storage.k8s.io/v1", spec={
            "attacher": "a", "nodeName": "here", "source": {"persistentVolumeName": "any"}})),
    Try("a certificate of another node's kubelet", "POST", CSRS,
        certificate("kubernetes.io/kubelet-serving", "system:node:there", "server auth")),
    Try("a certificate as another node", "POST", CSRS,
        certificate("kubernetes.io/kube-apiserver-client-kubelet", "system:node:there",
                    "client auth")),
    Try("a certificate of the server's operators", "POST", CSRS,
        certificate("kubernetes.io/kube-apiserver-client", "root", "client auth",
                    "system:masters")),
    Try("whom the server trusts", "PATCH",
        f"{CORE}/namespaces/kube-system/configmaps/extension-apiserver-authentication",
        {"data": {}}),
    Try("its password as a node", "GET",
        f"{CORE}/namespaces/kube-system/secrets/here.node-password.kpy"),
    Try("bootstrap tokens", "GET", f"{CORE}/namespaces/kube-system/secrets"),
)  # fmt: skip

REFUSED_TO_A_POD = (
    Try("secrets of its namespace", "GET", f"{OWN}/secrets"),
    Try("pods of its namespace", "GET", f"{OWN}/pods"),
    Try("nodes", "GET", f"{CORE}/nodes"),
    Try("a pod with more rights", "POST", f"{OWN}/pods", pod("evil", "")),
    Try("a token of another account", "POST", f"{OWN}/serviceaccounts/default/token", TOKEN),
    Try("asking whose a token is", "POST", "/apis/authentication.k8s.io/v1/tokenreviews",
        {"spec": {"token": "a"}}),
    Try("asking what others may", "POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews",
        {"spec": {"user": "anna", "nonResourceAttributes": {"path": "/", "verb": "get"}}}),
    Try("metrics", "GET", "/metrics"),
    Try("what the server does", "GET", "/debug/tasks"),
    Try("logs of another pod", "GET", f"{OWN}/pods/here/log"),
    Try("rights", "POST", f"{RBAC}/namespaces/own/rolebindings",
        binding("RoleBinding", "evil", "admin", POD[0])),
    Try("another namespace", "GET", f"{OTHER}/configmaps"),
    Try("webhooks", "POST",
        "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations",
        named("MutatingWebhookConfiguration", "evil", "admissionregistration.k8s.io/v1")),
    Try("aggregated APIs", "GET", "/apis/apiregistration.k8s.io/v1/apiservices"),
    Try("ephemeral containers", "PATCH", f"{OWN}/pods/here/ephemeralcontainers", {"spec": {}}),
    Try("running something in its own pod", "POST", f"{OWN}/pods/here/exec?command=id&stdout=1"),
    Try("a kubelet", "GET", f"{CORE}/nodes/here/proxy/pods"),
    Try("a service of its namespace by proxy", "GET", f"{OWN}/services/any/proxy/"),
    Try("a certificate", "POST", CSRS,
        certificate("kubernetes.io/kube-apiserver-client", "root", "client auth")),
    Try("a lease that leads the scheduler", "PATCH",
        "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases/kube-scheduler", {"spec": {}}),
    Try("definitions of kinds", "GET",
        "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"),
    Try("who may do what", "GET", f"{RBAC}/clusterroles"),
    Try("what is queued", "GET",
        "/apis/flowcontrol.apiserver.k8s.io/v1/prioritylevelconfigurations"),
    Try("a watch on secrets", "GET", f"{OWN}/secrets?watch=1"),
    Try("deleting all pods of its namespace", "DELETE", f"{OWN}/pods"),
)  # fmt: skip

REFUSED_TO_AN_ADMIN = (
    Try("a role with more than its own rights", "POST", f"{RBAC}/namespaces/own/roles",
        role("Role", "evil", "*", of="*")),
    Try("a role over nodes", "POST", f"{RBAC}/namespaces/own/roles",
        role("Role", "evil", "get", of="nodes/proxy")),
    Try("the right to escalate", "POST", f"{RBAC}/namespaces/own/roles",
        named("Role", "evil", "rbac.authorization.k8s.io/v1", rules=[{
            "apiGroups": ["rbac.authorization.k8s.io"], "resources": ["roles"],
            "verbs": ["escalate", "bind"]}])),
    Try("being bound to cluster-admin", "POST", f"{RBAC}/namespaces/own/rolebindings",
        binding("RoleBinding", "evil", "cluster-admin")),
    Try("binding anybody to cluster-admin", "POST", f"{RBAC}/namespaces/own/rolebindings",
        binding("RoleBinding", "evil", "cluster-admin", "mallory")),
    Try("a role of the whole cluster", "POST", f"{RBAC}/clusterroles",
        role("ClusterRole", "evil", "get")),
    Try("aggregating into its own role", "POST", f"{RBAC}/clusterroles",
        {**role("ClusterRole", "evil", "*", of="*"), "metadata": {
            "name": "evil", "labels": {"rbac.authorization.k8s.io/aggregate-to-admin": "true"}}}),
    Try("a binding in the whole cluster", "POST", f"{RBAC}/clusterrolebindings",
        binding("ClusterRoleBinding", "evil", "admin")),
    Try("a binding in another namespace", "POST", f"{RBAC}/namespaces/other/rolebindings",
        binding("RoleBinding", "evil", "admin")),
    Try("secrets of another namespace", "GET", f"{OTHER}/secrets"),
    Try("secrets of all namespaces", "GET", f"{CORE}/secrets"),
    Try("its namespace's labels", "PATCH", OWN,
        {"metadata": {"labels": {"pod-security.kubernetes.io/enforce": "privileged"}}}),
    Try("its namespace's finalizers", "PUT", f"{OWN}/finalize", named("Namespace", "own")),
    Try("making a namespace", "POST", f"{CORE}/namespaces", named("Namespace", "evil")),
    Try("its quota", "PATCH", f"{OWN}/resourcequotas/quota", {"spec": {"hard": {"pods": "9"}}}),
    Try("its limits", "DELETE", f"{OWN}/limitranges/limits"),
    Try("where a service of another leads", "PATCH", f"{OTHER}/endpoints/any", {"subsets": []}),
    Try("where its own service leads", "POST", f"{OWN}/endpoints", named("Endpoints", "evil")),
    Try("where slices lead", "POST",
        "/apis/discovery.k8s.io/v1/namespaces/own/endpointslices",
        named("EndpointSlice", "evil", "discovery.k8s.io/v1", addressType="IPv4", endpoints=[])),
    Try("a node", "PATCH", f"{CORE}/nodes/here", LABELS),
    Try("a node's kubelet", "GET", f"{CORE}/nodes/here/proxy/pods"),
    Try("binding pods to nodes", "POST", f"{OWN}/pods/loose/binding",
        named("Binding", "loose", target={"kind": "Node", "name": "here"})),
    Try("a volume of the cluster", "POST", f"{CORE}/persistentvolumes",
        named("PersistentVolume", "evil", spec={})),
    Try("a priority over all", "POST", "/apis/scheduling.k8s.io/v1/priorityclasses",
        named("PriorityClass", "evil", "scheduling.k8s.io/v1", value=1)),
    Try("a definition of a kind", "POST",
        "/apis/apiextensions.k8s.io/v1/customresourcedefinitions",
        named("CustomResourceDefinition", "a.b.c", "apiextensions.k8s.io/v1", spec={})),
    Try("a policy", "POST",
        "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies",
        named("ValidatingAdmissionPolicy", "evil", "admissionregistration.k8s.io/v1", spec={})),
    Try("approving a certificate", "PATCH", f"{CSRS}/any/approval", {"status": {}}),
    Try("a token of another namespace", "POST", f"{OTHER}/serviceaccounts/default/token", TOKEN),
    Try("a privileged pod where those are forbidden", "POST", f"{STRICT}/pods",
        pod("evil", "", hostPID=True)),
    Try("the same by a template of an update", "POST", f"{STRICT}/pods",
        pod("evil", "", volumes=[{"name": "v", "hostPath": {"path": "/"}}])),
    Try("letting itself do more in that namespace", "PATCH", STRICT,
        {"metadata": {"labels": {"pod-security.kubernetes.io/enforce": "privileged"}}}),
    Try("devices as an administrator", "POST",
        "/apis/resource.k8s.io/v1/namespaces/own/resourceclaims",
        named("ResourceClaim", "evil", "resource.k8s.io/v1", spec={"devices": {"requests": [
            {"name": "r", "exactly": {"deviceClassName": "c", "adminAccess": True}}]}}),
        refusal=422),
    Try("the status of a claim", "PATCH",
        "/apis/resource.k8s.io/v1/namespaces/own/resourceclaims/any/status", {"status": {}}),
    Try("a class of devices", "POST", "/apis/resource.k8s.io/v1/deviceclasses",
        named("DeviceClass", "evil", "resource.k8s.io/v1", spec={})),
    Try("a class of storage", "POST", "/apis/storage.k8s.io/v1/storageclasses",
        named("StorageClass", "evil", "storage.k8s.io/v1", provisioner="p")),
    Try("a way to run pods", "POST", "/apis/node.k8s.io/v1/runtimeclasses",
        named("RuntimeClass", "evil", "node.k8s.io/v1", handler="h")),
    Try("the order of requests", "POST",
        "/apis/flowcontrol.apiserver.k8s.io/v1/flowschemas",
        named("FlowSchema", "evil", "flowcontrol.apiserver.k8s.io/v1", spec={})),
    Try("an API of its own", "POST", "/apis/apiregistration.k8s.io/v1/apiservices",
        named("APIService", "v1.evil.example.com", "apiregistration.k8s.io/v1", spec={})),
    Try("being somebody else", "POST", f"{RBAC}/namespaces/own/roles",
        role("Role", "evil", "impersonate", of="users")),
    Try("running something elsewhere", "POST", f"{OTHER}/pods/any/exec?command=id&stdout=1"),
    Try("evicting elsewhere", "POST", f"{OTHER}/pods/any/eviction",
        named("Eviction", "any", "policy/v1")),
    Try("whom the server trusts", "PATCH",
        f"{CORE}/namespaces/kube-system/configmaps/extension-apiserver-authentication",
        {"data": {}}),
    Try("a bootstrap token", "POST", f"{CORE}/namespaces/kube-system/secrets",
        named("Secret", "bootstrap-token-abcdef", type="bootstrap.kubernetes.io/token")),
    Try("leading the controllers", "PATCH",
        "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases/kube-controller-manager",
        {"spec": {}}),
    Try("its namespace's status", "PATCH", f"{OWN}/status", {"status": {}}),
    Try("addresses of services", "POST", "/apis/networking.k8s.io/v1/servicecidrs",
        named("ServiceCIDR", "evil", "networking.k8s.io/v1", spec={"cidrs": ["10.99.0.0/16"]})),
)  # fmt: skip

ALLOWED = (
    (NODE, Try("a secret that its pod uses", "GET", f"{OWN}/secrets/ours")),
    (NODE, Try("the same by a list", "GET", f"{OWN}/secrets?fieldSelector=metadata.name%3Dours")),
    (NODE, Try("its pods", "GET", f"{CORE}/pods?fieldSelector=spec.nodeName%3Dhere")),
    (NODE, Try("its devices", "GET",
               "/apis/resource.k8s.io/v1/resourceslices?fieldSelector=spec.nodeName%3Dhere")),
    (NODE, Try("its own object", "PATCH", f"{CORE}/nodes/here/status", {"status": {}})),
    (NODE, Try("the status of its pod", "PATCH", f"{OWN}/pods/here/status",
               {"status": {"message": "fine"}})),
    (POD, Try("who it is", "POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", {})),
    (POD, Try("what there is", "GET", "/apis")),
    (ADMIN, Try("secrets of its namespace", "GET", f"{OWN}/secrets")),
    (ADMIN, Try("a role with some of its rights", "POST", f"{RBAC}/namespaces/own/roles",
                role("Role", "reader", "get"))),
    (ADMIN, Try("binding somebody to view", "POST", f"{RBAC}/namespaces/own/rolebindings",
                binding("RoleBinding", "viewer", "view", "ben"))),
    (ADMIN, Try("a config map", "POST", f"{OWN}/configmaps", named("ConfigMap", "fine"))),
)  # fmt: skip


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[Server]:
    async with running(tmp_path, disable_controller_manager=False) as made:
        await prepare(made)

        async def secrets() -> int:
            return (await attempt(made, ADMIN, Try("", "GET", f"{OWN}/secrets")))[0]

        await eventually(secrets, lambda status: status == 200)  # the role admin is aggregated
        yield made


async def prepare(cluster: Server) -> None:
    """Make two nodes, a pod on each, what they use, and an admin of one namespace."""
    for path, body in (
        *((f"{CORE}/namespaces", named("Namespace", name)) for name in ("own", "other")),
        (f"{CORE}/namespaces", named("Namespace", "strict", metadata={
            "labels": {"pod-security.kubernetes.io/enforce": "baseline"}})),
        (f"{CORE}/namespaces/strict/serviceaccounts", named("ServiceAccount", "default")),
        (f"{RBAC}/namespaces/strict/rolebindings", binding("RoleBinding", "admins", "admin")),
        *((f"{CORE}/nodes", named("Node", name)) for name in ("here", "there")),
        *((f"{CORE}/namespaces/{n}/serviceaccounts", named("ServiceAccount", "default"))
          for n in ("own", "other")),
        *((f"{OWN}/secrets", named("Secret", name)) for name in ("ours", "theirs", "spare")),
        (f"{OWN}/configmaps", named("ConfigMap", "spare")),
        (f"{OWN}/pods", pod("here", "here", volumes=[
            {"name": "v", "secret": {"secretName": "ours"}}])),
        (f"{OWN}/pods", pod("there", "there", volumes=[
            {"name": "v", "secret": {"secretName": "theirs"}}])),
        (f"{RBAC}/namespaces/own/rolebindings", binding("RoleBinding", "admins", "admin")),
        (f"{LEASES}", named("Lease", "there", "coordination.k8s.io/v1", spec={})),
        (f"{OWN}/resourcequotas", named("ResourceQuota", "quota", spec={"hard": {"pods": "100"}})),
        (f"{OWN}/limitranges", named("LimitRange", "limits", spec={"limits": []})),
    ):  # fmt: skip
        answer = await cluster.call("POST", path, body)
        assert answer.status in (201, 409), (path, answer.body)


async def attempt(cluster: Server, who: tuple[str, ...], wish: Try) -> tuple[int, str]:
    """Make one request as somebody; return its status and what was said."""
    headers = CIMultiDict([("Impersonate-User", who[0])])
    headers.extend([("Impersonate-Group", group) for group in who[1:]])
    kind = MERGE if wish.method == "PATCH" else "application/json"
    data = None
    if wish.body is not None:
        headers["Content-Type"], data = kind, io.BytesIO(orjson.dumps(wish.body))
    async with cluster.session.request(
        wish.method, cluster.url + wish.path, data=data, headers=headers
    ) as response:
        return response.status, await response.text()


@pytest.mark.parametrize(
    ("who", "wishes"),
    [(NODE, REFUSED_TO_A_NODE), (POD, REFUSED_TO_A_POD), (ADMIN, REFUSED_TO_AN_ADMIN)],
    ids=["a node", "a pod", "a namespace's admin"],
)
async def test_nobody_reaches_for_more_than_is_theirs(
    cluster: Server, who: tuple[str, ...], wishes: tuple[Try, ...]
) -> None:
    got = []
    for wish in wishes:
        status, said = await attempt(cluster, who, wish)
        if status != wish.refusal:
            got.append(f"{wish.what}: {status} {said}")
    assert not got, "\n".join(got)


async def test_what_is_theirs_they_get(cluster: Server) -> None:
    for who, wish in ALLOWED:
        status, said = await attempt(cluster, who, wish)
        assert status in (200, 201), (wish.what, said)
