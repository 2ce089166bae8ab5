"""CertificateSigningRequests as objects, with the two subresources that decide on them."""

from base64 import b64encode
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.integration.conformance.api import Api

GROUP = "/apis/certificates.k8s.io/v1"
PATH = f"{GROUP}/certificatesigningrequests"
LABEL = "e2e=csr"


def request_pem() -> bytes:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "e2e-example")])
    builder = x509.CertificateSigningRequestBuilder().subject_name(name)
    signed = builder.sign(ec.generate_private_key(ec.SECP256R1()), hashes.SHA256())
    return signed.public_bytes(serialization.Encoding.PEM)


def signing_request(name: str) -> dict[str, Any]:
    return {
        "metadata": {"name": name, "labels": {"e2e": "csr"}},
        "spec": {
            "request": b64encode(request_pem()).decode(),
            "signerName": "example.com/e2e",
            "expirationSeconds": 3600,
            "usages": ["digital signature", "key encipherment", "client auth"],
        },
    }


@pytest.mark.conformance("Certificates API should support CSR API operations")
async def test_signing_requests_support_all_operations(api: Api) -> None:
    groups = {group["name"]: group for group in (await api.get("/apis"))["groups"]}
    wanted = {"groupVersion": "certificates.k8s.io/v1", "version": "v1"}
    assert wanted in groups["certificates.k8s.io"]["versions"]
    resources = {r["name"]: r["verbs"] for r in (await api.get(GROUP))["resources"]}
    for subresource in ("approval", "status"):
        verbs = resources[f"certificatesigningrequests/{subresource}"]
        assert verbs == ["get", "patch", "update"]

    async with api.watch(PATH, labelSelector=LABEL) as watcher:
        for name in "abc":
            await api.create(PATH, signing_request(name))
        assert [event.type for event in await watcher.take(3)] == ["ADDED"] * 3
        assert await api.names(f"{PATH}?labelSelector={LABEL}") == ["a", "b", "c"]
        one = f"{PATH}/a"
        patched = await api.patch(one, {"metadata": {"annotations": {"patched": "1"}}})
        assert patched["spec"]["username"] == "kubernetes-admin"
        metadata = {**patched["metadata"], "annotations": {"updated": "1"}}
        await api.put(one, {**patched, "metadata": metadata})
        assert [event.type for event in await watcher.take(2)] == ["MODIFIED"] * 2

        shown = await api.get(f"{one}/approval")
        approved = {"type": "Approved", "status": "True", "reason": "E2E", "message": "yes"}
        await api.put(f"{one}/approval", {**shown, "status": {"conditions": [approved]}})
        noted = await api.patch(
            f"{one}/approval", {"metadata": {"annotations": {"patchedapproval": "1"}}}
        )
        assert noted["metadata"]["annotations"]["patchedapproval"] == "1"
        assert noted["status"]["conditions"][0]["type"] == "Approved"

        shown = await api.get(f"{one}/status")
        certified = {"type": "E2E", "status": "True", "reason": "Set", "message": "status"}
        conditions = [*shown["status"]["conditions"], certified]
        updated = await api.put(f"{one}/status", {**shown, "status": {"conditions": conditions}})
        assert [c["type"] for c in updated["status"]["conditions"]] == ["Approved", "E2E"]
        noted = await api.patch(
            f"{one}/status", {"metadata": {"annotations": {"patchedstatus": "1"}}}
        )
        assert noted["metadata"]["annotations"]["patchedstatus"] == "1"
        assert [event.type for event in await watcher.take(4)] == ["MODIFIED"] * 4

        await api.delete(one)
        assert (await watcher.next()).type == "DELETED"
    assert (await api.call("GET", one)).status == 404
    await api.delete(f"{PATH}?labelSelector={LABEL}")
    assert await api.names(f"{PATH}?labelSelector={LABEL}") == []
