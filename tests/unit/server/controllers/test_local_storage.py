"""Volumes on the disks of nodes: room is never promised twice, data goes before its volume does."""

from typing import Any

import pytest

from minikube_py.api.core import EVENTS, NODES, PERSISTENTVOLUMECLAIMS, PERSISTENTVOLUMES
from minikube_py.api.local_storage import (
    OFFER,
    PROVISIONER,
    UNWANTED,
    Offer,
    offer_of,
    unwanted_of,
)
from minikube_py.api.object import Key, annotations_of, evolve, get
from minikube_py.api.storage import CSISTORAGECAPACITIES, STORAGECLASSES
from minikube_py.client.actions import Create, Emit, Update
from minikube_py.server.controllers import (
    local_storage,
    persistent_volumes,
    storage_protection,
)
from minikube_py.server.controllers.local_volumes import FINALIZER, NodeView, new_volume, plan, room
from tests.harness import World, harness
from tests.unit.server.controllers.volumes import claim, storage_class, volume
from tests.virtual_time import settle, virtual

GI = 1 << 30
CLASS = storage_class("local-path", PROVISIONER, volumeBindingMode="WaitForFirstConsumer")
PARTS = (
    local_storage.CONTROLLER,
    persistent_volumes.CONTROLLER,
    storage_protection.PVC_PROTECTION,
    storage_protection.PV_PROTECTION,
)


def offer(total: int = 10, available: int = 8, removed: tuple[str, ...] = ()) -> Offer:
    return Offer(path="/s", total=total * GI, available=available * GI, removed=removed)


def node(name: str = "n", said: Offer | None = None, **annotations: str) -> Any:
    labels = {"kubernetes.io/hostname": f"host-{name}"}
    notes = {OFFER: (said or offer()).text(), **annotations}
    return {"metadata": {"name": name, "labels": labels, "annotations": notes}}


def wanted(name: str = "c", size: str = "1Gi", **more: Any) -> Any:
    notes = {
        "volume.kubernetes.io/storage-provisioner": PROVISIONER,
        "volume.kubernetes.io/selected-node": "n",
    }
    metadata = {"annotations": notes, "finalizers": ["kubernetes.io/pvc-protection"]}
    return claim(name, size, storageClassName="local-path", metadata=metadata, **more)


def view(*claims: Any, **more: Any) -> NodeView:
    given: dict[str, Any] = {
        "name": "n",
        "node": node(),
        "claims": claims,
        "classes": {"local-path": CLASS},
        "capacities": {},
    }
    return NodeView(**{**given, **more})


def test_what_a_node_offers_can_be_read_again_and_nonsense_is_no_offer() -> None:
    said = offer(removed=("pvc-a", "pvc-b"))
    assert offer_of(node(said=said)) == said
    assert offer_of({"metadata": {"annotations": {OFFER: "{"}}}) is None
    assert offer_of({"metadata": {"annotations": {OFFER: '{"path": 1}'}}}) is None
    assert offer_of({"metadata": {}}) is None


@pytest.mark.parametrize(
    ("total", "available", "promised", "left"),
    [(10, 8, [], 8), (10, 8, ["1Gi"], 8), (10, 8, ["6Gi"], 4), (10, 8, ["8Gi", "8Gi"], 0)],
)
def test_no_more_is_promised_than_is_free_and_than_there_is(
    total: int, available: int, promised: list[str], left: int
) -> None:
    volumes = [volume(f"v{at}", size) for at, size in enumerate(promised)]
    assert room(offer(total, available), volumes) == left * GI


def test_a_claim_gets_a_folder_on_the_node_that_was_chosen() -> None:
    made = new_volume(wanted(), node(), offer(), {"local-path": CLASS})
    assert made["metadata"]["name"] == "pvc-uid-c"
    assert made["spec"]["local"] == {"path": "/s/pvc-uid-c"}
    assert made["spec"]["persistentVolumeReclaimPolicy"] == "Delete"
    terms = made["spec"]["nodeAffinity"]["required"]["nodeSelectorTerms"]
    assert terms[0]["matchExpressions"][0]["values"] == ["host-n"]
    errors = PERSISTENTVOLUMES.validate(PERSISTENTVOLUMES.default(made), None)
    assert [str(error) for error in errors] == []


@pytest.mark.parametrize(
    ("change", "more", "why"),
    [
        ({"size": "9Gi"}, {}, 'node "n" has 8Gi left for volumes, 9Gi requested'),
        (
            {"accessModes": ["ReadWriteMany"]},
            {},
            "only ReadWriteOnce and ReadWriteOncePod are possible on the disk of one node",
        ),
        (
            {"volumeMode": "Block"},
            {},
            "only volumes with a file system are possible, no block devices",
        ),
        ({"selector": {}}, {}, "claim Selector is not supported"),
        ({}, {"node": None}, 'node "n" not found'),
        ({}, {"node": {"metadata": {"name": "n"}}}, 'node "n" offers no local storage'),
        ({}, {"classes": {}}, 'storageclass.storage.k8s.io "local-path" not found'),
    ],
)
def test_a_claim_that_cannot_be_met_is_told_why_and_scheduled_again(
    change: Any, more: Any, why: str
) -> None:
    event, update = (
        action for action in plan(view(wanted(**change), **more)) if not isinstance(action, Create)
    )
    assert isinstance(event, Emit)
    assert (event.type, event.reason) == ("Warning", "ProvisioningFailed")
    assert event.message == f'failed to provision volume with StorageClass "local-path": {why}'
    assert isinstance(update, Update)
    assert "volume.kubernetes.io/selected-node" not in annotations_of(update.obj)


def test_two_claims_do_not_get_the_same_room() -> None:
    actions = list(plan(view(wanted("a", "5Gi"), wanted("b", "5Gi"))))
    made = [a.obj for a in actions if isinstance(a, Create) and a.resource is PERSISTENTVOLUMES]
    assert [one["metadata"]["name"] for one in made] == ["pvc-uid-a"]
    assert [a.obj["metadata"]["name"] for a in actions if isinstance(a, Update)] == ["b"]


# --- at work ---


async def begun(world: World, *names: str) -> None:
    await world.client.create(STORAGECLASSES, CLASS)
    for name in names:
        await world.client.create(NODES, node(name))
    world.run(*PARTS)
    await settle(1)


async def bound(world: World) -> str:
    """Have a claim bound; return the name of its volume."""
    await world.client.create(PERSISTENTVOLUMECLAIMS, wanted())
    await settle(1)
    found = world.cluster.table(PERSISTENTVOLUMECLAIMS)[Key("d", "c")].obj
    assert get(found, "status.phase") == "Bound"
    return str(found["spec"]["volumeName"])


def unwanted(world: World) -> frozenset[str]:
    return unwanted_of(world.cluster.table(NODES)[Key("", "n")].obj)


async def say(world: World, said: Offer) -> None:
    patch = {"metadata": {"annotations": {OFFER: said.text()}}}
    await world.client.patch(NODES, "n", patch)
    await settle(1)


@virtual
async def test_a_volume_goes_when_its_node_says_that_the_data_is_gone() -> None:
    async with harness() as world:
        await begun(world, "n")
        name = await bound(world)
        assert unwanted(world) == frozenset()
        await world.client.delete(PERSISTENTVOLUMECLAIMS, "c", "d")
        await settle(1)
        assert unwanted(world) == {name}
        assert world.cluster.table(PERSISTENTVOLUMES)[Key("", name)].deleting
        await settle(1000)
        assert Key("", name) in world.cluster.table(PERSISTENTVOLUMES)
        await say(world, offer(removed=(name,)))
        assert not world.cluster.table(PERSISTENTVOLUMES)
        assert unwanted(world) == frozenset()


@virtual
async def test_what_was_removed_before_it_was_asked_for_does_not_count() -> None:
    async with harness() as world:
        await begun(world, "n")
        name = await bound(world)
        await say(world, offer(removed=(name,)))
        before = len(world.cluster.requests)
        assert Key("", name) in world.cluster.table(PERSISTENTVOLUMES)
        await settle(100)
        assert [r for r in world.cluster.requests[before:] if r[2] != "events"] == []


@virtual
async def test_volumes_of_a_node_that_is_gone_go_too() -> None:
    async with harness() as world:
        await begun(world, "n")
        await bound(world)
        await world.client.delete(NODES, "n")
        await world.client.delete(PERSISTENTVOLUMECLAIMS, "c", "d")
        await settle(1)
        assert not world.cluster.table(PERSISTENTVOLUMES)
        assert not world.cluster.table(CSISTORAGECAPACITIES)


@virtual
async def test_a_retained_volume_keeps_its_data() -> None:
    async with harness() as world:
        await begun(world, "n")
        name = await bound(world)
        patch = {"spec": {"persistentVolumeReclaimPolicy": "Retain"}}
        await world.client.patch(PERSISTENTVOLUMES, name, patch)
        await world.client.delete(PERSISTENTVOLUMECLAIMS, "c", "d")
        await settle(10)
        found = world.cluster.table(PERSISTENTVOLUMES)[Key("", name)].obj
        assert found["status"]["phase"] == "Released"
        assert FINALIZER in found["metadata"]["finalizers"]
        await world.client.delete(PERSISTENTVOLUMES, name)
        await settle(10)
        assert not world.cluster.table(PERSISTENTVOLUMES)
        asked = [r for r in world.cluster.requests if r[:2] == ("local-path-provisioner", "patch")]
        assert asked == []


@virtual
async def test_schedulers_are_told_how_much_is_left_in_coarse_steps() -> None:
    async with harness() as world:
        await begun(world, "n")

        def told() -> list[Any]:
            return [
                (c["storageClassName"], c["capacity"], c["nodeTopology"]["matchLabels"])
                for c in world.cluster.objects(CSISTORAGECAPACITIES)
            ]

        hostname = {"kubernetes.io/hostname": "host-n"}
        assert told() == [("local-path", "8160Mi", hostname)]
        before = len(world.cluster.requests)
        await say(world, evolve_available(offer(), 8 * GI - 1))
        assert [
            r for r in world.cluster.requests[before:] if r[0] == "local-path-provisioner"
        ] == []
        await say(world, evolve_available(offer(), 7 * GI))
        assert told() == [("local-path", "7140Mi", hostname)]
        await world.client.delete(STORAGECLASSES, "local-path")
        await settle(1)
        assert told() == []


def evolve_available(said: Offer, available: int) -> Offer:
    return Offer(path=said.path, total=said.total, available=available)


@virtual
async def test_nothing_of_another_provisioner_is_touched() -> None:
    async with harness() as world:
        await begun(world, "n")
        other = volume(
            "theirs",
            phase="Released",
            persistentVolumeReclaimPolicy="Delete",
            metadata={"annotations": {"pv.kubernetes.io/provisioned-by": "example.com/disk"}},
        )
        await world.client.create(PERSISTENTVOLUMES, other)
        unmet = evolve(
            wanted("other"),
            ("metadata", "annotations", "volume.kubernetes.io/storage-provisioner"),
            "example.com/disk",
        )
        unmet = evolve(unmet, "spec.storageClassName", "other")
        before = len(world.cluster.requests)
        await world.client.create(PERSISTENTVOLUMECLAIMS, unmet)
        await settle(10)
        ours = [r for r in world.cluster.requests[before:] if r[0] == "local-path-provisioner"]
        assert ours == []
        assert UNWANTED not in annotations_of(world.cluster.table(NODES)[Key("", "n")].obj)


@virtual
async def test_a_claim_that_waits_for_no_pod_gets_the_emptiest_node() -> None:
    async with harness() as world:
        await world.client.create(STORAGECLASSES, storage_class("now", PROVISIONER))
        for name, said in (("n", offer(10, 5)), ("m", offer(10, 9))):
            await world.client.create(NODES, node(name, said))
        world.run(*PARTS)
        for name, size in (("c", "6Gi"), ("d", "4Gi"), ("e", "7Gi")):
            await world.client.create(
                PERSISTENTVOLUMECLAIMS, claim(name, size, storageClassName="now")
            )
            await settle(1)
        found = {v["spec"]["claimRef"]["name"]: v for v in world.cluster.objects(PERSISTENTVOLUMES)}
        where = {name: annotations_of(one)["kpy.dev/node"] for name, one in found.items()}
        assert where == {"c": "m", "d": "n"}
        patch = {"metadata": {"annotations": {OFFER: offer(10, 6).text()}}}
        await world.client.patch(NODES, "n", patch)
        await settle(1)
        messages = [e["message"] for e in world.cluster.objects(EVENTS)]
        why = "no node has 7Gi left for volumes"
        assert f'failed to provision volume with StorageClass "now": {why}' in messages
        await world.client.delete(PERSISTENTVOLUMECLAIMS, "c", "d")
        await settle(1)
        [gone] = unwanted_of(world.cluster.table(NODES)[Key("", "m")].obj)
        patch = {"metadata": {"annotations": {OFFER: offer(10, 9, (gone,)).text()}}}
        await world.client.patch(NODES, "m", patch)
        await settle(60)
        assert len(world.cluster.objects(PERSISTENTVOLUMES)) == 2
