"""Requests of kubelets for their own certificates are approved, where RBAC lets them.

Client certificates as upstream's pkg/controller/certificates/approver does. Upstream leaves those
of kubelets' servers to others; here a node gets one for its name and the addresses that it shows,
as it does when it joins, but for none by which others know the API server.
"""

import base64
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from minikube_py.api import times
from minikube_py.api.authorization import SUBJECTACCESSREVIEWS
from minikube_py.api.certificates import CERTIFICATESIGNINGREQUESTS
from minikube_py.api.core import NODES as CLUSTER_NODES
from minikube_py.api.object import Key, Obj, get
from minikube_py.client.actions import Update
from minikube_py.client.controller import Context, Controller

KUBELET_CLIENT = "kubernetes.io/kube-apiserver-client-kubelet"
KUBELET_SERVING = "kubernetes.io/kubelet-serving"
NODES, NODE_PREFIX = "system:nodes", "system:node:"
USAGES = (
    frozenset({"digital signature", "client auth"}),
    frozenset({"digital signature", "key encipherment", "client auth"}),
)
SERVING_USAGES = (
    frozenset({"digital signature", "server auth"}),
    frozenset({"digital signature", "key encipherment", "server auth"}),
)
AGAIN_SECONDS = 300.0
"""Until a request is looked at again that RBAC does not let through: roles may change."""


class Recognizer(NamedTuple):
    """A sort of request that is approved without asking anybody."""

    subresource: str
    """Who may create this subresource of certificatesigningrequests gets the approval."""
    message: str


SELF_NODE = Recognizer(
    "selfnodeclient",
    "Auto approving self kubelet client certificate after SubjectAccessReview.",
)
NODE = Recognizer(
    "nodeclient", "Auto approving kubelet client certificate after SubjectAccessReview."
)
SERVING = Recognizer(
    "selfnodeserver", "Auto approving kubelet serving certificate after SubjectAccessReview."
)


async def reconcile(key: Key, ctx: Context) -> float | None:
    """Decide one request."""
    csr = ctx.lister(CERTIFICATESIGNINGREQUESTS).get(key)
    if csr is None or not is_undecided(csr):
        return None
    recognized = False
    node = ctx.lister(CLUSTER_NODES).get(Key("", node_name(csr)))
    for recognizer in recognize(csr, node, ctx.settings.own_names):
        recognized = True
        review = await ctx.client.create(SUBJECTACCESSREVIEWS, review_of(csr, recognizer))
        if get(review, "status.allowed", False):
            await ctx.apply([approval(csr, recognizer, times.now_string(ctx.clock))])
            return None
    return AGAIN_SECONDS if recognized else None


def is_undecided(csr: Obj) -> bool:
    """Tell whether nobody has decided the request and nothing was issued."""
    decided = {condition["type"] for condition in get(csr, "status.conditions", ())}
    return not get(csr, "status.certificate") and not decided & {"Approved", "Denied"}


def node_name(csr: Obj) -> str:
    """Return the name of the node that asks, "" where it is none."""
    user = csr["spec"].get("username", "")
    return user.removeprefix(NODE_PREFIX) if user.startswith(NODE_PREFIX) else ""


def recognize(csr: Obj, node: Obj | None, own_names: Collection[str]) -> Iterator[Recognizer]:
    """Yield what the request is: a node's own certificate, then any node's.

    `node` is the one that asks, `own_names` are those of the API server.
    """
    from minikube_py.lib.csr import Request, SigningError  # noqa: PLC0415 -- few clusters need it

    spec = csr["spec"]
    usages = frozenset(spec.get("usages") or ())
    if usages not in _USAGES.get(spec.get("signerName", ""), ()):
        return
    try:
        request = Request.of(base64.b64decode(spec["request"] or ""))
    except (SigningError, ValueError):
        return
    others = (*request.emails, *request.uris)
    if request.organizations != (NODES,) or others:
        return
    if not request.common_name.startswith(NODE_PREFIX):
        return
    asks_for_itself = request.common_name == spec.get("username")
    names = (*request.dns_names, *request.addresses)
    if spec["signerName"] == KUBELET_SERVING:
        shown = names_of(node) - set(own_names) if node is not None else set()
        if asks_for_itself and names and shown.issuperset(names):
            yield SERVING
    elif not names:
        yield from (SELF_NODE, NODE) if asks_for_itself else (NODE,)


_USAGES: Mapping[str, Sequence[frozenset[str]]] = {
    KUBELET_CLIENT: USAGES,
    KUBELET_SERVING: SERVING_USAGES,
}


def names_of(node: Obj) -> set[str]:
    """Return the name of a node and the addresses that it shows."""
    shown = get(node, "status.addresses") or ()
    return {node["metadata"]["name"], *(address.get("address", "") for address in shown)}


def review_of(csr: Obj, recognizer: Recognizer) -> dict[str, Any]:
    """Return the question whether who asked may have it approved."""
    spec = csr["spec"]
    names = {"user": "username", "uid": "uid", "groups": "groups", "extra": "extra"}
    user = {name: spec[field] for name, field in names.items() if spec.get(field)}
    return {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SubjectAccessReview",
        "metadata": {},
        "spec": {
            **user,
            "resourceAttributes": {
                "group": "certificates.k8s.io",
                "resource": "certificatesigningrequests",
                "verb": "create",
                "subresource": recognizer.subresource,
                "version": "*",
            },
        },
    }


def approval(csr: Obj, recognizer: Recognizer, now: str) -> Update:
    """Return the write that approves."""
    condition = {
        "type": "Approved",
        "status": "True",
        "reason": "AutoApproved",
        "message": recognizer.message,
        "lastUpdateTime": now,
    }
    status = get(csr, "status") or {}
    conditions = [*(status.get("conditions") or ()), condition]
    approved = {**csr, "status": {**status, "conditions": conditions}}
    return Update(CERTIFICATESIGNINGREQUESTS, approved, "approval")


CONTROLLER = Controller(
    name="certificatesigningrequest-approving-controller",
    user="certificate-controller",
    watches=CERTIFICATESIGNINGREQUESTS,
    reads=(CLUSTER_NODES,),
    reconcile=reconcile,
)
