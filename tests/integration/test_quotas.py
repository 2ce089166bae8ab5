"""Quotas, limit ranges, runtime classes and Pod Security on a running control plane."""

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from minikube_py.api.core import RESOURCEQUOTAS
from tests.integration.conftest import Server, running
from tests.integration.test_custom_kinds import until

SECONDS_MAX = 60.0
MERGE = "application/merge-patch+json"
Used = dict[str, str]


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[Server]:
    """Run a control plane with its controllers."""
    async with running(tmp_path, disable_controller_manager=False) as server:
        yield server


class Namespace:
    """One namespace, and short ways to what lives in it."""

    def __init__(self, server: Server, name: str) -> None:
        self.server = server
        self.name = name

    async def make(self, **metadata: Any) -> "Namespace":
        body = {"metadata": {"name": self.name, **metadata}}
        answer = await self.server.call("POST", "/api/v1/namespaces", body)
        assert answer.status == 201, answer.body
        account = {"metadata": {"name": "default"}}
        answer = await self.server.call("POST", self.path("serviceaccounts"), account)
        assert answer.status in (201, 409), answer.body
        return self

    def path(self, plural: str, group: str = "/api/v1") -> str:
        return f"{group}/namespaces/{self.name}/{plural}"

    async def post(self, plural: str, body: Any, group: str = "/api/v1") -> Any:
        return await self.server.call("POST", self.path(plural, group), body)

    async def quota(self, name: str, hard: Used, **spec: Any) -> None:
        body = {"metadata": {"name": name}, "spec": {"hard": hard, **spec}}
        answer = await self.post("resourcequotas", body)
        assert answer.status == 201, answer.body
        await self.until(name, lambda status: status.get("hard") == hard and "used" in status)

    async def until(self, name: str, true: Callable[[Any], bool]) -> Any:
        """Return the status of a quota as soon as something holds for it."""
        async with asyncio.timeout(SECONDS_MAX):
            client = self.server.client
            listed = await client.list(RESOURCEQUOTAS, self.name)
            for item in listed.items:
                if item.key.name == name and true(item.obj.get("status") or {}):
                    return item.obj["status"]
            watch = client.watch(RESOURCEQUOTAS, self.name, revision=listed.revision)
            async for batch in watch:
                for event in batch:
                    if event.type == "BOOKMARK" or event.item.key.name != name:
                        continue
                    status = event.item.obj.get("status") or {}
                    if true(status):
                        return status
        raise AssertionError("the watch ended")

    async def used(self, name: str, **wanted: str) -> None:
        """Wait until a quota is used to that extent; `_` in names stands for a dot."""
        expected = {key.replace("__", "/").replace("_", "."): v for key, v in wanted.items()}

        def is_used(status: Any) -> bool:
            used = status.get("used") or {}
            return all(used.get(key) == value for key, value in expected.items())

        await self.until(name, is_used)


def pod(name: str, requests: Used | None = None, limits: Used | None = None, **spec: Any) -> Any:
    resources = {"requests": requests or {}, "limits": limits or {}}
    containers = [{"name": "c", "image": "example.com/c", "resources": resources}]
    return {"metadata": {"name": name}, "spec": {"containers": containers, **spec}}


TEMPLATE = {
    "metadata": {"labels": {"a": "b"}},
    "spec": {"containers": [{"name": "c", "image": "example.com/c"}]},
}
WORKLOAD = {"replicas": 0, "template": TEMPLATE}
COUNTED: list[tuple[str, str, dict[str, Any], Used]] = [
    ("configmaps", "/api/v1", {}, {"configmaps": "1", "count/configmaps": "1"}),
    ("secrets", "/api/v1", {}, {"secrets": "1", "count/secrets": "1"}),
    (
        "services",
        "/api/v1",
        {"spec": {"type": "NodePort", "ports": [{"port": 80}]}},
        {"services": "1", "services.nodeports": "1", "services.loadbalancers": "0"},
    ),
    (
        "replicationcontrollers",
        "/api/v1",
        {"spec": {**WORKLOAD, "selector": {"a": "b"}}},
        {"replicationcontrollers": "1"},
    ),
    (
        "replicasets",
        "/apis/apps/v1",
        {"spec": {**WORKLOAD, "selector": {"matchLabels": {"a": "b"}}}},
        {"count/replicasets.apps": "1"},
    ),
    (
        "persistentvolumeclaims",
        "/api/v1",
        {
            "spec": {
                "accessModes": ["ReadWriteOnce"],
                "storageClassName": "gold",
                "resources": {"requests": {"storage": "1Gi"}},
            }
        },
        {
            "persistentvolumeclaims": "1",
            "requests.storage": "1Gi",
            "gold.storageclass.storage.k8s.io/requests.storage": "1Gi",
            "gold.storageclass.storage.k8s.io/persistentvolumeclaims": "1",
        },
    ),
]


@pytest.mark.conformance(
    "ResourceQuota should create a ResourceQuota and capture the life of a configMap.",
    "ResourceQuota should create a ResourceQuota and capture the life of a secret.",
    "ResourceQuota should create a ResourceQuota and capture the life of a service.",
    "ResourceQuota should create a ResourceQuota and capture the life of a replica set.",
    "ResourceQuota should create a ResourceQuota and capture the life of a replication...",
    "ResourceQuota should create a ResourceQuota and ensure its status...",
)
async def test_a_quota_follows_the_life_of_what_it_counts(cluster: Server) -> None:
    space = await Namespace(cluster, "counted").make()
    hard = {name: amount for *_, used in COUNTED for name, amount in used.items()}
    hard |= {"configmaps": "2", "count/configmaps": "2", "resourcequotas": "1"}
    await space.quota("q", hard)  # the root CA is published as a config map
    await space.until("q", lambda status: status["used"]["count/configmaps"] == "1")
    status = await space.until("q", lambda status: status["used"]["resourcequotas"] == "1")
    before = status["used"]
    for plural, group, body, _ in COUNTED:
        made = {"metadata": {"name": "x"}, **body}
        answer = await space.post(plural, made, group)
        assert answer.status == 201, answer.body
        second = {**made, "metadata": {"name": "y"}}
        answer = await space.post(plural, second, group)
        assert (answer.status, answer.body["reason"]) == (403, "Forbidden")
        assert "exceeded quota: q" in answer.body["message"]
    used = (await space.until("q", lambda _: True))["used"]
    wanted = {name: amount for *_, use in COUNTED for name, amount in use.items()}
    wanted |= {"configmaps": "2", "count/configmaps": "2"}
    assert {name: used[name] for name in wanted} == wanted
    answer = await space.post("resourcequotas", {"metadata": {"name": "r"}, "spec": {}})
    assert answer.status == 403
    for plural, group, _, _ in COUNTED:
        answer = await cluster.call("DELETE", f"{space.path(plural, group)}/x")
        assert answer.status == 200, answer.body
    claim = f"{space.path('persistentvolumeclaims')}/x"
    patch = {"metadata": {"finalizers": None}}  # no volume controller lifts it here
    await cluster.call("PATCH", claim, patch, content_type=MERGE)
    await space.until("q", lambda status: status["used"] == before)


@pytest.mark.conformance(
    "ResourceQuota should create a ResourceQuota and capture the life of a pod."
)
async def test_a_quota_follows_the_life_of_pods(cluster: Server) -> None:
    space = await Namespace(cluster, "pods").make()
    await space.quota(
        "q",
        {
            "pods": "5",
            "cpu": "1",
            "memory": "500Mi",
            "requests.ephemeral-storage": "50Gi",
            "requests.example.com/dongle": "3",
        },
    )
    asked = {
        "cpu": "500m",
        "memory": "252Mi",
        "ephemeral-storage": "30Gi",
        "example.com/dongle": "2",
    }
    fitting = pod("fits", asked, {"example.com/dongle": "2"})
    answer = await space.post("pods", fitting)
    assert answer.status == 201, answer.body
    full = {
        "pods": "1",
        "cpu": "500m",
        "memory": "252Mi",
        "requests.ephemeral-storage": "30Gi",
        "requests.example.com/dongle": "2",
    }
    status = await space.until("q", lambda status: status["used"] == full)
    assert status["used"] == full
    answer = await space.post("pods", pod("cpu", {"cpu": "600m", "memory": "100Mi"}))
    assert "exceeded quota: q, requested: cpu=600m, used: cpu=500m" in answer.body["message"]
    dongles = {"cpu": "10m", "memory": "1Mi", "example.com/dongle": "2"}
    answer = await space.post("pods", pod("dongle", dongles, {"example.com/dongle": "2"}))
    assert "requested: requests.example.com/dongle=2" in answer.body["message"]
    more = {"spec": {"containers": [{"name": "c", "resources": {"requests": {"cpu": "100m"}}}]}}
    answer = await cluster.call(
        "PATCH",
        f"{space.path('pods')}/fits",
        more,
        content_type="application/strategic-merge-patch+json",
    )
    assert answer.status == 422
    answer = await cluster.call("DELETE", f"{space.path('pods')}/fits?gracePeriodSeconds=0")
    assert answer.status == 200
    zero = dict.fromkeys(full, "0")
    await space.until("q", lambda status: status["used"] == zero)


async def test_a_pod_that_ends_makes_room(cluster: Server) -> None:
    space = await Namespace(cluster, "ending").make()
    await space.quota("q", {"pods": "1", "count/pods": "2"})
    assert (await space.post("pods", pod("first"))).status == 201
    assert (await space.post("pods", pod("second"))).status == 403
    answer = await cluster.call(
        "PATCH",
        f"{space.path('pods')}/first/status",
        {"status": {"phase": "Succeeded"}},
        content_type=MERGE,
    )
    assert answer.status == 200, answer.body
    await space.used("q", pods="0", count__pods="1")
    assert (await space.post("pods", pod("second"))).status == 201


@pytest.mark.conformance(
    "ResourceQuota should verify ResourceQuota with best effort scope.",
    "ResourceQuota should verify ResourceQuota with terminating scopes.",
)
async def test_quotas_with_scopes_count_their_part(cluster: Server) -> None:
    space = await Namespace(cluster, "scopes").make()
    scopes = ("BestEffort", "NotBestEffort", "Terminating", "NotTerminating")
    for scope in scopes:
        await space.quota(scope.lower(), {"pods": "5"}, scopes=[scope])
    cases = [
        (pod("a"), ("besteffort", "notterminating")),
        (pod("b", {"cpu": "1"}), ("notbesteffort", "notterminating")),
        (pod("c", activeDeadlineSeconds=3600), ("besteffort", "terminating")),
    ]
    for body, counting in cases:
        assert (await space.post("pods", body)).status == 201
        for scope in scopes:
            await space.used(scope.lower(), pods="1" if scope.lower() in counting else "0")
        name = body["metadata"]["name"]
        await cluster.call("DELETE", f"{space.path('pods')}/{name}?gracePeriodSeconds=0")
        for scope in scopes:
            await space.used(scope.lower(), pods="0")


@pytest.mark.conformance(
    "ResourceQuota should apply changes to a resourcequota status",
    "ResourceQuota should be able to update and delete ResourceQuota.",
    "ResourceQuota should manage the lifecycle of a ResourceQuota",
)
async def test_a_quota_is_made_changed_listed_and_deleted(cluster: Server) -> None:
    space = await Namespace(cluster, "lifecycle").make()
    quotas, path = space.path("resourcequotas"), f"{space.path('resourcequotas')}/q"
    await space.quota("q", {"cpu": "1", "memory": "500Mi"})
    answer = await cluster.call("GET", path)
    changed = {**answer.body, "spec": {"hard": {"cpu": "2", "memory": "1Gi"}}}
    answer = await cluster.call("PUT", path, changed)
    assert (answer.status, answer.body["spec"]["hard"]["cpu"]) == (200, "2")
    await space.until("q", lambda status: status["hard"] == {"cpu": "2", "memory": "1Gi"})
    labelled = {"metadata": {"labels": {"test": "quota"}}, "spec": {"hard": {"memory": "750Mi"}}}
    answer = await cluster.call("PATCH", path, labelled, content_type=MERGE)
    assert answer.body["spec"]["hard"] == {"cpu": "2", "memory": "750Mi"}
    await space.until("q", lambda status: status["hard"]["memory"] == "750Mi")
    patch = {"spec": {"hard": {"cpu": "9"}}, "status": {"hard": {"cpu": "2"}}}
    answer = await cluster.call("PATCH", f"{path}/status", patch, content_type=MERGE)
    assert answer.status == 200
    assert answer.body["spec"]["hard"]["cpu"] == "2"
    answer = await cluster.call("GET", f"{path}/status")
    assert answer.body["status"]["hard"] == answer.body["spec"]["hard"]
    answer = await cluster.call("GET", "/api/v1/resourcequotas?labelSelector=test%3Dquota")
    assert [item["metadata"]["name"] for item in answer.body["items"]] == ["q"]
    answer = await cluster.call("DELETE", f"{quotas}?labelSelector=test%3Dquota")
    assert answer.status == 200
    assert (await cluster.call("GET", path)).status == 404


async def test_custom_kinds_are_counted_as_soon_as_they_are_there(cluster: Server) -> None:
    space = await Namespace(cluster, "custom").make()
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    version = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
    crd = {
        "metadata": {"name": "widgets.example.com"},
        "spec": {
            "group": "example.com",
            "scope": "Namespaced",
            "names": {"plural": "widgets", "kind": "Widget"},
            "versions": [version],
        },
    }
    path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
    answer = await cluster.call("POST", path, crd)
    assert answer.status == 201, answer.body
    group = "/apis/example.com/v1"
    body = {"apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": "x"}}
    await until(cluster, space.path("widgets", group), 200)
    await space.quota("q", {"count/widgets.example.com": "1"})
    answer = await space.post("widgets", body, group)
    assert answer.status == 201, answer.body
    other = {**body, "metadata": {"name": "y"}}
    assert (await space.post("widgets", other, group)).status == 403
    await cluster.call("DELETE", f"{space.path('widgets', group)}/x")
    await space.until("q", lambda status: set(status["used"].values()) == {"0"})
    assert (await space.post("widgets", other, group)).status == 201


async def test_of_many_creators_as_many_win_as_the_quota_allows(cluster: Server) -> None:
    space = await Namespace(cluster, "race").make()
    await space.quota("q", {"secrets": "10"})
    bodies = [{"metadata": {"name": f"s{number}"}} for number in range(30)]
    answers = await asyncio.gather(*(space.post("secrets", body) for body in bodies))
    assert sorted(answer.status for answer in answers) == [201] * 10 + [403] * 20
    await space.used("q", secrets="10")


@pytest.mark.conformance(
    "LimitRange should create a LimitRange with defaults and ensure pod...",
    "LimitRange should list, patch and delete a LimitRange by collection",
)
async def test_a_limit_range_gives_defaults_and_bounds(server: Server) -> None:
    space = await Namespace(server, "limits").make(labels={"e2e": "limits"})
    container = {
        "type": "Container",
        "min": {"cpu": "50m", "memory": "100Mi"},
        "max": {"cpu": "500m", "memory": "500Mi"},
        "defaultRequest": {"cpu": "100m", "memory": "200Mi"},
        "default": {"cpu": "500m", "memory": "500Mi"},
    }
    body = {"metadata": {"name": "l", "labels": {"e2e": "l"}}, "spec": {"limits": [container]}}
    answer = await space.post("limitranges", body)
    assert answer.status == 201, answer.body
    assert answer.body["spec"]["limits"] == [container]
    answer = await space.post("pods", pod("plain"))
    assert answer.body["spec"]["containers"][0]["resources"] == {
        "requests": container["defaultRequest"],
        "limits": container["default"],
    }
    partial = pod("partial", {"memory": "150Mi"}, {"cpu": "300m"})
    answer = await space.post("pods", partial)
    assert answer.body["spec"]["containers"][0]["resources"] == {
        "requests": {"cpu": "300m", "memory": "150Mi"},  # a limit is a request before all else
        "limits": {"cpu": "300m", "memory": "500Mi"},
    }
    assert (await space.post("pods", pod("small", {"cpu": "10m"}))).status == 403
    assert (await space.post("pods", pod("big", None, {"cpu": "600m"}))).status == 403
    patch = {"spec": {"limits": [{**container, "min": {"cpu": "9m", "memory": "49Mi"}}]}}
    path = f"{space.path('limitranges')}/l"
    answer = await server.call("PATCH", path, patch, content_type=MERGE)
    assert answer.status == 200, answer.body
    assert (await space.post("pods", pod("small", {"cpu": "10m"}))).status == 201
    other = await Namespace(server, "limits-too").make()
    assert (await other.post("limitranges", body)).status == 201
    answer = await server.call("GET", "/api/v1/limitranges?labelSelector=e2e%3Dl")
    assert len(answer.body["items"]) == 2
    await server.call("DELETE", f"{space.path('limitranges')}?labelSelector=e2e%3Dl")
    answer = await server.call("GET", "/api/v1/limitranges?labelSelector=e2e%3Dl")
    assert [item["metadata"]["namespace"] for item in answer.body["items"]] == ["limits-too"]


@pytest.mark.conformance(
    "RuntimeClass should reject a Pod requesting a deleted RuntimeClass",
    "RuntimeClass should reject a Pod requesting a non-existent RuntimeClass",
)
async def test_a_pod_needs_its_runtime_class(server: Server) -> None:
    space = await Namespace(server, "runtimes").make()
    answer = await space.post("pods", pod("p", runtimeClassName="kata"))
    assert answer.status == 403
    assert answer.body["message"] == (
        'pods "p" is forbidden: pod rejected: RuntimeClass "kata" not found'
    )
    classes = "/apis/node.k8s.io/v1/runtimeclasses"
    overhead = {"podFixed": {"cpu": "250m", "memory": "64Mi"}}
    body = {"metadata": {"name": "kata"}, "handler": "kata", "overhead": overhead}
    assert (await server.call("POST", classes, body)).status == 201
    answer = await space.post("pods", pod("p", runtimeClassName="kata"))
    assert answer.status == 201, answer.body
    assert answer.body["spec"]["overhead"] == overhead["podFixed"]
    assert (await server.call("DELETE", f"{classes}/kata")).status == 200
    assert (await space.post("pods", pod("q", runtimeClassName="kata"))).status == 403


async def test_pod_security_refuses_warns_and_looks_at_running_pods(server: Server) -> None:
    key = "pod-security.kubernetes.io"
    space = await Namespace(server, "secured").make(labels={f"{key}/warn": "baseline"})
    answer = await space.post("pods", pod("p", hostNetwork=True))
    assert answer.status == 201
    text = 'would violate PodSecurity "baseline:latest": host namespaces (hostNetwork=true)'
    assert text in answer.headers["Warning"].replace("\\", "")
    patch = {"metadata": {"labels": {f"{key}/enforce": "baseline"}}}
    path = "/api/v1/namespaces/secured"
    answer = await server.call("PATCH", path, patch, content_type=MERGE)
    assert "p: host namespaces" in " ".join(answer.headers.getall("Warning"))
    answer = await space.post("pods", pod("q", hostNetwork=True))
    assert (answer.status, "violates PodSecurity" in answer.body["message"]) == (403, True)
    bad = {"metadata": {"labels": {f"{key}/enforce": "strict"}}}
    answer = await server.call("PATCH", path, bad, content_type=MERGE)
    assert (answer.status, answer.body["reason"]) == (422, "Invalid")


async def test_a_pod_carries_the_zone_that_it_is_bound_to(server: Server) -> None:
    space = await Namespace(server, "zones").make()
    zone = {"topology.kubernetes.io/zone": "z1", "other": "x"}
    node = {"metadata": {"name": "n1", "labels": zone}}
    assert (await server.call("POST", "/api/v1/nodes", node)).status == 201
    assert (await space.post("pods", pod("p"))).status == 201
    binding = {"metadata": {"name": "p"}, "target": {"kind": "Node", "name": "n1"}}
    answer = await space.post("pods/p/binding", binding)
    assert answer.status == 201, answer.body
    answer = await server.call("GET", f"{space.path('pods')}/p")
    assert answer.body["spec"]["nodeName"] == "n1"
    assert answer.body["metadata"]["labels"] == {"topology.kubernetes.io/zone": "z1"}


async def test_a_kubelet_gets_no_token_of_a_pod_elsewhere(server: Server) -> None:
    space = await Namespace(server, "tokens").make()
    answer = await space.post("pods", pod("p", nodeName="n2"))
    bound = {
        "apiVersion": "v1",
        "kind": "Pod",
        "name": "p",
        "uid": answer.body["metadata"]["uid"],
    }
    body = {
        "apiVersion": "authentication.k8s.io/v1",
        "kind": "TokenRequest",
        "spec": {"audiences": [], "boundObjectRef": bound},
    }
    asking = {"impersonate_group": "system:nodes"}
    for node, status in (("n1", 403), ("n2", 201)):
        answer = await server.call(
            "POST",
            space.path("serviceaccounts/default/token"),
            body,
            impersonate_user=f"system:node:{node}",
            **asking,
        )
        assert answer.status == status, answer.body
