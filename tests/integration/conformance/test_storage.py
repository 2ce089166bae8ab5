"""Claims and volumes: their life, their status, and that they go when nobody uses them."""

from typing import Any

import pytest

from tests.integration.conformance.api import Api

VOLUMES = "/api/v1/persistentvolumes"
LABEL = "e2e=pv"
LABELS = {"e2e": "pv"}


def volume(name: str) -> dict[str, Any]:
    spec = {
        "capacity": {"storage": "1Gi"},
        "accessModes": ["ReadWriteOnce"],
        "csi": {"driver": "d.example.com", "volumeHandle": name},
        "storageClassName": "none",
    }
    return {"metadata": {"name": name, "labels": LABELS}, "spec": spec}


def claim(name: str) -> dict[str, Any]:
    spec = {
        "accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": "1Gi"}},
        "storageClassName": "none",
    }
    return {"metadata": {"name": name, "labels": LABELS}, "spec": spec}


@pytest.mark.conformance(
    "PersistentVolumes CSI Conformance should run through the lifecycle of a PV and a PVC",
    "PersistentVolumes CSI Conformance should apply changes to a pv/pvc status",
)
async def test_a_volume_and_a_claim_live_their_life(api: Api, space: str) -> None:
    claims = f"{space}/persistentvolumeclaims"
    for path, made in ((VOLUMES, volume("a")), (claims, claim("a"))):
        await api.create(path, made)
        one = f"{path}/a"
        assert await api.names(f"{path}?labelSelector={LABEL}") == ["a"]
        patched = await api.patch(one, {"metadata": {"labels": {"patched": "yes"}}})
        assert patched["metadata"]["labels"]["patched"] == "yes"
        shown = await api.get(f"{one}/status")
        assert shown["metadata"]["name"] == "a"
        status = await api.patch(f"{one}/status", {"status": {"phase": "Pending"}})
        assert status["status"]["phase"] == "Pending"
        await api.delete(one)
        await api.until_gone(one)
        await api.create(path, {**made, "metadata": {"name": "b", "labels": LABELS}})
        await api.delete(f"{path}?labelSelector={LABEL}")
        await api.until(f"{path}?labelSelector={LABEL}", lambda found: found["items"] == [])


async def test_a_claim_stays_while_a_pod_uses_it(api: Api, space: str) -> None:
    claims = f"{space}/persistentvolumeclaims"
    await api.create(claims, claim("a"))
    used = {"name": "v", "persistentVolumeClaim": {"claimName": "a"}}
    container = {"name": "c", "image": "i"}
    spec = {"nodeName": "nowhere", "volumes": [used], "containers": [container]}
    finalizers = ["example.com/not-yet"]  # what has no node goes away by itself otherwise
    metadata = {"name": "p", "finalizers": finalizers}
    await api.create(f"{space}/pods", {"metadata": metadata, "spec": spec})
    deleted = await api.delete(f"{claims}/a")
    assert deleted["metadata"]["finalizers"] == ["kubernetes.io/pvc-protection"]
    unused = await api.create(claims, claim("b"))
    await api.delete(f"{claims}/b")
    await api.until_gone(f"{claims}/{unused['metadata']['name']}")
    assert (await api.get(f"{claims}/a"))["metadata"]["deletionTimestamp"]
    await api.patch(f"{space}/pods/p", {"metadata": {"finalizers": None}})
    await api.call("DELETE", f"{space}/pods/p", {"gracePeriodSeconds": 0})
    await api.until_gone(f"{claims}/a")


async def test_a_claim_finds_its_volume_and_both_say_so(api: Api, space: str) -> None:
    one, its = f"{VOLUMES}/a", f"{space}/persistentvolumeclaims/a"
    made = volume("a")
    reclaim = {"persistentVolumeReclaimPolicy": "Retain"}
    await api.create(VOLUMES, {**made, "spec": {**made["spec"], **reclaim}})
    await api.until(one, lambda found: found["status"]["phase"] == "Available")
    patch = {"status": {"message": "StatusPatched", "reason": "E2E patchStatus"}}
    patched = await api.patch(f"{one}/status", patch)
    assert patched["status"]["message"] == "StatusPatched"
    await api.create(f"{space}/persistentvolumeclaims", claim("a"))
    bound = await api.until(its, lambda found: found["status"]["phase"] == "Bound")
    assert bound["spec"]["volumeName"] == "a"
    assert bound["status"]["capacity"] == {"storage": "1Gi"}
    its_volume = await api.get(one)
    assert its_volume["status"]["phase"] == "Bound"
    assert its_volume["spec"]["claimRef"]["uid"] == bound["metadata"]["uid"]
    condition = {"type": "StatusPatched", "status": "True", "reason": "E2E patchedStatus"}
    await api.patch(f"{its}/status", {"status": {"conditions": [condition]}})
    deleted = await api.delete(one)
    assert deleted["metadata"]["finalizers"] == ["kubernetes.io/pv-protection"]
    kept = await api.get(its)
    assert kept["status"]["phase"] == "Bound"
    assert kept["status"]["conditions"][0]["type"] == "StatusPatched"
    await api.delete(its)
    await api.until_gone(its)
    await api.until_gone(one)


async def test_a_claim_gets_the_default_class_and_waits_for_its_pod(api: Api, space: str) -> None:
    wanted = claim("a")
    spec = {key: value for key, value in wanted["spec"].items() if key != "storageClassName"}
    made = await api.create(f"{space}/persistentvolumeclaims", {**wanted, "spec": spec})
    assert made["spec"]["storageClassName"] == "local-path"
    path = f"{space}/events?fieldSelector=reason=WaitForFirstConsumer"
    found = await api.until(path, lambda events: events["items"])
    [event] = found["items"]
    assert event["message"] == "waiting for first consumer to be created before binding"
    assert event["source"]["component"] == "persistentvolume-controller"


async def test_a_driver_is_asked_to_attach_and_its_node_says_what_is_attached(
    api: Api, space: str
) -> None:
    notes = {"volumes.kubernetes.io/controller-managed-attach-detach": "true"}
    await api.create("/api/v1/nodes", {"metadata": {"name": "far", "annotations": notes}})
    await api.create(VOLUMES, volume("a"))
    await api.create(f"{space}/persistentvolumeclaims", claim("a"))
    used = {"name": "v", "persistentVolumeClaim": {"claimName": "a"}}
    spec = {"nodeName": "far", "volumes": [used], "containers": [{"name": "c", "image": "i"}]}
    await api.create(f"{space}/pods", {"metadata": {"name": "p"}, "spec": spec})
    attachments = "/apis/storage.k8s.io/v1/volumeattachments"
    found = await api.until(attachments, lambda found: found["items"])
    [attachment] = found["items"]
    assert attachment["spec"] == {
        "attacher": "d.example.com",
        "nodeName": "far",
        "source": {"persistentVolumeName": "a"},
    }
    one = f"{attachments}/{attachment['metadata']['name']}"
    await api.patch(f"{one}/status", {"status": {"attached": True}})
    node = await api.until("/api/v1/nodes/far", lambda n: n["status"].get("volumesAttached"))
    name = "kubernetes.io/csi/d.example.com^a"
    assert node["status"]["volumesAttached"] == [{"name": name, "devicePath": ""}]
    await api.call("DELETE", f"{space}/pods/p", {"gracePeriodSeconds": 0})
    await api.until_gone(one)
    await api.until("/api/v1/nodes/far", lambda n: not n["status"].get("volumesAttached"))


async def test_a_pod_owns_the_claim_of_its_ephemeral_volume(api: Api, space: str) -> None:
    template = {"metadata": {"labels": LABELS}, "spec": claim("x")["spec"]}
    brought = {"name": "scratch", "ephemeral": {"volumeClaimTemplate": template}}
    spec = {"volumes": [brought], "containers": [{"name": "c", "image": "i"}]}
    made = await api.create(f"{space}/pods", {"metadata": {"name": "p"}, "spec": spec})
    path = f"{space}/persistentvolumeclaims/p-scratch"
    found = await api.until(path)
    [owner] = found["metadata"]["ownerReferences"]
    assert owner["uid"] == made["metadata"]["uid"]
    assert found["metadata"]["labels"] == LABELS
    await api.call("DELETE", f"{space}/pods/p", {"gracePeriodSeconds": 0})
    await api.until_gone(path)
