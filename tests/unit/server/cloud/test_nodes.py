"""Nodes and their machines: initialised once, followed, tainted when off, deleted when gone."""

import pytest

from minikube_py.api.core import EVENTS, NODES
from minikube_py.api.object import evolve, get, labels_of
from minikube_py.api.taints import taints_of
from minikube_py.server.cloud import cloud_node, cloud_node_lifecycle
from minikube_py.server.cloud.cloud_node import PROVIDED_IP, plan_start, wanted_addresses
from minikube_py.server.cloud.provider import CloudError, InstanceMetadata
from tests.harness import harness
from tests.unit.server.cloud.fake_cloud import FakeCloud, node
from tests.virtual_time import settle, virtual

NEW = {"key": cloud_node.UNINITIALIZED, "value": "true", "effect": "NoSchedule"}
OTHER = {"key": "mine", "effect": "NoSchedule"}
ADDRESSES = (
    {"type": "InternalIP", "address": "10.0.0.7"},
    {"type": "InternalIP", "address": "10.0.0.8"},
    {"type": "ExternalIP", "address": "198.51.100.7"},
)


def found(world, name="n1"):
    return next(n for n in world.cluster.objects(NODES) if n["metadata"]["name"] == name)


def told(world):
    return [(event["reason"], event["message"]) for event in world.cluster.objects(EVENTS)]


def writes(world, user):
    """What a controller wrote, events left out."""
    return [r for r in world.cluster.requests if r[0] == user and r[2] != "events"]


@virtual
async def test_a_new_node_gets_what_the_cloud_knows_and_loses_its_taint():
    cloud = FakeCloud()
    more = {"rack": "7", "foo.k8s.io/x": "no", "own": "cloud"}
    cloud.machine(
        "n1",
        instance_type="m5",
        zone="z1",
        region="r1",
        addresses=ADDRESSES,
        additional_labels=more,
    )
    async with harness() as world:
        world.run(cloud_node.controller(cloud, ""))
        await world.client.create(NODES, node(taints=[NEW, OTHER], labels={"own": "node"}))
        await settle(1)
        made = found(world)
        assert get(made, "spec.providerID") == "fake://n1"
        assert taints_of(made) == [OTHER]
        assert labels_of(made) == {
            "own": "node",
            "rack": "7",
            "beta.kubernetes.io/instance-type": "m5",
            "node.kubernetes.io/instance-type": "m5",
            "failure-domain.beta.kubernetes.io/zone": "z1",
            "topology.kubernetes.io/zone": "z1",
            "failure-domain.beta.kubernetes.io/region": "r1",
            "topology.kubernetes.io/region": "r1",
        }
        kinds = [one["type"] for one in get(made, "status.addresses")]
        assert kinds == ["InternalIP", "InternalIP", "ExternalIP", "Hostname"]
        assert told(world) == [("Synced", "Node synced successfully")]
        await settle(300)
        assert labels_of(found(world))["own"] == "cloud"
        assert "foo.k8s.io/x" not in labels_of(found(world))


def test_labels_that_speak_for_kubernetes_or_are_there_are_not_taken_at_the_start():
    more = {"foo.k8s.io/x": "no", "kubernetes.io/y": "no", "own": "cloud", "rack": "7"}
    metadata = InstanceMetadata(provider_id="a://b", additional_labels=more)
    labels = cloud_node.started_labels(node(labels={"own": "node"}), metadata)
    assert labels == {"own": "node", "rack": "7"}


@virtual
async def test_a_node_whose_machine_is_not_known_keeps_its_taint_until_it_is():
    cloud = FakeCloud()
    async with harness() as world:
        world.run(cloud_node.controller(cloud, ""))
        await world.client.create(NODES, node(taints=[NEW]))
        await settle(30)
        assert taints_of(found(world)) == [NEW]
        assert len(cloud.calls) < 20
        cloud.machine("n1")
        await settle(60)
        assert taints_of(found(world)) == []


@virtual
async def test_addresses_follow_the_cloud_every_five_minutes_and_all_nodes_at_once():
    cloud = FakeCloud()
    async with harness() as world:
        world.run(cloud_node.controller(cloud, ""))
        for name in ("n1", "n2", "n3"):
            cloud.machine(name, addresses=ADDRESSES)
            await world.client.create(NODES, node(name, taints=[NEW]))
            await settle(20)
        started = len(cloud.calls)
        cloud.machine("n2", addresses=ADDRESSES[:1])
        for _ in range(5):  # heartbeats ask nobody
            beat = evolve(found(world), "metadata.annotations", {"beat": str(_)})
            await world.client.update(NODES, beat)
            await settle(1)
        assert len(cloud.calls) == started
        await settle(300)
        assert len(cloud.calls) == started + 3
        assert [one["type"] for one in get(found(world, "n2"), "status.addresses")] == [
            "InternalIP",
            "Hostname",
        ]
        before = len(writes(world, cloud_node.NAME))
        await settle(3000)
        assert len(cloud.calls) == started + 33
        assert len(writes(world, cloud_node.NAME)) == before


@virtual
async def test_the_older_label_of_a_pair_counts():
    async with harness() as world:
        world.run(cloud_node.controller(FakeCloud(), ""))
        labels = {cloud_node.BETA_ZONE: "a", cloud_node.ZONE: "b", cloud_node.BETA_TYPE: "m5"}
        await world.client.create(NODES, node(labels=labels))
        await settle(1)
        made = labels_of(found(world))
        assert (made[cloud_node.ZONE], made[cloud_node.TYPE]) == ("a", "m5")


def test_a_node_without_a_provider_id_is_of_no_use():
    with pytest.raises(CloudError, match="cloud provider does not set node provider ID for node"):
        list(plan_start(node(), InstanceMetadata()))


def test_the_address_that_a_kubelet_was_told_comes_first_and_alone_of_its_kind():
    given = node(annotations={PROVIDED_IP: "10.0.0.8"})
    assert wanted_addresses(given, ADDRESSES) == [
        {"type": "InternalIP", "address": "10.0.0.8"},
        {"type": "ExternalIP", "address": "198.51.100.7"},
        {"type": "Hostname", "address": "n1"},
    ]
    assert wanted_addresses(given, ()) == ()
    for wrong in ("10.0.0.9", "x"):
        with pytest.raises(CloudError, match="node"):
            wanted_addresses(node(annotations={PROVIDED_IP: wrong}), ADDRESSES)


@virtual
async def test_a_node_whose_machine_is_gone_is_deleted_once_it_is_not_ready():
    cloud = FakeCloud()
    async with harness() as world:
        world.run(cloud_node_lifecycle.controller(cloud, ""))
        made = await world.client.create(NODES, node(provider_id="fake://n1"))
        await settle(600)
        assert cloud.calls == []
        gone = node(ready=False)["status"]
        await world.client.update(NODES, {**made, "status": gone}, subresource="status")
        await settle(1)
        assert world.cluster.objects(NODES) == []
        assert told(world) == [
            ("DeletingNode", "Deleting node n1 because it does not exist in the cloud provider")
        ]


@virtual
async def test_a_machine_that_is_off_keeps_pods_away_until_its_node_is_ready_again():
    cloud = FakeCloud()
    cloud.machine("n1")
    cloud.off.add("n1")
    async with harness() as world:
        world.run(cloud_node_lifecycle.controller(cloud, ""))
        await world.client.create(NODES, node(ready=False, provider_id="a://b", taints=[OTHER]))
        await settle(1)
        keys = [taint["key"] for taint in taints_of(found(world))]
        assert keys == ["mine", cloud_node_lifecycle.SHUTDOWN]
        cloud.off.clear()
        await settle(20)
        assert len(taints_of(found(world))) == 2
        back = {**found(world), "status": node()["status"]}
        await world.client.update(NODES, back, subresource="status")
        await settle(1)
        assert taints_of(found(world)) == [OTHER]
        calls = len(cloud.calls)
        await settle(600)
        assert len(cloud.calls) == calls


@virtual
async def test_a_node_that_nobody_initialised_yet_is_given_a_minute():
    cloud = FakeCloud()
    async with harness() as world:
        world.run(cloud_node_lifecycle.controller(cloud, ""))
        await world.client.create(NODES, node(ready=False, taints=[NEW]))
        await settle(59)
        assert cloud.calls == []
        await settle(3)
        assert world.cluster.objects(NODES) == []


@virtual
async def test_a_cloud_that_fails_deletes_no_node():
    cloud = FakeCloud()

    def fail(_):
        raise CloudError("no")

    cloud.before = fail
    async with harness() as world:
        world.run(cloud_node_lifecycle.controller(cloud, ""))
        await world.client.create(NODES, node(ready=False, provider_id="a://b"))
        await settle(600)
        assert len(world.cluster.objects(NODES)) == 1
        assert 10 < len(cloud.calls) < 150
