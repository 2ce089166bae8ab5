"""Approved requests get their certificates from the signers that every cluster has.

https://kubernetes.io/docs/reference/access-authn-authz/certificate-signing-requests/#kubernetes-signers
What each may sign is upstream's (pkg/controller/certificates/signer).
"""

import base64
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

from minikube_py.api import times
from minikube_py.api.certificates import CERTIFICATESIGNINGREQUESTS
from minikube_py.api.object import Key, Obj, get, has_condition
from minikube_py.client.actions import update_status
from minikube_py.client.controller import Context, Controller
from minikube_py.server.controllers.csr_approving import (
    KUBELET_CLIENT,
    KUBELET_SERVING,
    NODE_PREFIX,
    NODES,
    SERVING_USAGES,
    USAGES,
)

if TYPE_CHECKING:
    from minikube_py.lib.csr import Request

LIFE = timedelta(days=365)
"""What is signed lives so long, or as long as the request asks for where that is less."""
SHORTEST = timedelta(minutes=10)
WRONG_NAME = "subject common name does not begin with system:node:"


class Signer(NamedTuple):
    """One signer: which authority signs, and what may not be signed."""

    authority: str
    complaint: Callable[["Request", frozenset[str]], str]
    """(request, usages) -> why not, "" where it may."""


async def reconcile(key: Key, ctx: Context) -> None:
    """Sign one request."""
    csr = ctx.lister(CERTIFICATESIGNINGREQUESTS).get(key)
    authority = ctx.settings.authority
    if csr is None or authority is None or not waits_for_signer(csr):
        return
    from minikube_py.lib import csr as requests  # noqa: PLC0415 -- few clusters need it

    signer, usages = SIGNERS[csr["spec"]["signerName"]], csr["spec"].get("usages") or ()
    try:
        request = requests.Request.of(base64.b64decode(csr["spec"]["request"] or ""))
        why = signer.complaint(request, frozenset(usages))
        ca = authority(signer.authority)
        pem = b"" if why else requests.sign(ca, request, usages, life(csr), now=ctx.now())
    except requests.SigningError as error:
        why = str(error)
    answered = failed(csr, why, times.now_string(ctx.clock)) if why else issued(csr, pem)
    await ctx.apply([update_status(CERTIFICATESIGNINGREQUESTS, answered)])


def waits_for_signer(csr: Obj) -> bool:
    """Tell whether a request is approved, is ours to sign, and has no answer."""
    if csr["spec"].get("signerName") not in SIGNERS or get(csr, "status.certificate"):
        return False
    return (
        has_condition(csr, "Approved")
        and not has_condition(csr, "Denied")
        and not has_condition(csr, "Failed")
    )


def life(csr: Obj) -> timedelta:
    """Return how long the certificate is to live."""
    asked = csr["spec"].get("expirationSeconds")
    if asked is None:
        return LIFE
    return min(max(timedelta(seconds=asked), SHORTEST), LIFE)


def issued(csr: Obj, pem: bytes) -> dict[str, Any]:
    """Return the request with its certificate."""
    status = {**(csr.get("status") or {}), "certificate": base64.b64encode(pem).decode()}
    return {**csr, "status": status}


def failed(csr: Obj, why: str, now: str) -> dict[str, Any]:
    """Return the request that can never be signed."""
    condition = {
        "type": "Failed",
        "status": "True",
        "reason": "SignerValidationFailure",
        "message": why,
        "lastUpdateTime": now,
    }
    status = csr.get("status") or {}
    return {
        **csr,
        "status": {**status, "conditions": [*(status.get("conditions") or ()), condition]},
    }


def kubelet_client(request: "Request", usages: frozenset[str]) -> str:
    """Say what keeps a request from being for a kubelet's client certificate."""
    return _first(
        (request.organizations != (NODES,), "subject organization is not system:nodes"),
        (bool(request.dns_names), "DNS subjectAltNames are not allowed"),
        (bool(request.emails), "Email subjectAltNames are not allowed"),
        (bool(request.addresses), "IP subjectAltNames are not allowed"),
        (bool(request.uris), "URI subjectAltNames are not allowed"),
        (not request.common_name.startswith(NODE_PREFIX), WRONG_NAME),
        (
            usages not in USAGES,
            "usages did not match [client auth digital signature key encipherment]",
        ),
    )


def kubelet_serving(request: "Request", usages: frozenset[str]) -> str:
    """Say what keeps a request from being for a kubelet's serving certificate."""
    return _first(
        (request.organizations != (NODES,), "subject organization is not system:nodes"),
        (
            not request.dns_names and not request.addresses,
            "DNS or IP subjectAltName is required",
        ),
        (bool(request.emails), "Email subjectAltNames are not allowed"),
        (bool(request.uris), "URI subjectAltNames are not allowed"),
        (
            usages not in SERVING_USAGES,
            "usages did not match [digital signature key encipherment server auth]",
        ),
        (not request.common_name.startswith(NODE_PREFIX), WRONG_NAME),
    )


def _first(*complaints: tuple[bool, str]) -> str:
    return next((text for holds, text in complaints if holds), "")


def client(request: "Request", usages: frozenset[str]) -> str:
    """Say what keeps a request from being for a client certificate."""
    del request
    for usage in sorted(usages - {"digital signature", "key encipherment", "client auth"}):
        return f"invalid usage for client certificate: {usage}"
    if "client auth" not in usages:
        return "missing required usage for client certificate: client auth"
    return ""


def anything(request: "Request", usages: frozenset[str]) -> str:
    """Have no complaint."""
    del request, usages
    return ""


SIGNERS: Mapping[str, Signer] = {
    "kubernetes.io/kube-apiserver-client": Signer("client-ca", client),
    KUBELET_CLIENT: Signer("client-ca", kubelet_client),
    KUBELET_SERVING: Signer("cluster-ca", kubelet_serving),
    "kubernetes.io/legacy-unknown": Signer("cluster-ca", anything),
}

CONTROLLER = Controller(
    name="certificatesigningrequest-signing-controller",
    user="certificate-controller",
    watches=CERTIFICATESIGNINGREQUESTS,
    reconcile=reconcile,
)
