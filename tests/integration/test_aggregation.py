"""APIs of other servers: a real one on loopback, with TLS of its own, behind this API server."""

import asyncio
import base64
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from minikube_py.api.errors import ForbiddenError, NotFoundError
from minikube_py.server.attributes import User
from tests.integration.conftest import Answer, Server, running
from tests.integration.patience import SECONDS_MAX, eventually
from tests.integration.sample_api_server import (
    GROUP,
    NAMESPACE,
    ROOT,
    SERVICE,
    VERSION,
    SampleApiServer,
    serving,
)
from tests.ports import free_port

API_SERVICES = "/apis/apiregistration.k8s.io/v1/apiservices"
NAME = f"{VERSION}.{GROUP}"
FLUNDERS = f"{ROOT}/namespaces/{NAMESPACE}/flunders"
AGGREGATED = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"


def condition(answer: Answer) -> dict[str, str]:
    conditions = (answer.body.get("status") or {}).get("conditions") or [{}]
    return dict(conditions[0])


async def until(server: Server, reason: str, name: str = NAME) -> dict[str, str]:
    answer = await eventually(
        lambda: server.call("GET", f"{API_SERVICES}/{name}"),
        lambda answer: answer.status == 200 and condition(answer).get("reason") == reason,
    )
    return condition(answer)


def shown(answer: Answer) -> dict[str, Any]:
    """Return the versions that aggregated discovery shows, by group."""
    return {item["metadata"]["name"]: item["versions"] for item in answer.body["items"]}


def flunder(name: str) -> dict[str, Any]:
    return {
        "apiVersion": f"{GROUP}/{VERSION}",
        "kind": "Flunder",
        "metadata": {"name": name},
        "spec": {"reference": "x"},
    }


async def add_service(server: Server, spec: dict[str, Any]) -> None:
    await server.call("POST", "/api/v1/namespaces", {"metadata": {"name": NAMESPACE}})
    answer = await server.call(
        "POST",
        f"/api/v1/namespaces/{NAMESPACE}/services",
        {"metadata": {"name": SERVICE}, "spec": spec},
    )
    assert answer.status == 201, answer.body


async def add_api_service(server: Server, port: int = 443, **spec: Any) -> None:
    answer = await server.call(
        "POST",
        API_SERVICES,
        {
            "metadata": {"name": NAME},
            "spec": {
                "group": GROUP,
                "version": VERSION,
                "groupPriorityMinimum": 2000,
                "versionPriority": 200,
                "service": {"namespace": NAMESPACE, "name": SERVICE, "port": port},
                **spec,
            },
        },
    )
    assert answer.status == 201, answer.body


async def requestheader_ca(server: Server) -> str:
    path = "/api/v1/namespaces/kube-system/configmaps/extension-apiserver-authentication"
    data = (await server.call("GET", path)).body["data"]
    return str(data["requestheader-client-ca-file"])


@pytest.fixture
async def sample(server: Server, tmp_path: Path) -> AsyncIterator[SampleApiServer]:
    """A sample API server that is registered and available."""
    async with serving(tmp_path, free_port(), await requestheader_ca(server)) as sample:
        await add_service(server, {"type": "ExternalName", "externalName": "localhost"})
        bundle = base64.b64encode(sample.ca_pem).decode()
        await add_api_service(server, sample.port, caBundle=bundle)
        await until(server, "Passed")
        yield sample


async def assert_conditions_are_kept(server: Server) -> None:
    """Add conditions by PUT and by PATCH; the aggregator's own one stays the first."""
    path = f"{API_SERVICES}/{NAME}/status"
    found = (await server.call("GET", path)).body
    first = found["status"]["conditions"][0]
    assert (first["type"], first["message"]) == ("Available", "all checks passed")
    added = {"type": "StatusUpdated", "status": "True", "lastTransitionTime": None}
    status = {"conditions": [*found["status"]["conditions"], added]}
    assert (await server.call("PUT", path, {**found, "status": status})).status == 200
    status = {"conditions": [*status["conditions"], {**added, "type": "StatusPatched"}]}
    kind = "application/merge-patch+json"
    assert (await server.call("PATCH", path, {"status": status}, content_type=kind)).status == 200
    found = (await server.call("GET", path)).body
    types = [condition["type"] for condition in found["status"]["conditions"]]
    assert types == ["Available", "StatusUpdated", "StatusPatched"]


@pytest.mark.conformance(
    "Aggregator Should be able to support the 1.17 Sample API Server using the current Aggregator"
)
async def test_the_aggregator_supports_the_sample_api_server(
    server: Server, sample: SampleApiServer
) -> None:
    created = await server.call("POST", FLUNDERS, flunder("one"))
    assert (created.status, created.body["spec"]) == (201, {"reference": "x"})
    assert (await server.call("GET", f"{FLUNDERS}/one")).body["metadata"]["name"] == "one"
    assert len((await server.call("GET", FLUNDERS)).body["items"]) == 1
    changed = {**flunder("one"), "spec": {"reference": "y"}}
    assert (await server.call("PUT", f"{FLUNDERS}/one", changed)).body["spec"]["reference"] == "y"
    assert (await server.call("DELETE", f"{FLUNDERS}/one")).status == 200
    assert (await server.call("GET", f"{FLUNDERS}/one")).status == 404
    patched = await server.call(
        "PATCH",
        f"{API_SERVICES}/{NAME}",
        {"metadata": {"labels": {"e2e": "patched"}}},
        content_type="application/merge-patch+json",
    )
    assert patched.body["metadata"]["labels"] == {"e2e": "patched"}
    await assert_conditions_are_kept(server)
    gone = await server.call("DELETE", f"{API_SERVICES}?labelSelector=e2e%3Dpatched")
    assert gone.status == 200
    await eventually(lambda: server.call("GET", FLUNDERS), lambda answer: answer.status == 404)
    assert sample.flunders == {}


async def test_a_body_without_a_type_is_handed_on_without_one(
    server: Server, sample: SampleApiServer
) -> None:
    body = orjson.dumps(flunder("one"))
    async with server.session.post(
        f"{server.url}{FLUNDERS}", data=body, skip_auto_headers=("Content-Type",)
    ) as answer:
        assert (answer.status, (await answer.json())["kind"]) == (201, "Flunder")
    (request,) = [request for _, method, request in sample.asked if method == "POST"]
    assert "Content-Type" not in request.headers


async def test_the_other_server_learns_who_asks(server: Server, sample: SampleApiServer) -> None:
    sample.asked.clear()
    await server.call("GET", FLUNDERS, authorization="Bearer x", x_remote_user="root")
    [(user, _, request)] = [asked for asked in sample.asked if asked[2].path == FLUNDERS]
    assert user == "kubernetes-admin"
    assert request.headers.getall("X-Remote-User") == ["kubernetes-admin"]
    groups = request.headers.getall("X-Remote-Group")
    assert groups == ["system:masters", "system:authenticated"]
    extra = request.headers["X-Remote-Extra-Authentication.kubernetes.io%2fcredential-Id"]
    assert extra.startswith("X509SHA256=")
    assert "Authorization" not in request.headers
    assert request.headers["X-Forwarded-For"] == "127.0.0.1"
    tls = request.transport and request.transport.get_extra_info("ssl_object")
    assert tls.getpeercert()["subject"][-1][0] == ("commonName", "front-proxy-client")


async def test_headers_of_other_names_say_nothing_to_the_other_server(tmp_path: Path) -> None:
    names = {"requestheader_username_headers": ("X-Web-User",)}
    async with (
        running(tmp_path, **names) as server,
        serving(tmp_path, free_port(), await requestheader_ca(server)) as sample,
    ):
        await add_service(server, {"type": "ExternalName", "externalName": "localhost"})
        await add_api_service(server, sample.port, insecureSkipTLSVerify=True)
        await until(server, "Passed")
        sample.asked.clear()
        await server.call("GET", FLUNDERS, x_web_user="root")
        [request] = [asked[2] for asked in sample.asked if asked[2].path == FLUNDERS]
        assert "X-Web-User" not in request.headers
        url = f"{server.url}{ROOT}/echo"
        async with server.session.ws_connect(url, headers={"X-Web-User": "root"}) as socket:
            await socket.send_str("hello")
            await socket.receive_str(timeout=SECONDS_MAX)
        assert all("X-Web-User" not in asked[2].headers for asked in sample.asked)


async def test_who_may_not_is_not_handed_on(server: Server, sample: SampleApiServer) -> None:
    sample.asked.clear()
    answer = await server.call("GET", FLUNDERS, impersonate_user="jane")
    assert answer.status == 403
    assert answer.body["message"] == (
        f'flunders.{GROUP} is forbidden: User "jane" cannot list resource "flunders" in API group '
        f'"{GROUP}" in the namespace "{NAMESPACE}"'
    )
    assert "jane" not in {user for user, _, _ in sample.asked}


async def test_a_watch_of_another_server_streams(server: Server, sample: SampleApiServer) -> None:
    async with server.session.get(f"{server.url}{FLUNDERS}?watch=true") as watch:
        for name in ("one", "two"):
            await server.call("POST", FLUNDERS, flunder(name))
            async with asyncio.timeout(SECONDS_MAX):
                event = orjson.loads(await watch.content.readline())
            assert (event["type"], event["object"]["metadata"]["name"]) == ("ADDED", name)
    assert len(sample.flunders) == 2


async def test_parts_in_process_read_what_other_servers_answer_for(
    server: Server, sample: SampleApiServer
) -> None:
    await server.call("POST", FLUNDERS, flunder("one"))
    client = server.app.loopback(User("root", ("system:masters",)))
    found = await client.read(FLUNDERS, {"labelSelector": "a=b"})
    assert [one["metadata"]["name"] for one in found["items"]] == ["one"]
    [request] = [request for user, _, request in sample.asked if user == "root"]
    assert (request.path, dict(request.query)) == (FLUNDERS, {"labelSelector": "a=b"})
    with pytest.raises(NotFoundError):
        await client.read(f"{FLUNDERS}/two")
    nobody = server.app.loopback("nobody")
    with pytest.raises(ForbiddenError):
        await nobody.read(FLUNDERS)
    own = await client.read(f"/api/v1/namespaces/{NAMESPACE}/services/{SERVICE}")
    assert own["kind"] == "Service"
    listed = await client.read("/api/v1/nodes")
    assert listed["kind"] == "NodeList"
    with pytest.raises(NotFoundError):
        await client.read("/apis/nothing.example.com/v1/things")


async def test_parts_in_process_have_other_servers_delete(
    server: Server, sample: SampleApiServer
) -> None:
    for name in ("one", "two"):
        await server.call("POST", FLUNDERS, flunder(name))
    client = server.app.loopback(User("root", ("system:masters",)))
    await client.remove(f"{FLUNDERS}/one")
    assert [name for _, name in sample.flunders] == ["two"]
    with pytest.raises(ForbiddenError):
        await server.app.loopback("nobody").remove(FLUNDERS)
    await client.remove(FLUNDERS)
    assert sample.flunders == {}
    *_, request = [request for user, _, request in sample.asked if user == "root"]
    assert dict(request.query) == {"propagationPolicy": "Background"}
    with pytest.raises(NotFoundError):
        await client.remove("/api/v1/namespaces/default/configmaps")


async def test_an_upgrade_goes_through(server: Server, sample: SampleApiServer) -> None:
    assert sample.port
    async with server.session.ws_connect(f"{server.url}{ROOT}/echo") as socket:
        await socket.send_str("hello")
        assert await socket.receive_str(timeout=SECONDS_MAX) == "kubernetes-admin: hello"


async def test_discovery_shows_what_other_servers_serve(
    server: Server, sample: SampleApiServer
) -> None:
    groups = [group["name"] for group in (await server.call("GET", "/apis")).body["groups"]]
    assert groups[0] == "apiregistration.k8s.io"
    assert groups[-1] == GROUP  # in the order of their priorities
    group = (await server.call("GET", f"/apis/{GROUP}")).body
    assert group["preferredVersion"] == {"groupVersion": f"{GROUP}/{VERSION}", "version": VERSION}
    assert (await server.call("GET", ROOT)).body["resources"][0]["name"] == "flunders"
    answer = await eventually(
        lambda: server.call("GET", "/apis", accept=AGGREGATED),
        lambda answer: GROUP in shown(answer),
    )
    [version] = shown(answer)[GROUP]
    assert (version["freshness"], version["resources"][0]["resource"]) == ("Current", "flunders")
    assert sample.aggregated_discovery


async def test_a_server_without_aggregated_discovery_is_shown_alike(
    server: Server, sample: SampleApiServer
) -> None:
    sample.aggregated_discovery = False
    await server.call(
        "PATCH",
        f"{API_SERVICES}/{NAME}",
        {"spec": {"versionPriority": 201}},
        content_type="application/merge-patch+json",
    )
    answer = await eventually(
        lambda: server.call("GET", "/apis", accept=AGGREGATED),
        lambda answer: (
            GROUP in shown(answer) and "shortNames" not in shown(answer)[GROUP][0]["resources"][0]
        ),
    )
    [resource] = shown(answer)[GROUP][0]["resources"]
    assert resource == {
        "resource": "flunders",
        "responseKind": {"group": "", "version": "", "kind": "Flunder"},
        "scope": "Namespaced",
        "singularResource": "flunder",
        "verbs": [
            "create",
            "delete",
            "deletecollection",
            "get",
            "list",
            "patch",
            "update",
            "watch",
        ],
    }


async def test_openapi_holds_what_other_servers_say(
    server: Server, sample: SampleApiServer
) -> None:
    index = await eventually(
        lambda: server.call("GET", "/openapi/v3"), lambda answer: ROOT[1:] in _paths(answer)
    )
    url = _paths(index)[ROOT[1:]]["serverRelativeURL"]
    assert (await server.call("GET", url)).body["openapi"] == "3.0.0"
    document = (await server.call("GET", "/openapi/v2")).body
    assert f"{ROOT}/namespaces/{{namespace}}/flunders" in document["paths"]
    assert "/api/v1/pods" in document["paths"]
    assert "example.Flunder" in document["definitions"]
    assert "example.Unused" not in document["definitions"]
    accept = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf"
    packed = await server.call("GET", "/openapi/v2", accept=accept)
    assert b"example.Flunder" in packed.raw
    assert sample.port


def _paths(answer: Answer) -> dict[str, Any]:
    return dict(orjson.loads(answer.raw)["paths"])


async def test_a_server_that_fails_is_unavailable_and_comes_back(
    server: Server, sample: SampleApiServer
) -> None:
    await eventually(  # what it serves is learned right after it is found to be there
        lambda: server.call("GET", "/apis", accept=AGGREGATED),
        lambda answer: shown(answer).get(GROUP, [{}])[0].get("freshness") == "Current",
    )
    sample.ill = True
    await server.call(
        "PATCH",
        f"{API_SERVICES}/{NAME}",
        {"spec": {"versionPriority": 7}},
        content_type="application/merge-patch+json",
    )
    said = await until(server, "FailedDiscoveryCheck")
    url = f"https://localhost:{sample.port}{ROOT}"
    assert said["message"] == (
        f"failing or missing response from {url}: bad status from {url}: 500"
    )
    answer = await server.call("GET", FLUNDERS)
    assert (answer.status, answer.raw) == (503, b"service unavailable\n")
    answer = await eventually(
        lambda: server.call("GET", "/apis", accept=AGGREGATED),
        lambda answer: shown(answer)[GROUP][0]["freshness"] == "Stale",
    )
    assert shown(answer)[GROUP][0]["resources"][0]["resource"] == "flunders"
    sample.ill = False
    assert (await until(server, "Passed"))["message"] == "all checks passed"
    assert (await server.call("GET", FLUNDERS)).status == 200


async def test_a_certificate_that_is_not_of_the_bundle_is_refused(
    server: Server, sample: SampleApiServer, tmp_path: Path
) -> None:
    other = base64.b64encode((tmp_path / "server/tls/client-ca.crt").read_bytes()).decode()
    patch = {"spec": {"caBundle": other}}
    merge = "application/merge-patch+json"
    await server.call("PATCH", f"{API_SERVICES}/{NAME}", patch, content_type=merge)
    answer = await server.call("GET", FLUNDERS)
    assert answer.status == 503
    assert answer.raw.startswith(b"error trying to reach service: ")
    patch = {"spec": {"caBundle": None, "insecureSkipTLSVerify": True}}
    await server.call("PATCH", f"{API_SERVICES}/{NAME}", patch, content_type=merge)
    assert (await server.call("GET", FLUNDERS)).status == 200
    assert sample.port


async def test_a_service_without_endpoints_by_its_cluster_ip(tmp_path: Path) -> None:
    port, cluster_ip = free_port(), "127.5.0.77"
    # The sample server ends last, so that nothing of its client is left half open.
    async with (
        contextlib.AsyncExitStack() as last,
        running(tmp_path, service_cidr="127.5.0.0/16") as server,
    ):
        ca = await requestheader_ca(server)
        sample = await last.enter_async_context(serving(tmp_path, port, ca, host=cluster_ip))
        ports = [{"port": port, "targetPort": port}]
        await add_service(server, {"type": "NodePort", "clusterIP": cluster_ip, "ports": ports})
        bundle = base64.b64encode(sample.ca_pem).decode()
        await add_api_service(server, port, caBundle=bundle)
        await until(server, "Passed")
        assert (await server.call("GET", FLUNDERS)).status == 200


@pytest.mark.parametrize(
    ("service", "slices", "reason", "message"),
    [
        (None, None, "ServiceNotFound", f'service/{SERVICE} in "{NAMESPACE}" is not present'),
        (
            {"ports": [{"port": 8443}]},
            None,
            "ServicePortError",
            f'service/{SERVICE} in "{NAMESPACE}" is not listening on port 443',
        ),
        (
            {"ports": [{"port": 443}]},
            None,
            "EndpointsNotFound",
            f'cannot find endpointslices for service/{SERVICE} in "{NAMESPACE}"',
        ),
        (
            {"ports": [{"port": 443, "name": "https"}]},
            [{"name": "other", "port": 443}],
            "MissingEndpoints",
            (
                f'endpointslices for service/{SERVICE} in "{NAMESPACE}" have no addresses with '
                'port name "https"'
            ),
        ),
    ],
)
async def test_what_is_missing_is_said_as_upstream_does(
    server: Server, service: Any, slices: Any, reason: str, message: str
) -> None:
    await server.call("POST", "/api/v1/namespaces", {"metadata": {"name": NAMESPACE}})
    await add_api_service(server)
    assert (await until(server, "ServiceNotFound"))["status"] == "False"
    if service is not None:
        await add_service(server, service)
    if slices is not None:
        answer = await server.call(
            "POST",
            f"/apis/discovery.k8s.io/v1/namespaces/{NAMESPACE}/endpointslices",
            {
                "metadata": {"name": "a", "labels": {"kubernetes.io/service-name": SERVICE}},
                "addressType": "IPv4",
                "endpoints": [{"addresses": ["192.0.2.1"]}],
                "ports": slices,
            },
        )
        assert answer.status == 201, answer.body
    assert (await until(server, reason))["message"] == message
    answer = await server.call("GET", FLUNDERS)
    assert (answer.status, answer.raw) == (503, b"service unavailable\n")
