"""Volumes are attached where pods need them, and taken off where nobody uses them any more."""

import contextlib
from collections.abc import AsyncIterator
from typing import Any

from minikube_py.api.core import EVENTS, NODES, PERSISTENTVOLUMECLAIMS, PERSISTENTVOLUMES, PODS
from minikube_py.api.object import Key, get
from minikube_py.api.storage import CSIDRIVERS, VOLUMEATTACHMENTS
from minikube_py.server.controllers import attach_detach
from minikube_py.server.controllers.attachments import (
    NodeView,
    Wanted,
    attachment_name,
    plan,
    seconds_to_force,
    unique_name,
)
from tests.frozen import freeze
from tests.harness import World, harness
from tests.unit.server.controllers.volumes import claim, ref, volume
from tests.virtual_time import settle, virtual

MANAGED = {"volumes.kubernetes.io/controller-managed-attach-detach": "true"}
CSI = {"driver": "example.com", "volumeHandle": "h"}


def disk(**more: Any) -> Any:
    made = volume("v", csi=CSI, **more)
    spec = {key: value for key, value in made["spec"].items() if key != "hostPath"}
    return freeze({**made, "spec": spec})


NAME, UNIQUE = attachment_name(disk(), "n"), unique_name(disk())


def node(name: str = "n", *, ready: str = "True", **status: Any) -> Any:
    conditions = [{"type": "Ready", "status": ready}]
    metadata = {"name": name, "annotations": MANAGED}
    return {"metadata": metadata, "status": {"conditions": conditions, **status}}


def pod(name: str = "p", on: str = "n") -> dict[str, Any]:
    volumes = [{"name": "v", "persistentVolumeClaim": {"claimName": "c"}}]
    spec = {"nodeName": on, "volumes": volumes, "containers": []}
    return {"metadata": {"name": name, "namespace": "d"}, "spec": spec}


def test_names_are_those_that_kubelets_work_out() -> None:
    assert UNIQUE == "kubernetes.io/csi/example.com^h"
    assert NAME.startswith("csi-")
    assert len(NAME) == len("csi-") + 64


def going(**more: Any) -> NodeView:
    attachment = {"metadata": {"name": NAME, "uid": "u"}, "status": {"attached": True}}
    return NodeView(name="n", attached={NAME: (attachment, disk())}, **more)


def verbs(view: NodeView) -> list[str]:
    return [type(action).__name__ for action in plan(view)]


def test_what_a_kubelet_still_uses_is_not_taken_off() -> None:
    used = {"volumesInUse": [UNIQUE], "volumesAttached": [{"name": UNIQUE}]}
    assert verbs(going(node=node(**used))) == []
    free = {"volumesAttached": [{"name": UNIQUE}]}
    # First it is said that the volume is not there any more, so that no kubelet begins to use it.
    assert verbs(going(node=node(**free))) == ["Patch", "Delete"]
    assert verbs(going(node=None)) == ["Delete"]
    lost = node(**used, ready="Unknown")
    assert verbs(going(node=lost, unwanted_seconds={NAME: 359.0})) == []
    assert verbs(going(node=lost, unwanted_seconds={NAME: 360.0})) == ["Patch", "Delete"]
    assert verbs(going(node=node(**used), unwanted_seconds={NAME: 900.0})) == []
    taint = {"taints": [{"key": "node.kubernetes.io/out-of-service", "effect": "NoExecute"}]}
    assert verbs(going(node={**node(**used), "spec": taint})) == ["Patch", "Delete"]


def test_only_nodes_that_are_not_ready_are_looked_at_again() -> None:
    used = {"volumesInUse": [UNIQUE]}
    assert seconds_to_force(going(node=node(**used))) is None
    wait = seconds_to_force(going(node=node(**used, ready="False"), unwanted_seconds={NAME: 60}))
    assert wait is not None
    assert 300 <= wait < 301
    assert seconds_to_force(going(node=None)) is None


def test_a_volume_for_one_node_waits_until_another_gives_it_up() -> None:
    wanted = {NAME: Wanted(disk(), [pod()])}
    view = NodeView(name="n", node=node(), wanted=wanted, elsewhere={"v": ["q", "r"]})
    [event] = plan(view)
    text = 'Multi-Attach error for volume "v" Volume is already used by pod(s) q, r'
    assert (event.reason, event.message) == ("FailedAttachVolume", text)  # type: ignore[union-attr]
    shared = {NAME: Wanted(disk(accessModes=["ReadWriteMany"]), [pod()])}
    view = NodeView(name="n", node=node(), wanted=shared, elsewhere={"v": ["q"]})
    assert verbs(view) == ["Create"]
    view = NodeView(name="n", node={"metadata": {"name": "n"}}, wanted=wanted)
    assert verbs(view) == []


# --- at work ---


@contextlib.asynccontextmanager
async def cluster(**driver: Any) -> AsyncIterator[World]:
    async with harness() as world:
        for name in ("n", "m"):
            await world.client.create(NODES, node(name))
        if driver:
            made = {"metadata": {"name": "example.com"}, "spec": driver}
            await world.client.create(CSIDRIVERS, made)
        bound = {"annotations": {"pv.kubernetes.io/bind-completed": "yes"}}
        named = claim(volumeName="v", metadata=bound)
        made = await world.client.create(PERSISTENTVOLUMECLAIMS, named)
        await world.client.create(PERSISTENTVOLUMES, disk(claimRef=ref(made)))
        world.run(attach_detach.CONTROLLER)
        await settle()
        yield world


def attachments(world: World) -> dict[str, str]:
    return {
        a["spec"]["nodeName"]: a["metadata"]["name"]
        for a in world.cluster.objects(VOLUMEATTACHMENTS)
    }


async def attach(world: World, name: str, **status: Any) -> None:
    """Do what a driver does."""
    there = world.cluster.table(VOLUMEATTACHMENTS)[Key("", name)].obj
    status = status or {"attached": True}
    await world.client.update(VOLUMEATTACHMENTS, {**there, "status": status}, subresource="status")
    await settle(1)


def reported(world: World, name: str = "n") -> list[str]:
    found = world.cluster.table(NODES)[Key("", name)].obj
    return [one["name"] for one in get(found, "status.volumesAttached") or ()]


def told(world: World) -> list[tuple[str, str]]:
    return [(e["reason"], e["message"]) for e in world.cluster.objects(EVENTS)]


@virtual
async def test_a_volume_follows_its_pod_from_node_to_node() -> None:
    async with cluster() as world:
        await world.client.create(PODS, pod("p", "n"))
        await settle(1)
        assert attachments(world) == {"n": NAME}
        assert reported(world) == []
        await attach(world, NAME)
        assert reported(world) == [UNIQUE]
        assert ("SuccessfulAttachVolume", 'AttachVolume.Attach succeeded for volume "v" ') in told(
            world
        )
        await world.client.create(PODS, pod("q", "m"))
        await settle(1)
        assert attachments(world) == {"n": NAME}
        text = 'Multi-Attach error for volume "v" Volume is already used by pod(s) p'
        assert ("FailedAttachVolume", text) in told(world)
        await world.client.delete(PODS, "p", "d", options={"gracePeriodSeconds": 0})
        await settle(1)
        assert reported(world) == []
        assert list(attachments(world)) == ["m"]
        before = len(world.cluster.requests)
        await settle(1000)
        assert [r for r in world.cluster.requests[before:] if r[2] != "events"] == []


@virtual
async def test_what_cannot_be_attached_is_told_to_the_pod() -> None:
    async with cluster() as world:
        await world.client.create(PODS, pod())
        await settle(1)
        error = {"message": "no such disk", "time": "2026-01-01T00:00:00Z"}
        await attach(world, NAME, attached=False, attachError=error)
        text = 'AttachVolume.Attach failed for volume "v" : no such disk'
        assert ("FailedAttachVolume", text) in told(world)


@virtual
async def test_a_driver_may_want_nothing_attached() -> None:
    async with cluster(attachRequired=False) as world:
        await world.client.create(PODS, pod())
        await settle(1)
        assert attachments(world) == {}


@virtual
async def test_attachments_of_others_are_let_be() -> None:
    async with cluster() as world:
        spec = {"attacher": "example.com", "nodeName": "n"}
        for name, volume_name in (("theirs", "v"), ("astray", "gone")):
            source = {"source": {"persistentVolumeName": volume_name}}
            made = {"metadata": {"name": name}, "spec": {**spec, **source}}
            await world.client.create(VOLUMEATTACHMENTS, made)
        await settle(1000)
        assert len(world.cluster.objects(VOLUMEATTACHMENTS)) == 2


@virtual
async def test_a_lost_node_gives_its_volumes_up_after_six_minutes() -> None:
    async with cluster() as world:
        await world.client.create(PODS, pod())
        await settle(1)
        await attach(world, NAME)
        patch = {"status": {"volumesInUse": [UNIQUE], **node(ready="Unknown")["status"]}}
        await world.client.patch(NODES, "n", patch, subresource="status")
        await world.client.delete(PODS, "p", "d", options={"gracePeriodSeconds": 0})
        await settle(350)
        assert attachments(world) == {"n": NAME}
        await settle(20)
        assert attachments(world) == {}
