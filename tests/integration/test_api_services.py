"""APIServices of groups that this server serves itself: those of custom kinds, and one's own."""

from typing import Any

from tests.integration.conftest import Answer, Server
from tests.integration.patience import eventually

API_SERVICES = "/apis/apiregistration.k8s.io/v1/apiservices"


def condition(answer: Answer) -> dict[str, str]:
    conditions = (answer.body.get("status") or {}).get("conditions") or [{}]
    return dict(conditions[0])


async def local(server: Server, name: str) -> dict[str, str]:
    answer = await eventually(
        lambda: server.call("GET", f"{API_SERVICES}/{name}"),
        lambda answer: answer.status == 200 and condition(answer).get("reason") == "Local",
    )
    return condition(answer)


def definition(*versions: str) -> dict[str, Any]:
    schema = {"openAPIV3Schema": {"type": "object"}}
    return {
        "metadata": {"name": "widgets.custom.example.com"},
        "spec": {
            "group": "custom.example.com",
            "scope": "Namespaced",
            "names": {"plural": "widgets", "kind": "Widget"},
            "versions": [
                {"name": name, "served": True, "storage": name == versions[0], "schema": schema}
                for name in versions
            ],
        },
    }


async def test_custom_groups_register_themselves(server: Server) -> None:
    path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
    created = await server.call("POST", path, definition("v1", "v2"))
    assert created.status == 201
    for version in ("v1", "v2"):
        name = f"{version}.custom.example.com"
        said = await local(server, name)
        assert said["message"] == "Local APIServices are always available"
        found = (await server.call("GET", f"{API_SERVICES}/{name}")).body
        assert found["spec"] == {
            "group": "custom.example.com",
            "version": version,
            "groupPriorityMinimum": 1000,
            "versionPriority": 100,
        }
        assert found["metadata"]["labels"] == {"kube-aggregator.kubernetes.io/automanaged": "true"}
    name = f"{API_SERVICES}/v1.custom.example.com"
    await server.call("DELETE", name)
    await eventually(lambda: server.call("GET", name), lambda answer: answer.status == 200)
    await server.call("DELETE", f"{path}/widgets.custom.example.com")
    await eventually(lambda: server.call("GET", name), lambda answer: answer.status == 404)


async def test_an_own_api_service_is_left_alone(server: Server) -> None:
    body = {
        "metadata": {"name": "v1.mine.example.com"},
        "spec": {
            "group": "mine.example.com",
            "version": "v1",
            "groupPriorityMinimum": 15,
            "versionPriority": 1,
        },
    }
    assert (await server.call("POST", API_SERVICES, body)).status == 201
    await local(server, "v1.mine.example.com")
    groups = (await server.call("GET", "/apis")).body["groups"]
    assert groups[-1]["name"] == "mine.example.com"
    assert (await server.call("GET", "/apis/mine.example.com/v1")).status == 404
    await server.call("DELETE", f"{API_SERVICES}/v1.mine.example.com")
    await eventually(
        lambda: server.call("GET", "/apis/mine.example.com"), lambda answer: answer.status == 404
    )
