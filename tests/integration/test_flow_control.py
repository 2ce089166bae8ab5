"""API priority and fairness over HTTP: its objects, its headers, its refusals."""

import asyncio
import contextlib
import re

import pytest

from minikube_py.api.flowcontrol import FLOWSCHEMAS, PRIORITYLEVELCONFIGURATIONS
from tests.integration.conftest import Server, running

GROUP = "/apis/flowcontrol.apiserver.k8s.io/v1"
SCHEMAS, LEVELS = f"{GROUP}/flowschemas", f"{GROUP}/prioritylevelconfigurations"
PATIENCE_SECONDS = 60.0


async def until(server: Server, path: str, holds) -> object:
    """Ask after every change of the objects until an answer is as it is to be."""
    changed = asyncio.Event()
    kinds = [
        server.app._api.store.kind(kind) for kind in (FLOWSCHEMAS, PRIORITYLEVELCONFIGURATIONS)
    ]
    stops = [kind.subscribe(lambda _changes: changed.set()) for kind in kinds]
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not holds(answer := await server.call("GET", path)):
                await changed.wait()
                changed.clear()
    finally:
        for stop in stops:
            stop()
    return answer


def schema(name: str, level: str, **more):
    everything = {
        "verbs": ["*"],
        "apiGroups": ["*"],
        "resources": ["*"],
        "namespaces": ["*"],
        "clusterScope": True,
    }
    jane = {"kind": "User", "user": {"name": "jane"}}
    return {
        "metadata": {"name": name, "labels": {"mine": "yes"}},
        "spec": {
            "priorityLevelConfiguration": {"name": level},
            "matchingPrecedence": 5,
            "rules": [{"subjects": [jane], "resourceRules": [everything]}],
            **more,
        },
    }


def level(name: str, shares: int = 1):
    response = {"type": "Reject"}
    limited = {"nominalConcurrencyShares": shares, "limitResponse": response}
    limited["borrowingLimitPercent"] = 0
    spec = {"type": "Limited", "limited": limited}
    return {"metadata": {"name": name, "labels": {"mine": "yes"}}, "spec": spec}


async def test_an_answer_names_the_schema_and_the_level_that_its_request_fell_under(server):
    for path, user, schema_name, level_name in (
        ("/api/v1/namespaces", "kubernetes-admin", "exempt", "exempt"),
        ("/api/v1/namespaces", "jane", "global-default", "global-default"),
        ("/api/v1/nodes", "system:node:a", "system-node-high", "node-high"),
    ):
        groups = {"impersonate_group": "system:nodes"} if "node" in user else {}
        who = {} if user == "kubernetes-admin" else {"impersonate_user": user, **groups}
        answer = await server.call("GET", path, **who)
        uid = (await server.call("GET", f"{SCHEMAS}/{schema_name}")).body["metadata"]["uid"]
        assert answer.headers["X-Kubernetes-PF-FlowSchema-UID"] == uid
        uid = (await server.call("GET", f"{LEVELS}/{level_name}")).body["metadata"]["uid"]
        assert answer.headers["X-Kubernetes-PF-PriorityLevel-UID"] == uid


async def test_a_level_without_seats_tells_its_clients_to_come_back(server):
    assert (await server.call("POST", LEVELS, level("none", shares=0))).status == 201
    assert (await server.call("POST", SCHEMAS, schema("jane", "none"))).status == 201
    answer = await server.call("GET", "/api/v1/namespaces", impersonate_user="jane")
    assert (answer.status, answer.raw) == (
        429,
        b"Too many requests, please try again later.\n",
    )
    assert answer.headers["Retry-After"] == "1"
    assert answer.headers["X-Kubernetes-PF-PriorityLevel-UID"]
    assert (await server.call("GET", "/api/v1/namespaces", impersonate_user="joe")).status == 403
    assert (await server.call("GET", "/api/v1/namespaces")).status == 200
    page = (await server.call("GET", "/metrics")).raw.decode()
    assert re.search(
        r'rejected_requests_total{flow_schema="jane",priority_level="none",reason=".*"} 1', page
    )
    assert 'apiserver_flowcontrol_nominal_limit_seats{priority_level="workload-low"}' in page


async def test_a_watch_gives_its_seat_back_once_it_has_begun(server):
    assert (await server.call("POST", LEVELS, level("few"))).status == 201  # three seats
    assert (await server.call("POST", SCHEMAS, schema("jane", "few"))).status == 201
    group = "rbac.authorization.k8s.io"
    rights = {
        "metadata": {"name": "jane"},
        "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": "cluster-admin"},
        "subjects": [{"apiGroup": group, "kind": "User", "name": "jane"}],
    }
    path = "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings"
    assert (await server.call("POST", path, rights)).status == 201
    async with contextlib.AsyncExitStack() as stack:
        for _ in range(20):
            watch = await stack.enter_async_context(
                server.session.get(
                    f"{server.url}/api/v1/namespaces?watch=1", headers={"Impersonate-User": "jane"}
                )
            )
            assert watch.status == 200
            await watch.content.readline()
        answer = await server.call("GET", "/api/v1/namespaces", impersonate_user="jane")
        assert answer.status == 200


async def test_the_bounds_of_requests_in_flight_are_options(tmp_path):
    bounds = {"max_requests_inflight": 0, "max_mutating_requests_inflight": 0}
    async with running(tmp_path, **bounds) as server:
        assert (await server.call("GET", "/api/v1/namespaces")).status == 200
        page = (await server.call("GET", "/metrics")).raw.decode()
        assert 'nominal_limit_seats{priority_level="workload-low"} 0' in page


async def test_a_schema_says_whether_its_level_is_there(server):
    def dangling(status):
        def holds(answer):
            conditions = answer.body.get("status", {}).get("conditions", [])
            return [(c["type"], c["status"]) for c in conditions] == [("Dangling", status)]

        return holds

    assert (await server.call("POST", SCHEMAS, schema("mine", "late"))).status == 201
    lost = await until(server, f"{SCHEMAS}/mine", dangling("True"))
    assert lost.body["status"]["conditions"][0]["message"] == (
        'This FlowSchema references the PriorityLevelConfiguration object named "late" '
        "but there is no such object"
    )
    assert (await server.call("POST", LEVELS, level("late"))).status == 201
    await until(server, f"{SCHEMAS}/mine", dangling("False"))
    assert (await server.call("DELETE", f"{LEVELS}/late")).status == 200
    await until(server, f"{SCHEMAS}/mine", dangling("True"))


async def test_the_default_objects_come_back_and_are_mended(server):
    for path in (f"{SCHEMAS}/catch-all", f"{LEVELS}/exempt", f"{LEVELS}/system"):
        assert (await server.call("DELETE", path)).status == 200
        await until(server, path, lambda answer: answer.status == 200)
    patch = {"spec": {"matchingPrecedence": 7}}
    merge = "application/merge-patch+json"
    path = f"{SCHEMAS}/service-accounts"
    assert (await server.call("PATCH", path, patch, content_type=merge)).status == 200
    mended = await until(
        server, path, lambda answer: answer.body["spec"]["matchingPrecedence"] == 9000
    )
    own = {"metadata": {"annotations": {"apf.kubernetes.io/autoupdate-spec": "false"}}, **patch}
    assert mended.body["metadata"]["annotations"] == {"apf.kubernetes.io/autoupdate-spec": "true"}
    assert (await server.call("PATCH", path, own, content_type=merge)).status == 200
    assert (await server.call("DELETE", f"{SCHEMAS}/global-default")).status == 200
    await until(server, f"{SCHEMAS}/global-default", lambda answer: answer.status == 200)
    assert (await server.call("GET", path)).body["spec"]["matchingPrecedence"] == 7


async def goes_through_its_life(server: Server, collection: str, first, kind):
    """Create, get, list, watch, patch, update, delete one kind, its status included."""
    made = await server.call("POST", collection, first)
    assert made.status == 201
    name, revision = made.body["metadata"]["name"], made.body["metadata"]["resourceVersion"]
    assert (await server.call("GET", f"{collection}/{name}")).body["spec"] == made.body["spec"]
    listed = await server.call("GET", f"{collection}?labelSelector=mine=yes")
    assert [item["metadata"]["name"] for item in listed.body["items"]] == [name]
    merge = "application/merge-patch+json"
    patch = {"metadata": {"annotations": {"patched": "true"}}}
    patched = await server.call("PATCH", f"{collection}/{name}", patch, content_type=merge)
    assert patched.body["metadata"]["annotations"] == {"patched": "true"}
    events = server.client.watch(kind, revision=int(revision), label_selector="mine=yes")
    async with asyncio.timeout(PATIENCE_SECONDS):
        assert next(event.type for event in await anext(events)) == "MODIFIED"
    await events.aclose()
    condition = {"type": "Test", "status": "True", "reason": "Because", "message": "m"}
    status = {"status": {"conditions": [condition]}}
    path = f"{collection}/{name}/status"
    patched = await server.call("PATCH", path, status, content_type=merge)
    assert patched.body["status"]["conditions"][0]["reason"] == "Because"
    assert (await server.call("GET", path)).body["metadata"]["name"] == name
    assert (await server.call("DELETE", f"{collection}/{name}")).status == 200
    first = {**first, "metadata": {**first["metadata"], "name": f"{name}-2"}}
    assert (await server.call("POST", collection, first)).status == 201
    path = f"{collection}?labelSelector=mine=yes"
    assert (await server.call("DELETE", path)).status == 200
    assert (await server.call("GET", path)).body["items"] == []


@pytest.mark.conformance("API priority and fairness should support FlowSchema API operations")
async def test_conformance_api_priority_and_fairness_should_support_flowschema_api_operations(
    server,
):
    found = (await server.call("GET", GROUP)).body["resources"]
    assert {"flowschemas", "flowschemas/status"} <= {resource["name"] for resource in found}
    await goes_through_its_life(server, SCHEMAS, schema("mine", "global-default"), FLOWSCHEMAS)


@pytest.mark.conformance(
    "API priority and fairness should support PriorityLevelConfiguration API operations"
)
async def test_conformance_api_priority_and_fairness_should_support_priority_level_operations(
    server,
):
    found = {resource["name"] for resource in (await server.call("GET", GROUP)).body["resources"]}
    assert {"prioritylevelconfigurations", "prioritylevelconfigurations/status"} <= found
    await goes_through_its_life(server, LEVELS, level("mine"), PRIORITYLEVELCONFIGURATIONS)
