"""A node that reads through its memory goes on with what it knew, and hears what it has missed."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from minikube_py.agent import kept as keeping_module
from minikube_py.agent.keeping import KeepingClient, lasting
from minikube_py.agent.kept import Kept
from minikube_py.agent.kubelet.references import References, references_of
from minikube_py.agent.kubelet.tokens import Tokens
from minikube_py.agent.live_pods import LivePods
from minikube_py.api.core import (
    CONFIGMAPS,
    NODES,
    PERSISTENTVOLUMECLAIMS,
    PERSISTENTVOLUMES,
    PODS,
    SECRETS,
    SERVICEACCOUNTS,
    SERVICES,
)
from minikube_py.api.endpointslices import ENDPOINTSLICES
from minikube_py.api.errors import NotFoundError, ServiceUnavailableError
from minikube_py.api.node import RUNTIMECLASSES
from minikube_py.api.object import Key
from minikube_py.api.resource import Resource
from minikube_py.api.resource_k8s import RESOURCECLAIMS
from minikube_py.api.storage import VOLUMEATTACHMENTS
from minikube_py.api.storage.volumeattachment import attachment_name
from minikube_py.client.informer import Informers
from minikube_py.client.protocol import Client
from minikube_py.client.watcher import Selection
from minikube_py.lib.tasks import Nursery
from tests.model_cluster import ModelCluster
from tests.unit.agent.away import Line
from tests.unit.agent.kubelet.builders import container, pod
from tests.unit.agent.kubelet.model_node import Node, model_node
from tests.unit.agent.kubelet.pods_in_time import new, until, until_gone, wait
from tests.virtual_time import VirtualClock, virtual


@pytest.fixture(autouse=True)
def _no_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    async def at_once(call: Callable[..., Any], *given: Any) -> Any:
        return call(*given)

    monkeypatch.setattr(keeping_module.asyncio, "to_thread", at_once)


class World:
    """A cluster, the way to it, and a memory that lasts from one node to the next."""

    def __init__(self, folder: Path) -> None:
        self.clock = VirtualClock()
        self.cluster = ModelCluster(self.clock)
        self.line = Line()
        self.folder = folder
        self.file = folder / "kept"

    @contextlib.asynccontextmanager
    async def client(self) -> AsyncIterator[Client]:
        async with Kept(self.file, "secret", self.clock) as kept:
            yield KeepingClient(self.line.through(self.cluster.client()), kept, self.clock)

    @contextlib.asynccontextmanager
    async def node(self) -> AsyncIterator[Node]:
        """Run a node with an empty runtime, as after a power cut."""
        async with Kept(self.file, "secret", self.clock) as kept:

            def through(client: Client) -> Client:
                return KeepingClient(self.line.through(client), kept, self.clock)

            async with model_node(self.folder, self.cluster, through=through) as node:
                yield node


def service(name: str) -> dict[str, Any]:
    return {"metadata": {"name": name, "namespace": "default"}, "spec": {"ports": [{"port": 80}]}}


def names(informer: Any) -> list[str]:
    return sorted(item.key.name for item in informer.items())


@virtual
async def test_an_informer_starts_with_what_was_there_and_ends_with_what_is(tmp_path):
    world = World(tmp_path)
    admin = world.cluster.client("tester")
    for name in ("stays", "goes", "changes"):
        await admin.create(SERVICES, service(name))
    async with world.client() as client, Informers(client, world.clock) as informers:
        await informers.get(SERVICES).wait_synced()
        await admin.create(SERVICES, service("late"))
        await asyncio.sleep(5)
    world.line.is_cut = True
    await admin.delete(SERVICES, "goes", "default")
    await admin.patch(SERVICES, "changes", {"spec": {"externalName": "x"}}, "default")
    await admin.create(SERVICES, service("new"))
    async with world.client() as client, Informers(client, world.clock) as informers:
        informer = informers.get(SERVICES)
        await informer.wait_synced()
        assert names(informer) == ["changes", "goes", "late", "stays"]
        told: list[tuple[bool, str]] = []
        informer.subscribe(
            lambda old, new: (
                told.append((new is not None, (new or old).key.name)) if informer.revision else None
            )
        )
        await asyncio.sleep(3600)
        assert names(informer) == ["changes", "goes", "late", "stays"]
        assert len(world.line.calls) < 800  # asked every five seconds, and by one alone
        world.line.is_cut = False
        await asyncio.sleep(10)
        assert names(informer) == ["changes", "late", "new", "stays"]
        found = informer.get(Key("default", "changes"))
        assert found is not None
        assert found["spec"]["externalName"] == "x"
        await admin.delete(SERVICES, "stays", "default")  # and it follows
        await asyncio.sleep(1)
        assert names(informer) == ["changes", "late", "new"]
    world.line.is_cut = True
    async with world.client() as client, Informers(client, world.clock) as informers:
        await informers.get(SERVICES).wait_synced()
        assert names(informers.get(SERVICES)) == ["changes", "late", "new"]


@virtual
async def test_what_was_never_listed_is_waited_for_and_an_empty_listing_is_known_as_such(tmp_path):
    world = World(tmp_path)
    async with world.client() as client:
        await client.list(SERVICES)
    world.line.is_cut = True
    async with world.client() as client:
        assert list((await client.list(SERVICES)).items) == []
        with pytest.raises(ServiceUnavailableError):
            await client.list(CONFIGMAPS)


@virtual
async def test_a_server_that_refuses_is_believed(tmp_path):
    world = World(tmp_path)
    admin = world.cluster.client("tester")
    kind = {"apiVersion": "node.k8s.io/v1", "kind": "RuntimeClass", "handler": "crun"}
    await admin.create(RUNTIMECLASSES, kind | {"metadata": {"name": "fast"}})
    async with world.client() as client:
        await client.get(RUNTIMECLASSES, "fast")
        world.line.is_cut = True
        assert (await client.get(RUNTIMECLASSES, "fast"))["handler"] == "crun"
        world.line.is_cut = False
        await admin.delete(RUNTIMECLASSES, "fast")
        with pytest.raises(NotFoundError):
            await client.get(RUNTIMECLASSES, "fast")
        world.line.is_cut = True
        with pytest.raises(ServiceUnavailableError):
            await client.get(RUNTIMECLASSES, "fast")


def test_what_a_node_does_while_idle_changes_nothing_that_is_kept():
    node = {
        "metadata": {"name": "n", "resourceVersion": "7", "managedFields": [{}]},
        "spec": {"podCIDR": "10.0.0.0/24"},
        "status": {"addresses": [1], "conditions": [{"lastHeartbeatTime": "now"}], "images": [1]},
    }
    assert lasting(NODES, node) == {
        "metadata": {"name": "n"},
        "spec": {"podCIDR": "10.0.0.0/24"},
        "status": {"addresses": [1]},
    }
    foreign = lasting(PODS, pod(nodeName="n2"), foreign=True)
    assert set(foreign["spec"]) == {"containers", "nodeName"}
    assert set(foreign["status"]) <= {"phase", "podIP", "podIPs"}


@virtual
async def test_an_idle_cluster_writes_nothing(tmp_path):
    world = World(tmp_path)
    admin = world.cluster.client("tester")
    await admin.create(NODES, {"metadata": {"name": "n1"}, "status": {"addresses": []}})
    async with world.client() as client, Informers(client, world.clock) as informers:
        await informers.get(NODES).wait_synced()
        await asyncio.sleep(60)
        size = world.file.stat().st_size
        for beat in range(20):
            conditions = [{"type": "Ready", "status": "True", "lastHeartbeatTime": str(beat)}]
            patch = {"status": {"conditions": conditions}}
            await admin.patch(NODES, "n1", patch, subresource="status")
            await asyncio.sleep(300)
    assert world.file.stat().st_size == size


def endpoint_slice(*endpoints: Any, family: str = "IPv4") -> dict[str, Any]:
    metadata = {"name": "web-1", "namespace": "default"}
    return {"metadata": metadata, "addressType": family, "endpoints": list(endpoints), "ports": []}


def endpoint(uid: str, address: str, *, ready: bool = True) -> dict[str, Any]:
    conditions = {"ready": ready, "serving": ready, "terminating": False}
    return {"addresses": [address], "conditions": conditions, "targetRef": {"uid": uid}}


def told(*ips: str, ready: str = "True") -> dict[str, Any]:
    conditions = [{"type": "Ready", "status": ready}]
    return {"podIPs": [{"ip": ip} for ip in ips], "conditions": conditions}


def test_a_node_puts_its_own_pods_right_in_endpoints_and_no_others():
    pods = LivePods()
    pods.note("mine", told("10.0.0.9", "fd00::9"))
    pods.note("starting", told(ready="False"))
    pods.note("gone", told("10.0.0.8"))
    pods.note("gone", None)
    old = [endpoint(name, "10.0.0.1") for name in ("mine", "starting", "gone", "elsewhere")]
    found = pods.put_right(endpoint_slice(*old))["endpoints"]
    assert found[0] == endpoint("mine", "10.0.0.9")
    assert found[1] == endpoint("starting", "10.0.0.1", ready=False)
    assert found[2:] == old[2:]
    six = endpoint_slice(endpoint("mine", "fd00::1"), family="IPv6")
    assert pods.put_right(six)["endpoints"] == [endpoint("mine", "fd00::9")]
    others = endpoint_slice(*old[2:])
    assert pods.put_right(others) is others


@virtual
async def test_endpoints_follow_the_pods_of_this_node_while_no_server_answers(tmp_path):
    world = World(tmp_path)
    admin = world.cluster.client("tester")
    await admin.create(ENDPOINTSLICES, endpoint_slice(endpoint("u", "10.0.0.1")))
    for cut in (False, True):
        world.line.is_cut = cut
        async with Kept(world.file, "secret", world.clock) as kept:
            client = KeepingClient(world.line.through(admin), kept, world.clock)
            async with Informers(client, world.clock) as informers:
                slices = informers.get(ENDPOINTSLICES)
                await slices.wait_synced()
                await asyncio.sleep(5)
                kept.pods.note("u", told("10.0.0.2"))
                await asyncio.sleep(5)
                (item,) = slices.items()
                shown = item.obj["endpoints"][0]["addresses"]
                assert shown == (["10.0.0.2"] if cut else ["10.0.0.1"])
                world.line.is_cut = False
                await asyncio.sleep(10)
                (item,) = slices.items()
                assert item.obj["endpoints"][0]["addresses"] == ["10.0.0.1"]


CONFIG = {"name": "config", "configMap": {"name": "settings"}}
PASSWORD = {"name": "P", "valueFrom": {"secretKeyRef": {"name": "password", "key": "p"}}}


def config(kind: str, name: str, data: dict[str, str]) -> dict[str, Any]:
    return {"kind": kind, "metadata": {"name": name, "namespace": "default"}, "data": data}


async def with_settings(node: Node) -> Any:
    """Run a pod with a configMap and a secret; return it."""
    client = node.cluster.client("tester")
    await client.create(CONFIGMAPS, config("ConfigMap", "settings", {"a": "b"}))
    await client.create(SECRETS, config("Secret", "password", {"p": "cA=="}))
    made = new([container(env=[PASSWORD])], volumes=[CONFIG])
    await client.create(PODS, made)
    await until(node, "Running")
    await asyncio.sleep(5)
    return node.pod()


@virtual
async def test_after_a_power_cut_a_node_runs_its_pods_without_a_server(tmp_path):
    world = World(tmp_path)
    async with world.node() as node:
        before = await with_settings(node)
    world.line.is_cut = True
    async with world.node() as node:
        await wait(lambda: "start c" in node.runtime.log, 30)
        await asyncio.sleep(3600)
        assert node.runtime.log.count("start c") == 1
        (running,) = node.runtime.containers.values()
        assert running.labels["io.kubernetes.pod.uid"] == before["metadata"]["uid"]
        world.line.is_cut = False
        await asyncio.sleep(60)
        assert node.runtime.log.count("start c") == 1
        after = node.pod()
        assert after is not None
        assert after["metadata"]["uid"] == before["metadata"]["uid"]
        (status,) = after["status"]["containerStatuses"]
        assert status["containerID"].endswith(running.id)


@virtual
async def test_a_pod_that_was_deleted_meanwhile_is_ended_when_the_server_is_back(tmp_path):
    world = World(tmp_path)
    async with world.node() as node:
        await with_settings(node)
    world.line.is_cut = True
    options = {"gracePeriodSeconds": 0}
    await world.cluster.client("tester").delete(PODS, "a", "default", options=options)
    async with world.node() as node:
        await wait(lambda: "start c" in node.runtime.log, 30)
        world.line.is_cut = False
        await until_gone(node)
        assert node.runtime.sandboxes == {}
    world.line.is_cut = True
    async with world.node() as node:
        await asyncio.sleep(60)
        assert node.runtime.log == []


@virtual
async def test_what_was_over_is_not_run_again(tmp_path):
    world = World(tmp_path)
    async with world.node() as node:
        await node.create(new(restartPolicy="Never"))
        await until(node, "Running")
        (key,) = node.runtime.containers
        node.runtime.end(key, 0)
        await until(node, "Succeeded")
        await asyncio.sleep(5)
    world.line.is_cut = True
    async with world.node() as node:
        await asyncio.sleep(60)
        assert "start c" not in node.runtime.log


@virtual
async def test_secrets_and_tokens_of_pods_that_are_gone_are_forgotten(tmp_path):
    world = World(tmp_path)
    clock = world.clock
    line, admin = world.line, world.cluster.client("tester")
    await admin.create(SECRETS, config("Secret", "password", {"p": "cA=="}))
    one = pod([container(env=[PASSWORD])])
    async with Kept(world.file, "secret", clock) as kept, Nursery("test") as nursery:
        client = KeepingClient(line.through(_WithTokens(admin)), kept, clock)
        references = References(client, clock, nursery, lambda _: None)
        await references.hold("u", references_of(one))
        source = {"audience": "x", "expirationSeconds": 600}
        await Tokens(client, clock).granted(one, [source])
        await client.list(SERVICES)
        await kept.keep_only([one])
        assert len(kept.names("one ")) == 2
        assert len(kept.names("token ")) == 1
        line.is_cut = True
        await asyncio.sleep(3600)
        again = await Tokens(client, clock).granted(one, [source])
        assert again["x"][0] == "signed"  # its time is up, but nobody is there who would look
        await kept.keep_only([])
        assert kept.names("one ") + kept.names("token ") == []
        assert len(kept.names("all ")) == 1


def driven(name: str) -> dict[str, Any]:
    """Return a volume of a CSI driver, with a secret."""
    secret = {"name": "stage", "namespace": "system"}
    source = {"driver": "csi.example", "volumeHandle": "h", "nodeStageSecretRef": secret}
    return {
        "metadata": {"name": name},
        "spec": {
            "csi": source,
            "accessModes": ["ReadWriteOnce"],
            "capacity": {"storage": "1Gi"},
        },
    }


@virtual
async def test_what_volumes_of_drivers_and_devices_need_is_kept_as_long_as_their_pods(tmp_path):
    world = World(tmp_path)
    admin = world.cluster.client("tester")
    name = attachment_name(driven("v")["spec"]["csi"], "n1")
    wanted: list[tuple[Resource, str, str]] = [
        (PERSISTENTVOLUMECLAIMS, "data", "default"),
        (PERSISTENTVOLUMES, "v", ""),
        (VOLUMEATTACHMENTS, name, ""),
        (SECRETS, "stage", "system"),
        (SECRETS, "other", "system"),
        (RESOURCECLAIMS, "gpu", "default"),
    ]
    objects: list[dict[str, Any]] = [
        {"metadata": {"name": "data", "namespace": "default"}, "spec": {"volumeName": "v"}},
        driven("v"),
        {"metadata": {"name": name}, "spec": {}, "status": {"attached": True}},
        config("Secret", "stage", {"k": "dg=="})
        | {"metadata": {"name": "stage", "namespace": "system"}},
        config("Secret", "other", {}) | {"metadata": {"name": "other", "namespace": "system"}},
        {"metadata": {"name": "gpu", "namespace": "default"}, "spec": {}},
    ]
    for (kind, _, _), obj in zip(wanted, objects, strict=True):
        await admin.create(kind, obj)
    claimed = [{"name": "d", "persistentVolumeClaim": {"claimName": "data"}}]
    devices = [{"name": "g", "resourceClaimName": "gpu"}]
    one = pod(volumes=claimed, resourceClaims=devices, nodeName="n1")
    clock, line = world.clock, world.line
    async with Kept(world.file, "secret", clock) as kept:
        client = KeepingClient(line.through(admin), kept, clock)
        for kind, name, namespace in wanted:
            await client.get(kind, name, namespace)
        await kept.keep_only([one])
    line.is_cut = True
    async with Kept(world.file, "secret", clock) as kept:
        client = KeepingClient(line.through(admin), kept, clock)
        for kind, name, namespace in wanted:
            if name != "other":  # no pod of this node needs it
                assert (await client.get(kind, name, namespace))["metadata"]["name"] == name
        with pytest.raises(ServiceUnavailableError):
            await client.get(SECRETS, "other", "system")
        await kept.keep_only([])
        assert kept.names("claim ") == []


class _WithTokens:
    """A client whose server signs tokens."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    async def create(self, resource: Any, obj: Any, **more: Any) -> Any:
        if resource is not SERVICEACCOUNTS:
            return await self._client.create(resource, obj, **more)
        status = {"token": "signed", "expirationTimestamp": "2026-01-01T00:10:00Z"}
        return obj | {"status": status}


@virtual
async def test_a_field_selector_keeps_its_own(tmp_path):
    world = World(tmp_path)
    admin = world.cluster.client("tester")
    await admin.create(CONFIGMAPS, config("ConfigMap", "a", {}))
    await admin.create(CONFIGMAPS, config("ConfigMap", "b", {}))
    find = partial(Selection, "default")
    for cut in (False, True):
        world.line.is_cut = cut
        async with world.client() as client, Informers(client, world.clock) as informers:
            informer = informers.get(CONFIGMAPS, find(field_selector="metadata.name=a"))
            await informer.wait_synced()
            assert names(informer) == ["a"]
            await asyncio.sleep(5)
