"""lightkube: typed models, generic resources, server-side apply, watches and waits."""

import asyncio
from collections.abc import Iterator

import pytest
from lightkube import ApiError, AsyncClient, Client, KubeConfig
from lightkube.core.exceptions import ConditionError
from lightkube.generic_resource import create_namespaced_resource
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.apps_v1 import Deployment
from lightkube.resources.core_v1 import ConfigMap, Pod, Secret
from lightkube.types import CascadeType, PatchType

from tests.e2e.clients.python.conftest import SECONDS_MAX


@pytest.fixture
def kube(kubeconfig: str, namespace: str) -> Iterator[Client]:
    with Client(KubeConfig.from_file(kubeconfig), namespace, field_manager="checks") as kube:
        yield kube


def config_map(name: str, app: str, **data: str) -> ConfigMap:
    return ConfigMap(metadata=ObjectMeta(name=name, labels={"app": app}), data=data)


def test_objects_are_made_read_changed_and_deleted(kube: Client, namespace: str) -> None:
    made = kube.create(config_map("c", "crud", a="1"))
    assert made.metadata is not None
    assert made.metadata.uid
    with pytest.raises(ApiError) as error:
        kube.create(config_map("c", "crud"))
    assert error.value.status.reason == "AlreadyExists"
    kube.patch(ConfigMap, "c", {"data": {"b": "2"}})
    kube.patch(ConfigMap, "c", {"data": {"a": None}}, patch_type=PatchType.MERGE)
    add = [{"op": "add", "path": "/data/c", "value": "3"}]
    assert kube.patch(ConfigMap, "c", add, patch_type=PatchType.JSON).data == {"b": "2", "c": "3"}
    read = kube.get(ConfigMap, "c")
    kube.replace(read)
    kube.delete(ConfigMap, "c")
    with pytest.raises(ApiError) as error:
        kube.get(ConfigMap, "c")
    assert error.value.status.code == 404
    kube.create(Secret(metadata=ObjectMeta(name="d")))
    kube.deletecollection(Secret)
    assert list(kube.list(Secret)) == []


def test_fields_are_applied_on_the_server(kube: Client) -> None:
    kube.apply(config_map("s", "applied", a="1"))
    with pytest.raises(ApiError) as error:
        kube.apply(config_map("s", "applied", a="2"), field_manager="other")
    assert error.value.status.reason == "Conflict"
    kube.apply(config_map("s", "applied", a="2"), field_manager="other", force=True)
    assert kube.get(ConfigMap, "s").data == {"a": "2"}


def test_lists_are_paged_and_selected(kube: Client) -> None:
    for n in range(5):
        kube.create(config_map(f"p{n}", "paged"))
    found = list(kube.list(ConfigMap, chunk_size=2, labels={"app": "paged"}))
    assert [item.metadata.name for item in found if item.metadata] == [f"p{n}" for n in range(5)]
    assert len(list(kube.list(ConfigMap, fields={"metadata.name": "p3"}))) == 1


def test_a_watch_sees_changes(kube: Client) -> None:
    kube.create(config_map("w", "watched", n="0"))
    seen = []
    for kind, item in kube.watch(ConfigMap, labels={"app": "watched"}, server_timeout=60):
        seen.append((kind, (item.data or {})["n"]))
        if kind == "ADDED":
            kube.patch(ConfigMap, "w", {"data": {"n": "1"}})
        elif kind == "MODIFIED":
            kube.delete(ConfigMap, "w")
        else:
            break
    assert seen == [("ADDED", "0"), ("MODIFIED", "1"), ("DELETED", "1")]


def scaled(kube: Client, name: str, replicas: int) -> int | None:
    """Replace the scale; its controller writes the object too, and who comes second tries again."""
    for _ in range(50):
        scale = kube.get(Deployment.Scale, name)
        assert scale.spec is not None
        scale.spec.replicas = replicas
        try:
            done = kube.replace(scale, name)
        except ApiError as error:
            if error.status.code != 409:
                raise
        else:
            return done.spec.replicas if done.spec is not None else None
    raise AssertionError("the object changed at every try")


def test_one_waits_for_conditions_scales_and_runs_commands(kube: Client, namespace: str) -> None:
    ready = kube.wait(Pod, "web", for_conditions=["Ready"])
    assert ready.status is not None
    assert ready.status.phase == "Running"
    assert list(kube.log("web")) == ["up\n"]
    done = kube.exec(
        "web", command=["sh", "-c", "cat; exit 4"], stdin="in", stdout=True, timeout=60
    )
    assert (done.stdout, done.exit_code) == ("in", 4)
    labels = {"app": "none"}
    template = {"metadata": {"labels": labels}, "spec": {"containers": []}}
    container = {"name": "c", "image": "kpy.local/busybox:1"}
    template["spec"]["containers"].append(container)  # type: ignore[attr-defined, index]
    spec = {"replicas": 0, "selector": {"matchLabels": labels}, "template": template}
    kube.create(Deployment.from_dict({"metadata": {"name": "none"}, "spec": spec}))
    assert not scaled(kube, "none", 0)  # no replicas are not written: the field is omitempty
    available = kube.wait(Deployment, "none", for_conditions=["Available"])
    assert available.metadata is not None
    with pytest.raises(ConditionError):
        kube.wait(Deployment, "none", for_conditions=["N"], raise_for_conditions=["Available"])
    kube.delete(Deployment, "none", cascade=CascadeType.FOREGROUND)
    since = available.metadata.resourceVersion  # whether or not it is gone already
    this = {"metadata.name": "none"}
    for kind, _ in kube.watch(Deployment, fields=this, resource_version=since, server_timeout=60):
        if kind == "DELETED":
            break


def test_kinds_may_be_described_by_hand(kube: Client) -> None:
    lease = create_namespaced_resource("coordination.k8s.io", "v1", "Lease", "leases")
    kube.create(lease(metadata={"name": "g"}, spec={"holderIdentity": "me"}))
    assert kube.get(lease, "g").spec["holderIdentity"] == "me"


async def test_the_asynchronous_client_works_alike(kubeconfig: str, namespace: str) -> None:
    async with (
        asyncio.timeout(SECONDS_MAX),
        AsyncClient(KubeConfig.from_file(kubeconfig), namespace) as kube,
    ):
        await kube.create(config_map("async", "async"))
        names = [i.metadata.name async for i in kube.list(ConfigMap, labels={"app": "async"})]
        assert names == ["async"]
        async for kind, item in kube.watch(ConfigMap, labels={"app": "async"}):
            assert (kind, item.metadata and item.metadata.name) == ("ADDED", "async")
            break
