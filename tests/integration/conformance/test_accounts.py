"""Service accounts, their tokens, and reviews of what they may."""

from typing import Any

import aiohttp
import jwt
import pytest

from tests.integration.conformance.api import Api

MOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"
ISSUER = "https://kubernetes.default.svc.cluster.local"
REVIEWS = "/apis/authorization.k8s.io/v1"


async def account(api: Api, space: str, name: str, **fields: Any) -> dict[str, Any]:
    made = await api.create(f"{space}/serviceaccounts", {"metadata": {"name": name}, **fields})
    return dict(made)


async def token_of(api: Api, space: str, name: str) -> str:
    body = {"spec": {"expirationSeconds": 3600}}
    made = await api.create(f"{space}/serviceaccounts/{name}/token", body)
    return str(made["status"]["token"])


@pytest.mark.conformance(
    "ServiceAccounts should run through the lifecycle of a ServiceAccount",
    "ServiceAccounts should update a ServiceAccount",
)
async def test_an_account_is_made_changed_found_and_deleted(api: Api, space: str) -> None:
    path = f"{space}/serviceaccounts"
    label = "e2e=static"
    async with api.watch(path, labelSelector=label) as watcher:
        await api.create(path, {"metadata": {"name": "a", "labels": {"e2e": "static"}}})
        assert (await watcher.next()).type == "ADDED"
        patched = await api.patch(f"{path}/a", {"automountServiceAccountToken": False})
        assert patched["automountServiceAccountToken"] is False
        assert (await watcher.next()).type == "MODIFIED"
        updated = await api.put(f"{path}/a", {**patched, "automountServiceAccountToken": True})
        assert updated["automountServiceAccountToken"] is True
        assert (await watcher.next()).type == "MODIFIED"
        listed = await api.get(f"/api/v1/serviceaccounts?labelSelector={label}")
        assert [item["automountServiceAccountToken"] for item in listed["items"]] == [True]
        await api.delete(f"{path}?labelSelector={label}")
        assert (await watcher.next()).type == "DELETED"


@pytest.mark.conformance("ServiceAccounts should create a serviceAccountToken and ensure a...")
async def test_a_token_is_reviewed(api: Api, space: str) -> None:
    await account(api, space, "a")
    token = await token_of(api, space, "a")
    review = await api.create(
        "/apis/authentication.k8s.io/v1/tokenreviews", {"spec": {"token": token}}
    )
    assert review["status"]["authenticated"] is True
    assert "error" not in review["status"]
    assert review["status"]["user"]["username"] == "system:serviceaccount:n:a"


@pytest.mark.conformance("ServiceAccounts ServiceAccountIssuerDiscovery should support OIDC...")
async def test_an_account_verifies_its_token_by_discovery(api: Api, space: str) -> None:
    await account(api, space, "a")
    token = await token_of(api, space, "a")
    bearer = {"Authorization": f"Bearer {token}"}
    connector = aiohttp.TCPConnector(ssl=False)
    async with aiohttp.ClientSession(api.server.url, connector=connector, headers=bearer) as own:
        async with own.get("/.well-known/openid-configuration") as answer:
            assert answer.status == 200
            found = await answer.json()
        assert found["issuer"] == ISSUER
        assert found["jwks_uri"].endswith("/openid/v1/jwks")
        async with own.get("/openid/v1/jwks") as answer:
            assert answer.headers["Content-Type"] == "application/jwk-set+json"
            keys = jwt.PyJWKSet.from_dict(await answer.json(content_type=None))
    key = keys[jwt.get_unverified_header(token)["kid"]]
    algorithms = found["id_token_signing_alg_values_supported"]
    claims = jwt.decode(token, key, algorithms=algorithms, audience=ISSUER, issuer=ISSUER)
    assert claims["sub"] == "system:serviceaccount:n:a"


@pytest.mark.conformance("ServiceAccounts should guarantee kube-root-ca.crt exist in any namespace")
async def test_every_namespace_has_the_root_certificate(api: Api, space: str) -> None:
    path = f"{space}/configmaps/kube-root-ca.crt"
    made = await api.until(path)
    assert made["data"]["ca.crt"].startswith("-----BEGIN CERTIFICATE-----")
    await api.delete(path)
    again = await api.until(path)
    assert again["metadata"]["uid"] != made["metadata"]["uid"]
    await api.patch(path, {"data": {"ca.crt": None}})
    await api.until(path, lambda found: found.get("data") == made["data"])


@pytest.mark.conformance("ServiceAccounts should allow opting out of API token automount")
@pytest.mark.parametrize("of_account", [None, True, False])
@pytest.mark.parametrize("of_pod", [None, True, False])
async def test_a_token_is_mounted_unless_pod_or_else_account_refuses(
    api: Api, space: str, *, of_account: bool | None, of_pod: bool | None
) -> None:
    choice = {
        n: {} if v is None else {"automountServiceAccountToken": v}
        for n, v in (("account", of_account), ("pod", of_pod))
    }
    await account(api, space, "a", **choice["account"])
    container = {"name": "c", "image": "i"}
    spec = {"serviceAccountName": "a", "containers": [container], **choice["pod"]}
    pod = await api.create(f"{space}/pods", {"metadata": {"name": "p"}, "spec": spec})
    mounts = [m["mountPath"] for m in pod["spec"]["containers"][0].get("volumeMounts", ())]
    expected = of_pod if of_pod is not None else of_account is not False
    assert mounts == ([MOUNT] if expected else [])


@pytest.mark.conformance("SubjectReview should support SubjectReview API operations")
async def test_a_review_says_what_the_subject_finds(api: Api, space: str) -> None:
    await account(api, space, "a")
    user = "system:serviceaccount:n:a"
    rules = [{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["list"]}]
    roles = "/apis/rbac.authorization.k8s.io/v1/namespaces/n"
    await api.create(f"{roles}/roles", {"metadata": {"name": "r"}, "rules": rules})
    binding = {
        "metadata": {"name": "r"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "r"},
        "subjects": [{"kind": "ServiceAccount", "name": "a", "namespace": "n"}],
    }
    await api.create(f"{roles}/rolebindings", binding)
    for resource, allowed in (("configmaps", True), ("secrets", False)):
        found = await api.call("GET", f"{space}/{resource}", impersonate_user=user)
        assert found.status == (200 if allowed else 403)
        attributes = {"namespace": "n", "verb": "list", "resource": resource}
        body = {"spec": {"user": user, "resourceAttributes": attributes}}
        whole = await api.create(f"{REVIEWS}/subjectaccessreviews", body)
        path = f"{REVIEWS}/namespaces/n/localsubjectaccessreviews"
        local = await api.create(path, {"metadata": {"namespace": "n"}, **body})
        assert whole["status"]["allowed"] is local["status"]["allowed"] is allowed
