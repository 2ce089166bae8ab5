"""Users and rights by webhooks, over real HTTPS."""

import base64
import contextlib
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import pytest

from minikube_py.client import kubeconfig
from minikube_py.client.config import ClientConfig
from minikube_py.lib.errors import StartError
from tests.integration.conftest import Server, running
from tests.integration.patience import eventually
from tests.webhook_server import WebhookServer, webhook_server

CONFIGMAPS = "/api/v1/namespaces/default/configmaps"
REVIEWS = "/apis/authentication.k8s.io/v1"
TOKEN = "secret-of-the-webhook"


@pytest.fixture
async def far(tmp_path: Path) -> AsyncIterator[WebhookServer]:
    """Run the far end on an authority of its own: it must be there before the API server is."""
    (tmp_path / "far").mkdir()
    async with running(tmp_path / "far") as other:
        authority = other.app.bootstrap.cluster_ca
        async with webhook_server(tmp_path, authority) as server:
            server.folder = tmp_path
            yield server


def config_file(far: WebhookServer, path: str) -> str:
    file = far.folder / f"{path.strip('/')}.yaml"
    config = ClientConfig(
        server=f"https://127.0.0.1:{far.port}{path}",
        ca_data=base64.b64decode(far.bundle),
        token=TOKEN,
    )
    kubeconfig.save(file, config)
    return str(file)


@contextlib.asynccontextmanager
async def serving(far: WebhookServer, **options: Any) -> AsyncIterator[Server]:
    (far.folder / "server").mkdir()
    async with running(far.folder / "server", **options) as server:
        yield server


def whole(kind: str, version: str, **status: Any) -> dict[str, Any]:
    group = "authentication" if kind == "TokenReview" else "authorization"
    return {"kind": kind, "apiVersion": f"{group}.k8s.io/{version}", "status": status}


async def ask_as(server: Server, token: str, method: str, path: str, body: Any = None) -> Any:
    """Send one request with a token and without a certificate."""
    authority = server.app.bootstrap.cluster_ca.certificate_path
    context = ssl.create_default_context(cafile=str(authority))
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    async with (
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=context)) as session,
        session.request(
            method,
            server.url + path,
            headers=headers,
            data=None if body is None else orjson.dumps(body),
        ) as response,
    ):
        raw = await response.read()
        return response.status, orjson.loads(raw) if raw[:1] == b"{" else raw


async def whoami(server: Server, token: str) -> Any:
    review = {"kind": "SelfSubjectReview", "apiVersion": "authentication.k8s.io/v1"}
    return await ask_as(server, token, "POST", f"{REVIEWS}/selfsubjectreviews", review)


def known(asked: dict[str, Any]) -> dict[str, Any]:
    if asked["spec"]["token"] == "good":
        user = {"username": "ann", "uid": "7", "groups": ["staff"], "extra": {"team": ["a"]}}
        return whole("TokenReview", "v1", authenticated=True, user=user)
    if asked["spec"]["token"] == "old":
        return whole("TokenReview", "v1", authenticated=False, error="the token is too old")
    return whole("TokenReview", "v1", authenticated=False)


@pytest.mark.parametrize("version", ["v1", "v1beta1"])
async def test_a_webhook_tells_whose_a_token_is(far: WebhookServer, version: str) -> None:
    far.replies["/authenticate"] = known
    async with serving(
        far,
        authentication_token_webhook_config_file=config_file(far, "/authenticate"),
        authentication_token_webhook_version=version,
    ) as server:
        status, review = await whoami(server, "good")
        assert status == 201
        user = review["status"]["userInfo"]
        assert (user["username"], user["uid"], user["extra"]) == ("ann", "7", {"team": ["a"]})
        assert sorted(user["groups"]) == ["staff", "system:authenticated"]
        assert far.asked[0][1]["apiVersion"] == f"authentication.k8s.io/{version}"
        assert far.asked[0][1]["spec"]["audiences"] == [
            "https://kubernetes.default.svc.cluster.local"
        ]
        assert far.headers[0]["Authorization"] == f"Bearer {TOKEN}"
        for token in ("bad", "old"):
            assert (await whoami(server, token))[0] == 401
        before = len(far.asked)
        for token in ("good", "bad", "old"):
            await whoami(server, token)
        assert len(far.asked) == before

        spec = {"token": "old"}
        review = (await server.call("POST", f"{REVIEWS}/tokenreviews", {"spec": spec})).body
        assert "the token is too old" in review["status"]["error"]


async def test_failures_of_the_webhook_are_not_remembered(far: WebhookServer) -> None:
    far.replies["/authenticate"] = lambda _asked: {"kind": "Other"}
    async with serving(
        far, authentication_token_webhook_config_file=config_file(far, "/authenticate")
    ) as server:
        assert (await whoami(server, "good"))[0] == 401
        far.replies["/authenticate"] = known
        assert (await whoami(server, "good"))[0] == 201


async def test_an_audience_that_the_webhook_does_not_mean_is_no_user(far: WebhookServer) -> None:
    def other(_asked: dict[str, Any]) -> dict[str, Any]:
        return whole(
            "TokenReview", "v1", authenticated=True, user={"username": "ann"}, audiences=["other"]
        )

    far.replies["/authenticate"] = other
    async with serving(
        far, authentication_token_webhook_config_file=config_file(far, "/authenticate")
    ) as server:
        assert (await whoami(server, "good"))[0] == 401
        spec = {"token": "good", "audiences": ["other"]}
        review = (await server.call("POST", f"{REVIEWS}/tokenreviews", {"spec": spec})).body
        assert review["status"]["authenticated"] is True
        assert review["status"]["audiences"] == ["other"]


# --- rights ---------------------------------------------------------------------------------------


def judge(asked: dict[str, Any]) -> dict[str, Any]:
    """Let ann read and make config maps, deny secrets to everybody, know nothing else."""
    spec = asked["spec"]
    wanted = spec.get("resourceAttributes") or {}
    if wanted.get("resource") == "secrets":
        return whole("SubjectAccessReview", "v1", allowed=False, denied=True, reason="no secrets")
    allowed = spec["user"] == "ann" and (
        wanted.get("resource") in ("configmaps", "users")
        or (spec.get("nonResourceAttributes") or {}).get("path") == "/metrics"
    )
    return whole("SubjectAccessReview", "v1", allowed=allowed, reason="" if allowed else "no idea")


@contextlib.asynccontextmanager
async def deciding(far: WebhookServer, *modes: str, **options: Any) -> AsyncIterator[Server]:
    far.replies["/authenticate"], far.replies["/authorize"] = known, judge
    async with serving(
        far,
        authentication_token_webhook_config_file=config_file(far, "/authenticate"),
        authorization_mode=modes or ("Node", "RBAC", "Webhook"),
        authorization_webhook_config_file=config_file(far, "/authorize"),
        **options,
    ) as server:
        yield server


@pytest.mark.parametrize(("version", "groups"), [("v1", "groups"), ("v1beta1", "group")])
async def test_a_webhook_tells_what_a_user_may_do(
    far: WebhookServer, version: str, groups: str
) -> None:
    async with deciding(far, authorization_webhook_version=version) as server:
        body = {"metadata": {"name": "one"}}
        assert (await ask_as(server, "good", "POST", CONFIGMAPS, body))[0] == 201
        (asked,) = far.requests("/authorize")
        assert asked["apiVersion"] == f"authorization.k8s.io/{version}"
        assert asked["spec"]["resourceAttributes"] == {
            "namespace": "default",
            "verb": "create",
            "version": "v1",
            "resource": "configmaps",
        }
        assert sorted(asked["spec"][groups]) == ["staff", "system:authenticated"]
        assert asked["spec"]["user"] == "ann"

        for _ in range(2):
            status, refusal = await ask_as(server, "good", "GET", "/api/v1/nodes")
            assert status == 403
            assert refusal["message"].endswith("no idea")
        assert len(far.requests("/authorize")) == 2
        assert (await ask_as(server, "good", "GET", "/metrics"))[0] == 200
        assert far.requests("/authorize")[-1]["spec"]["nonResourceAttributes"] == {
            "path": "/metrics",
            "verb": "get",
        }


async def test_who_is_let_in_by_others_is_not_asked_about(far: WebhookServer) -> None:
    async with deciding(far) as server:
        assert (await server.call("GET", CONFIGMAPS)).status == 200
        assert far.requests("/authorize") == []


async def test_a_denial_before_the_roles_outweighs_them(far: WebhookServer) -> None:
    binding = {
        "metadata": {"name": "ann"},
        "roleRef": {
            "apiGroup": "rbac.authorization.k8s.io",
            "kind": "ClusterRole",
            "name": "cluster-admin",
        },
        "subjects": [{"kind": "User", "name": "ann", "apiGroup": "rbac.authorization.k8s.io"}],
    }
    async with deciding(far, "Webhook", "RBAC") as server:
        path = "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings"
        assert (await server.call("POST", path, binding)).status == 201
        status, refusal = await ask_as(server, "good", "GET", "/api/v1/namespaces/a/secrets")
        assert status == 403
        assert refusal["message"].endswith("no secrets")
        assert (await ask_as(server, "good", "GET", "/api/v1/namespaces/a/pods"))[0] == 200


async def test_an_apply_that_creates_is_asked_about_too(far: WebhookServer) -> None:
    async with deciding(far) as server:
        body = {"kind": "ConfigMap", "apiVersion": "v1", "metadata": {"name": "one"}}
        headers = {
            "Impersonate-User": "ann",
            "Content-Type": "application/apply-patch+yaml",
        }
        path = f"{server.url}{CONFIGMAPS}/one?fieldManager=me"
        async with server.session.patch(path, data=orjson.dumps(body), headers=headers) as answer:
            assert answer.status == 201, await answer.text()
        verbs = {r["spec"]["resourceAttributes"]["verb"] for r in far.requests("/authorize")}
        assert verbs == {"patch", "create"}


async def test_a_review_asks_the_webhook(far: WebhookServer) -> None:
    async with deciding(far) as server:
        wanted = {"verb": "get", "resource": "configmaps", "namespace": "x"}
        spec = {"user": "ann", "resourceAttributes": wanted}
        path = "/apis/authorization.k8s.io/v1/subjectaccessreviews"
        answer = await server.call("POST", path, {"spec": spec})
        assert answer.body["status"]["allowed"] is True
        spec = {"user": "ann", "resourceAttributes": {**wanted, "resource": "secrets"}}
        answer = await server.call("POST", path, {"spec": spec})
        assert (answer.body["status"]["allowed"], answer.body["status"]["denied"]) == (False, True)


async def test_rules_of_a_webhook_cannot_be_listed(far: WebhookServer) -> None:
    async with deciding(far) as server:
        path = "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews"
        status = (await server.call("POST", path, {"spec": {"namespace": "x"}})).body["status"]
        assert status["incomplete"] is True
        assert status["evaluationError"] == (
            "webhook authorizer does not support user rule resolution"
        )


async def test_a_webhook_that_fails_is_a_fault_for_those_that_only_it_could_let_in(
    far: WebhookServer,
) -> None:
    async with deciding(far) as server:
        far.replies["/authorize"] = lambda _asked: {"kind": "Other"}
        status, refusal = await ask_as(server, "good", "GET", CONFIGMAPS)
        assert status == 500
        assert refusal["message"].startswith('Internal Server Error: "/api/v1/')
        assert (await server.call("GET", CONFIGMAPS)).status == 200
        far.replies["/authorize"] = judge
        assert (await ask_as(server, "good", "GET", CONFIGMAPS))[0] == 200


async def test_a_file_that_names_no_webhook_is_told_at_the_start(tmp_path: Path) -> None:
    with pytest.raises(StartError, match="--authentication-token-webhook-config-file"):
        async with running(
            tmp_path, authentication_token_webhook_config_file=str(tmp_path / "nothing")
        ):
            pass


def configuration(far: WebhookServer, **webhook: Any) -> bytes:
    """Return a file that asks the far end first, then roles."""
    asked = {
        "timeout": "3s",
        "subjectAccessReviewVersion": "v1",
        "matchConditionSubjectAccessReviewVersion": "v1",
        "failurePolicy": "NoOpinion",
        "connectionInfo": {
            "type": "KubeConfigFile",
            "kubeConfigFile": config_file(far, "/authorize"),
        },
        **webhook,
    }
    return orjson.dumps(
        {
            "apiVersion": "apiserver.config.k8s.io/v1",
            "kind": "AuthorizationConfiguration",
            "authorizers": [
                {"type": "Webhook", "name": "far", "webhook": asked},
                {"type": "Node", "name": "node"},
                {"type": "RBAC", "name": "rbac"},
            ],
        }
    )


async def test_a_file_says_who_decides_and_is_followed(far: WebhookServer) -> None:
    file = far.folder / "authorization.yaml"
    only_ann = [{"expression": "request.user == 'ann'"}]
    file.write_bytes(configuration(far, matchConditions=only_ann))
    far.replies["/authenticate"], far.replies["/authorize"] = known, judge
    async with serving(
        far,
        authentication_token_webhook_config_file=config_file(far, "/authenticate"),
        authorization_config=str(file),
    ) as server:
        path = f"{CONFIGMAPS}?labelSelector=app%3Dweb"
        assert (await ask_as(server, "good", "GET", path))[0] == 200
        assert (await server.call("GET", CONFIGMAPS)).status == 200
        (asked,) = far.requests("/authorize")
        requirement = {"key": "app", "operator": "In", "values": ["web"]}
        assert asked["spec"]["resourceAttributes"]["labelSelector"] == {
            "requirements": [requirement]
        }

        nobody = [{"expression": "request.user == 'nobody'"}]
        new = file.with_suffix(".new")
        new.write_bytes(configuration(far, matchConditions=nobody))
        new.rename(file)
        await eventually(
            lambda: ask_as(server, "good", "GET", CONFIGMAPS), lambda answer: answer[0] == 403
        )


@pytest.mark.parametrize(("policy", "extra"), [("NoOpinion", {}), ("Deny", {"denied": True})])
async def test_a_review_says_that_the_webhook_did_not_answer(
    far: WebhookServer, policy: str, extra: dict[str, Any]
) -> None:
    file = far.folder / "authorization.yaml"
    file.write_bytes(configuration(far, failurePolicy=policy))
    far.replies["/authorize"] = lambda _asked: {"kind": "Other"}
    async with serving(far, authorization_config=str(file)) as server:
        wanted = {"verb": "get", "resource": "configmaps", "namespace": "x"}
        spec = {"user": "ann", "resourceAttributes": wanted}
        path = "/apis/authorization.k8s.io/v1/subjectaccessreviews"
        status = (await server.call("POST", path, {"spec": spec})).body["status"]
        problem = status.pop("evaluationError")
        assert status == {"allowed": False, **extra}
        assert "SubjectAccessReview" in problem
