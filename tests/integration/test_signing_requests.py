"""Requests for certificates: decided, signed and cleared away as upstream does it."""

import base64
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from minikube_py.lib import pki
from tests.integration.conftest import Server, running
from tests.integration.patience import eventually

CSRS = "/apis/certificates.k8s.io/v1/certificatesigningrequests"
CLIENT = ("digital signature", "client auth")
KUBELET, ANYONE = (
    "kubernetes.io/kube-apiserver-client-kubelet",
    "kubernetes.io/kube-apiserver-client",
)
RBAC = "rbac.authorization.k8s.io"
NODE = pki.Subject(name="system:node:a", organizations=("system:nodes",))


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[Server]:
    async with running(tmp_path, disable_controller_manager=False) as made:
        yield made


def csr(name: str, signer: str, subject: pki.Subject, key: Any, **spec: Any) -> dict[str, Any]:
    request = base64.b64encode(pki.request(subject, key)).decode()
    wanted = {"signerName": signer, "request": request, "usages": list(CLIENT), **spec}
    return {
        "apiVersion": "certificates.k8s.io/v1",
        "kind": "CertificateSigningRequest",
        "metadata": {"name": name},
        "spec": wanted,
    }


async def approve(cluster: Server, name: str) -> None:
    found = (await cluster.call("GET", f"{CSRS}/{name}")).body
    condition = {"type": "Approved", "status": "True", "reason": "Tested", "message": "fine"}
    found["status"] = {"conditions": [condition]}
    answer = await cluster.call("PUT", f"{CSRS}/{name}/approval", found)
    assert answer.status == 200, answer.body


async def status_of(cluster: Server, name: str, wanted: str) -> Any:
    """Return a part of the status once it is there."""

    async def found() -> Any:
        status: dict[str, Any] = (await cluster.call("GET", f"{CSRS}/{name}")).body["status"]
        if wanted == "certificate":
            return status.get("certificate")
        return [c for c in status.get("conditions") or () if c["type"] == wanted]

    return await eventually(found, bool)


async def test_an_approved_request_gives_a_user(cluster: Server, tmp_path: Path) -> None:
    key = pki.new_key()
    jane = pki.Subject(name="jane", organizations=("readers",))
    answer = await cluster.call("POST", CSRS, csr("jane", ANYONE, jane, key))
    assert answer.status == 201, answer.body
    await approve(cluster, "jane")
    pem = base64.b64decode(await status_of(cluster, "jane", "certificate"))
    (tmp_path / "jane.crt").write_bytes(pem)
    (tmp_path / "jane.key").write_bytes(pki.key_to_pem(key))
    tls = ssl.create_default_context(cafile=tmp_path / "server" / "tls" / "cluster-ca.crt")
    tls.load_cert_chain(tmp_path / "jane.crt", tmp_path / "jane.key")
    review = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
    url = f"{cluster.url}/apis/authentication.k8s.io/v1/selfsubjectreviews"
    async with cluster.session.post(url, json=review, ssl=tls) as response:
        user = (await response.json())["status"]["userInfo"]
    assert (user["username"], user["groups"]) == ("jane", ["readers", "system:authenticated"])


async def test_a_request_that_its_signer_may_not_sign_fails(cluster: Server) -> None:
    mallory = pki.Subject(name="system:node:a", organizations=("system:masters",))
    for name, signer, subject, usages, why in (
        ("masters", KUBELET, mallory, CLIENT, "subject organization is not system:nodes"),
        ("usages", KUBELET, NODE, ("client auth", "server auth"),
         "usages did not match [client auth digital signature key encipherment]"),
        ("serving", "kubernetes.io/kubelet-serving", NODE, ("digital signature", "server auth"),
         "DNS or IP subjectAltName is required"),
        ("client", ANYONE, NODE, ("server auth",),
         "invalid usage for client certificate: server auth"),
    ):  # fmt: skip
        body = csr(name, signer, subject, pki.new_key(), usages=list(usages))
        assert (await cluster.call("POST", CSRS, body)).status == 201
        await approve(cluster, name)
        (failed,) = await status_of(cluster, name, "Failed")
        assert (failed["reason"], failed["message"]) == ("SignerValidationFailure", why)


async def test_a_node_that_may_gets_its_own_certificate_without_asking(cluster: Server) -> None:
    role = "system:certificates.k8s.io:certificatesigningrequests:selfnodeclient"
    binding = {
        "apiVersion": f"{RBAC}/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": "nodes-renew"},
        "roleRef": {"apiGroup": RBAC, "kind": "ClusterRole", "name": role},
        "subjects": [{"kind": "Group", "name": "system:nodes", "apiGroup": RBAC}],
    }
    path = f"/apis/{RBAC}/v1/clusterrolebindings"
    assert (await cluster.call("POST", path, binding)).status == 201
    body = csr("own", KUBELET, NODE, pki.new_key())
    headers = {"Impersonate-User": NODE.name, "Impersonate-Group": "system:nodes"}
    assert (await cluster.call("POST", CSRS, body, **headers)).status == 201
    assert await status_of(cluster, "own", "certificate")
    (approved,) = await status_of(cluster, "own", "Approved")
    assert approved["message"].startswith("Auto approving self kubelet client certificate")


async def test_one_node_cannot_ask_for_the_certificate_of_another(cluster: Server) -> None:
    other = pki.Subject(name="system:node:b", organizations=("system:nodes",))
    body = csr("other", KUBELET, other, pki.new_key())
    headers = {"Impersonate-User": NODE.name, "Impersonate-Group": "system:nodes"}
    answer = await cluster.call("POST", CSRS, body, **headers)
    assert answer.status == 403, answer.body
