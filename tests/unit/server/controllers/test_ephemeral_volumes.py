"""Claims that pods bring along, and claims that ask for more."""

from typing import Any

from minikube_py.api.core import EVENTS, PERSISTENTVOLUMECLAIMS, PODS
from minikube_py.api.object import Key, evolve
from minikube_py.client.actions import Emit, Patch
from minikube_py.server.controllers import ephemeral_volume, volume_expand
from tests.harness import World, harness
from tests.unit.server.controllers.volumes import claim, ref, volume
from tests.virtual_time import settle, virtual

TEMPLATE = {
    "metadata": {"labels": {"app": "x"}, "annotations": {"note": "y"}},
    "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
}


def pod(name: str = "p") -> dict[str, Any]:
    scratch = {"name": "scratch", "ephemeral": {"volumeClaimTemplate": TEMPLATE}}
    volumes = [{"name": "plain", "emptyDir": {}}, scratch]
    spec = {"containers": [{"name": "c", "image": "i"}], "volumes": volumes}
    metadata = {"name": name, "namespace": "d"}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


def claims(world: World) -> dict[str, Any]:
    return {c["metadata"]["name"]: c for c in world.cluster.objects(PERSISTENTVOLUMECLAIMS)}


@virtual
async def test_a_pod_owns_the_claim_that_is_made_for_its_volume() -> None:
    async with harness() as world:
        world.run(ephemeral_volume.CONTROLLER)
        made = await world.client.create(PODS, pod())
        await settle(1)
        found = claims(world)["p-scratch"]
        [owner] = found["metadata"]["ownerReferences"]
        assert (owner["kind"], owner["uid"]) == ("Pod", made["metadata"]["uid"])
        assert owner["controller"]
        assert found["metadata"]["labels"] == {"app": "x"}
        assert found["metadata"]["annotations"] == {"note": "y"}
        assert found["spec"]["resources"] == TEMPLATE["spec"]["resources"]
        await world.client.delete(PERSISTENTVOLUMECLAIMS, "p-scratch", "d")
        await settle(1)
        assert "p-scratch" in claims(world)


@virtual
async def test_a_claim_of_somebody_else_is_not_taken() -> None:
    async with harness() as world:
        world.run(ephemeral_volume.CONTROLLER)
        await world.client.create(PERSISTENTVOLUMECLAIMS, claim("p-scratch"))
        await world.client.create(PODS, pod())
        await settle(1)
        [event] = world.cluster.objects(EVENTS)
        assert (event["type"], event["reason"]) == ("Warning", "FailedBinding")
        assert event["message"] == (
            "ephemeral volume scratch: PVC d/p-scratch was not created for pod d/p "
            "(pod is not owner)"
        )
        await world.client.delete(PERSISTENTVOLUMECLAIMS, "p-scratch", "d")
        await settle(2000)
        assert claims(world)["p-scratch"]["metadata"]["ownerReferences"]


def bound(asked: str) -> Any:
    made = claim("c", asked, volumeName="v", phase="Bound")
    return evolve(made, "status.capacity", {"storage": "1Gi"})


def test_a_claim_that_asks_for_more_is_told_who_is_waited_for() -> None:
    csi = volume("v", claimRef=ref(claim("c")), csi={"driver": "x", "volumeHandle": "h"})
    [event] = volume_expand.plan(bound("2Gi"), csi)
    assert isinstance(event, Emit)
    assert event.reason == "ExternalExpanding"
    assert event.message == "waiting for an external controller to expand this PVC"
    assert not list(volume_expand.plan(bound("1Gi"), csi))
    assert not list(volume_expand.plan(bound("2Gi"), volume("v")))


def test_a_volume_of_a_driver_that_has_left_gets_its_resizer() -> None:
    ebs = volume("v", claimRef=ref(claim("c")), awsElasticBlockStore={"volumeID": "h"})
    patch, event = volume_expand.plan(bound("2Gi"), ebs)
    assert isinstance(patch, Patch)
    annotations = {"volume.kubernetes.io/storage-resizer": "ebs.csi.aws.com"}
    assert patch.patch == {"metadata": {"annotations": annotations}}
    assert isinstance(event, Emit)
    noted = evolve(bound("2Gi"), "metadata.annotations", annotations)
    assert not list(volume_expand.plan(noted, ebs))


@virtual
async def test_claims_are_told_once_that_they_ask_for_more() -> None:
    async with harness() as world:
        world.run(volume_expand.CONTROLLER)
        assert Key("d", "c") not in world.cluster.table(PERSISTENTVOLUMECLAIMS)
        old = world.context.lister(PERSISTENTVOLUMECLAIMS)
        await old.wait_synced()
        item = type("I", (), {"obj": bound("2Gi"), "key": Key("d", "c")})()
        less = type("I", (), {"obj": bound("1Gi"), "key": Key("d", "c")})()
        assert list(volume_expand.of_claim(less, item, world.context)) == [Key("d", "c")]
        assert not list(volume_expand.of_claim(item, item, world.context))
        assert not list(volume_expand.of_claim(None, less, world.context))
