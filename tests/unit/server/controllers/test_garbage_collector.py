"""Garbage collection, run against the model: background, foreground, orphans, absent owners."""

from minikube_py.api.apps import DEPLOYMENTS, REPLICASETS
from minikube_py.api.core import CONFIGMAPS, EVENTS, NODES, PODS, SECRETS
from minikube_py.api.object import Key, evolve, owner_reference
from minikube_py.server.controllers.garbage_collector import CONTROLLER
from tests.harness import harness
from tests.virtual_time import settle, virtual


def obj(name, *owners, block=True, **more):
    metadata = {"name": name, "namespace": "d", **more}
    refs = [{**owner_reference(owner), "blockOwnerDeletion": block} for owner in owners]
    return {"metadata": {**metadata, "ownerReferences": refs}} if refs else {"metadata": metadata}


def names(world, resource):
    return sorted(one["metadata"]["name"] for one in world.cluster.objects(resource))


def policy(name):
    return {"propagationPolicy": name}


@virtual
async def test_dependents_go_after_their_owner_also_over_several_kinds():
    async with harness() as world:
        world.run(CONTROLLER)
        top = await world.client.create(CONFIGMAPS, obj("top"))
        middle = await world.client.create(SECRETS, obj("middle", top))
        await world.client.create(CONFIGMAPS, obj("bottom", middle))
        await settle()
        await world.client.delete(CONFIGMAPS, "top", "d")
        await settle()
        assert names(world, CONFIGMAPS) == []
        assert names(world, SECRETS) == []


@virtual
async def test_an_owner_in_the_foreground_waits_for_those_that_block_it():
    async with harness() as world:
        world.run(CONTROLLER)
        top = await world.client.create(CONFIGMAPS, obj("top"))
        held = obj("held", top, finalizers=["test/hold"])
        await world.client.create(SECRETS, held)
        await world.client.create(SECRETS, obj("free", top, block=False))
        await world.client.delete(CONFIGMAPS, "top", "d", options=policy("Foreground"))
        await settle()
        assert names(world, SECRETS) == ["held"]
        assert names(world, CONFIGMAPS) == ["top"]
        there = world.cluster.table(SECRETS)[Key("d", "held")].obj
        await world.client.update(SECRETS, evolve(there, "metadata.finalizers", []))
        await settle()
        assert names(world, SECRETS) == names(world, CONFIGMAPS) == []


@virtual
async def test_the_foreground_goes_all_the_way_down_before_the_owner_is_gone():
    async with harness() as world:
        world.run(CONTROLLER)
        order = []
        for resource in (CONFIGMAPS, SECRETS, PODS):
            world.informers.get(resource).subscribe(
                lambda old, new: order.append(old.key.name) if new is None else None
            )
        top = await world.client.create(CONFIGMAPS, obj("top"))
        middle = await world.client.create(SECRETS, obj("middle", top))
        await world.client.create(PODS, {**obj("bottom", middle), "spec": {}})
        await settle()
        await world.client.delete(CONFIGMAPS, "top", "d", options=policy("Foreground"))
        await settle()
    assert order == ["bottom", "middle", "top"]


@virtual
async def test_orphans_stay_without_the_reference():
    async with harness() as world:
        world.run(CONTROLLER)
        top = await world.client.create(CONFIGMAPS, obj("top"))
        await world.client.create(SECRETS, obj("child", top))
        await settle()
        await world.client.delete(CONFIGMAPS, "top", "d", options=policy("Orphan"))
        await settle()
        assert names(world, CONFIGMAPS) == []
        (child,) = world.cluster.objects(SECRETS)
        assert "ownerReferences" not in child["metadata"]


@virtual
async def test_one_of_two_owners_is_enough_and_the_lost_one_is_dropped():
    async with harness() as world:
        world.run(CONTROLLER)
        one = await world.client.create(CONFIGMAPS, obj("one"))
        two = await world.client.create(CONFIGMAPS, obj("two"))
        await world.client.create(SECRETS, obj("child", one, two))
        await settle()
        await world.client.delete(CONFIGMAPS, "one", "d")
        await settle()
        (child,) = world.cluster.objects(SECRETS)
        assert [ref["name"] for ref in child["metadata"]["ownerReferences"]] == ["two"]


@virtual
async def test_an_object_whose_owner_never_was_is_deleted_at_start():
    async with harness() as world:
        ghost = {"apiVersion": "v1", "kind": "ConfigMap"}
        ghost = {**ghost, "metadata": {"name": "ghost", "namespace": "d", "uid": "none"}}
        await world.client.create(SECRETS, obj("child", ghost))
        world.run(CONTROLLER)
        await settle()
        assert names(world, SECRETS) == []


@virtual
async def test_an_owner_of_the_same_name_but_another_uid_is_no_owner():
    async with harness() as world:
        world.run(CONTROLLER)
        there = await world.client.create(CONFIGMAPS, obj("owner"))
        before = evolve(there, "metadata.uid", "uid-before")
        await world.client.create(SECRETS, obj("child", before))
        await settle()
        assert names(world, SECRETS) == []
        assert names(world, CONFIGMAPS) == ["owner"]


@virtual
async def test_an_owner_of_a_kind_that_is_not_served_is_believed():
    async with harness() as world:
        world.run(CONTROLLER)
        strange = {"apiVersion": "example.com/v1", "kind": "Thing"}
        strange = {**strange, "metadata": {"name": "x", "namespace": "d", "uid": "x"}}
        await world.client.create(SECRETS, obj("child", strange))
        await settle(100)
        assert names(world, SECRETS) == ["child"]


@virtual
async def test_an_owner_in_another_namespace_is_told_of_and_owns_nothing():
    async with harness() as world:
        world.run(CONTROLLER)
        metadata = {"name": "o", "namespace": "other"}
        owner = await world.client.create(CONFIGMAPS, {"metadata": metadata})
        metadata = {"name": "s", "namespace": "d", "ownerReferences": [owner_reference(owner)]}
        await world.client.create(CONFIGMAPS, {"metadata": metadata})
        await settle(10)
        assert names(world, CONFIGMAPS) == ["o"]
        (event,) = world.cluster.objects(EVENTS)
        assert event["reason"] == "OwnerRefInvalidNamespace"
        assert event["message"].endswith('does not exist in namespace "d"')


@virtual
async def test_a_cluster_scoped_object_with_a_namespaced_owner_stays_and_is_told_of():
    async with harness() as world:
        world.run(CONTROLLER)
        owner = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "o", "uid": "o"}}
        node = {"metadata": {"name": "n1", "ownerReferences": [owner_reference(owner)]}}
        await world.client.create(NODES, node)
        await settle(10)
        assert names(world, NODES) == ["n1"]
        assert {event["reason"] for event in world.cluster.objects(EVENTS)} == {
            "OwnerRefInvalidNamespace"
        }


@virtual
async def test_an_owner_in_another_namespace_is_absent():
    async with harness() as world:
        world.run(CONTROLLER)
        metadata = {"name": "owner", "namespace": "other"}
        owner = await world.client.create(CONFIGMAPS, {"metadata": metadata})
        await world.client.create(SECRETS, obj("child", owner))
        await settle()
        assert names(world, SECRETS) == []


@virtual
async def test_two_that_own_each_other_and_are_deleted_in_the_foreground_both_go():
    async with harness() as world:
        one = await world.client.create(CONFIGMAPS, obj("one"))
        two = await world.client.create(CONFIGMAPS, obj("two", one))
        await world.client.update(
            CONFIGMAPS, evolve(one, "metadata.ownerReferences", [owner_reference(two)])
        )
        world.run(CONTROLLER)
        await settle()
        await world.client.delete(CONFIGMAPS, "one", "d", options=policy("Foreground"))
        await settle(60)
        assert names(world, CONFIGMAPS) == []


@virtual
async def test_nothing_is_written_while_nothing_is_lost():
    async with harness() as world:
        top = await world.client.create(DEPLOYMENTS, {**obj("top"), "spec": {}})
        await world.client.create(REPLICASETS, {**obj("rs", top), "spec": {}})
        world.run(CONTROLLER)
        await settle(3600)
        writes = [one for one in world.cluster.requests if one[0] == CONTROLLER.name]
    assert writes == []
