"""How a node renews its kubelet's certificates: it asks the cluster to sign new ones.

The requests are those of every kubelet (certificates.k8s.io): with its client certificate a node
asks for the next one, and for a serving certificate of its own name and addresses. Who approves
and signs is the cluster's business; where nobody does in time, joining again does the same.
"""

import asyncio
import base64
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from minikube_py.agent.join import RENEW, Membership
from minikube_py.api.certificates import CERTIFICATESIGNINGREQUESTS
from minikube_py.api.errors import StatusError
from minikube_py.api.object import Obj, get
from minikube_py.client.protocol import Client
from minikube_py.lib import pki
from minikube_py.lib.clock import Clock
from minikube_py.lib.fsutil import write_atomic
from minikube_py.lib.pki import Subject

log = logging.getLogger(__name__)
ISSUE_SECONDS: Final = 60.0
"""Somebody has to approve, somebody to sign: controllers take well under a second for both."""
NODES: Final = "system:nodes"


class RefusedError(Exception):
    """The cluster does not issue the certificate."""


@dataclass(frozen=True)
class Kind:
    """One of a kubelet's certificates."""

    leaf: str
    signer: str
    usage: str


KINDS: Final = (
    Kind("kubelet-client", "kubernetes.io/kube-apiserver-client-kubelet", "client auth"),
    Kind("kubelet-serving", "kubernetes.io/kubelet-serving", "server auth"),
)


async def renew(member: Membership, client: Client, clock: Clock) -> None:
    """Renew what is due of a kubelet's certificates; what fails is left to joining again."""
    for kind in due(member, clock):
        try:
            async with asyncio.timeout(ISSUE_SECONDS):
                await _renew(kind, member, client)
        except (StatusError, RefusedError, TimeoutError) as error:
            log.warning("certificate not renewed by request leaf=%s error=%s", kind.leaf, error)
            return
        log.info("certificate renewed leaf=%s", kind.leaf)


def due(member: Membership, clock: Clock) -> Iterator[Kind]:
    """Yield which certificates to ask for; none where all are to be had anew by joining."""
    if (member.folder / RENEW).exists():
        return
    now = clock.now()
    yield from (kind for kind in KINDS if not member.is_good(kind.leaf, now))


async def _renew(kind: Kind, member: Membership, client: Client) -> None:
    key = pki.new_key()
    pem = await issued(client, request(kind, member, key))
    try:
        fits = pki.public_key_of(pem) == key.public_key()
    except ValueError:
        fits = False
    if not fits:
        raise RefusedError("what was issued is no certificate for our key")
    certificate_path, key_path = member.pair(kind.leaf)
    write_atomic(key_path, pki.key_to_pem(key))
    write_atomic(certificate_path, pem, 0o644)


def request(kind: Kind, member: Membership, key: pki.PrivateKey) -> dict[str, Any]:
    """Return the CertificateSigningRequest of one certificate."""
    serves = kind.usage == "server auth"
    names = pki.alternatives((member.node_name, *member.addresses)) if serves else ()
    subject = Subject(
        name=f"system:node:{member.node_name}", organizations=(NODES,), alternatives=names
    )
    return {
        "apiVersion": "certificates.k8s.io/v1",
        "kind": "CertificateSigningRequest",
        "metadata": {"generateName": "csr-"},
        "spec": {
            "request": base64.b64encode(pki.request(subject, key)).decode(),
            "signerName": kind.signer,
            "usages": ["digital signature", kind.usage],
        },
    }


async def issued(client: Client, csr: Obj) -> bytes:
    """Return the certificate that the cluster gives for a request; waits for as long as it takes.

    Raises:
        RefusedError: it was denied, or cannot be signed.
        StatusError: the server does not answer as it should.

    """
    made = await client.create(CERTIFICATESIGNINGREQUESTS, csr)
    name = made["metadata"]["name"]
    selector = f"metadata.name={name}"
    while True:
        # A watch may end at any time; the list after it misses nothing.
        listed = await client.list(CERTIFICATESIGNINGREQUESTS, field_selector=selector)
        for item in listed.items:
            if (pem := answer(item.obj)) is not None:
                return pem
        events = client.watch(
            CERTIFICATESIGNINGREQUESTS, revision=listed.revision, field_selector=selector
        )
        async for batch in events:
            found = (answer(e.item.obj) for e in batch if e.type != "BOOKMARK")
            if (pem := next((one for one in found if one is not None), None)) is not None:
                return pem


def answer(csr: Obj) -> bytes | None:
    """Return the certificate of a request, None as long as there is no answer."""
    for condition in get(csr, "status.conditions") or ():
        if condition["type"] in ("Denied", "Failed"):
            raise RefusedError(f"{condition.get('reason', '')}: {condition.get('message', '')}")
    text = get(csr, "status.certificate", "")
    return base64.b64decode(text) if text else None
