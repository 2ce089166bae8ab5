"""Pods and their volumes: where volumes are, where they can be made, who else has them."""

import contextlib
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from minikube_py.api.core import EVENTS, PERSISTENTVOLUMECLAIMS, PERSISTENTVOLUMES, PODS
from minikube_py.api.core.volume_matching import best_match, reach_of
from minikube_py.api.item import Item
from minikube_py.api.object import Key, annotations_of, get
from minikube_py.api.resource import Resource
from minikube_py.api.storage import (
    CSIDRIVERS,
    CSINODES,
    CSISTORAGECAPACITIES,
    STORAGECLASSES,
    VOLUMEATTACHMENTS,
)
from minikube_py.client.store import ItemStore
from minikube_py.server.controllers import persistent_volumes
from minikube_py.server.scheduler.plugins import FACTORIES
from minikube_py.server.scheduler.plugins.volume_pool import Pool
from minikube_py.server.scheduler.pod_info import PodInfo
from minikube_py.server.scheduler.scheduler import Scheduler
from tests.harness import World, harness
from tests.kubelet_model import Kubelets
from tests.model_cluster import FrozenItem
from tests.unit.server.controllers.volumes import claim, ref, storage_class, volume
from tests.unit.server.scheduler.builders import cache, cycle, handle, node, pod
from tests.virtual_time import settle, virtual

ZONE = "topology.kubernetes.io/zone"
SELECTED = "volume.kubernetes.io/selected-node"
COMPLETED = {"annotations": {"pv.kubernetes.io/bind-completed": "yes"}}
LATE = storage_class("late", "example.com/disk", volumeBindingMode="WaitForFirstConsumer")
STATIC = storage_class(
    "static", "kubernetes.io/no-provisioner", volumeBindingMode="WaitForFirstConsumer"
)
NODES = (node("a", labels={ZONE: "x"}), node("b", labels={ZONE: "y"}))


def store(resource: Resource, *objects: Any) -> ItemStore:
    made = ItemStore()
    for obj in objects:
        numbered = {**obj, "metadata": {"resourceVersion": "1", **obj["metadata"]}}
        made.put(FrozenItem(numbered, resource))
    return made


def stores(*objects: Any) -> dict[str, ItemStore]:
    kinds = (
        PERSISTENTVOLUMECLAIMS,
        PERSISTENTVOLUMES,
        STORAGECLASSES,
        CSIDRIVERS,
        CSINODES,
        CSISTORAGECAPACITIES,
        VOLUMEATTACHMENTS,
    )
    return {
        kind.plural: store(kind, *(o for o in objects if o.get("kind") == kind.kind))
        for kind in kinds
    }


def using(*names: str, name: str = "p", **more: Any) -> PodInfo:
    volumes = [{"name": n, "persistentVolumeClaim": {"claimName": n}} for n in names]
    return pod(name, volumes=[*volumes, *more.pop("volumes", ())], **more)


def in_zone(zone: str) -> dict[str, Any]:
    terms = [{"matchExpressions": [{"key": ZONE, "operator": "In", "values": [zone]}]}]
    return {"nodeAffinity": {"required": {"nodeSelectorTerms": terms}}}


def asked(plugin: str, incoming: PodInfo, *objects: Any, pods: Any = ()) -> Any:
    """Return what a plugin says of the pod, or of each node."""
    made: Any = FACTORIES[plugin](handle(**stores(*objects)), {})
    now = cycle(incoming, cache(*NODES, pods=pods))
    if hasattr(made, "pre_filter"):
        denied = made.pre_filter(now)
        if denied is not None:
            return denied.reasons[0]
    question = made.filter(now)
    if question is None:
        return None
    answers = {name: question(info) for name, info in now.cache.nodes.items()}
    return {name: answer and answer.reasons for name, answer in answers.items()}


CONFLICT = ("node(s) had volume node affinity conflict",)
GONE = ("node(s) unavailable due to one or more pvc(s) bound to non-existent pv(s)",)
NONE = ("node(s) didn't find available persistent volumes to bind",)
FULL = ("node(s) did not have enough free storage",)


@pytest.mark.parametrize(
    ("objects", "answer"),
    [
        ([], 'persistentvolumeclaim "c" not found'),
        (
            [claim(metadata={"deletionTimestamp": "2026-01-01T00:00:00Z"})],
            'persistentvolumeclaim "c" is being deleted',
        ),
        (
            [claim(volumeName="v", phase="Lost")],
            'persistentvolumeclaim "c" bound to non-existent persistentvolume "v"',
        ),
        ([claim()], "pod has unbound immediate PersistentVolumeClaims"),
        ([claim(storageClassName="fast")], "pod has unbound immediate PersistentVolumeClaims"),
        (
            [claim(volumeName="v", storageClassName="late"), LATE],
            "pod has unbound immediate PersistentVolumeClaims",
        ),
        (
            [claim(volumeName="v", metadata=COMPLETED), volume("v", **in_zone("x"))],
            {"a": None, "b": CONFLICT},
        ),
        (
            [claim(volumeName="v", metadata=COMPLETED)],
            dict.fromkeys(
                "ab", ("node(s) unavailable due to one or more pvc(s) bound to non-existent pv(s)",)
            ),
        ),
        (
            [
                claim(storageClassName="static"),
                STATIC,
                volume("v", storageClassName="static", **in_zone("y")),
            ],
            {"a": NONE, "b": None},
        ),
        ([claim(storageClassName="late"), LATE], {"a": None, "b": None}),
        (
            [claim(storageClassName="late", metadata={"annotations": {SELECTED: "b"}}), LATE],
            {"a": NONE, "b": None},
        ),
    ],
)
def test_a_pod_goes_where_its_volumes_are_or_can_be_made(objects: Any, answer: Any) -> None:
    assert asked("VolumeBinding", using("c"), *objects) == answer


def test_a_pod_without_claims_asks_nothing() -> None:
    for plugin in ("VolumeBinding", "VolumeZone", "VolumeRestrictions", "NodeVolumeLimits"):
        assert asked(plugin, pod()) is None


def test_two_claims_of_a_pod_do_not_get_the_same_volume() -> None:
    claims = [claim(name, storageClassName="static") for name in ("c", "d")]
    one = volume("v", storageClassName="static")
    both = using("c", "d")
    assert asked("VolumeBinding", both, *claims, STATIC, one) == {"a": NONE, "b": NONE}
    two = [one, volume("w", storageClassName="static")]
    assert asked("VolumeBinding", both, *claims, STATIC, *two) == {"a": None, "b": None}


def test_a_class_may_allow_some_places_only() -> None:
    expressions = [{"key": ZONE, "values": ["y", "z"]}]
    late = {**LATE, "allowedTopologies": [{"matchLabelExpressions": expressions}]}
    wanted = claim(storageClassName="late")
    assert asked("VolumeBinding", using("c"), wanted, late) == {"a": NONE, "b": None}


def capacity(name: str, zone: str, size: str, **more: Any) -> Any:
    topology = {"nodeTopology": {"matchLabels": {ZONE: zone}}}
    given = {"storageClassName": "late", "capacity": size, **topology, **more}
    metadata = {"name": name, "namespace": "kube-system"}
    return {"kind": "CSIStorageCapacity", "metadata": metadata, **given}


def driver(*, told: bool) -> Any:
    metadata = {"name": "example.com/disk"}
    return {"kind": "CSIDriver", "metadata": metadata, "spec": {"storageCapacity": told}}


@pytest.mark.parametrize(
    ("told", "size", "more", "answer"),
    [
        (True, "1Gi", {}, {"a": None, "b": FULL}),
        (True, "6Gi", {}, {"a": FULL, "b": FULL}),
        (True, "3Gi", {"maximumVolumeSize": "2Gi"}, {"a": FULL, "b": FULL}),
        (True, "1Gi", {"storageClassName": "other"}, {"a": FULL, "b": FULL}),
        (True, "1Gi", {"nodeTopology": None}, {"a": FULL, "b": FULL}),
        (True, "1Gi", {"nodeTopology": {}}, {"a": None, "b": None}),
        (False, "6Gi", {}, {"a": None, "b": None}),
    ],
)
def test_room_that_a_driver_tells_of_is_asked_for(
    *, told: bool, size: str, more: Any, answer: Any
) -> None:
    wanted = claim("c", size, storageClassName="late")
    objects = [wanted, LATE, driver(told=told), capacity("k", "x", "5Gi", **more)]
    assert asked("VolumeBinding", using("c"), *objects) == answer


def test_an_ephemeral_volume_waits_for_its_own_claim() -> None:
    brought = pod("p", volumes=[{"name": "s", "ephemeral": {"volumeClaimTemplate": {}}}])
    missing = asked("VolumeBinding", brought, LATE)
    assert missing == (
        'waiting for ephemeral volume controller to create the persistentvolumeclaim "p-s"'
    )
    foreign = claim("p-s", storageClassName="late")
    text = "PVC d/p-s was not created for pod d/p (pod is not owner)"
    assert asked("VolumeBinding", brought, LATE, foreign) == text


def test_labels_of_older_volumes_name_their_zone() -> None:
    bound = claim(volumeName="v", metadata=COMPLETED)
    old = {"failure-domain.beta.kubernetes.io/zone": "x__z"}
    labelled = volume("v", metadata={"labels": old})
    elsewhere = ("node(s) had no available volume zone",)
    assert asked("VolumeZone", using("c"), bound, labelled) == {"a": None, "b": elsewhere}
    assert asked("VolumeZone", using("c"), bound, volume("v")) is None
    assert asked("VolumeZone", using("c"), claim(storageClassName="late"), LATE) is None


def test_a_claim_for_one_pod_is_one_pods_in_the_whole_cluster() -> None:
    alone = claim(accessModes=["ReadWriteOncePod"])
    reason = (
        (
            "node has pod using PersistentVolumeClaim with the same name and ReadWriteOncePod "
            "access mode"
        ),
    )
    other = using("c", name="q", node="a")
    answer = asked("VolumeRestrictions", using("c"), alone, pods=[other])
    assert answer == {"a": reason, "b": reason}
    assert asked("VolumeRestrictions", using("c"), claim(), pods=[other]) is None
    made: Any = FACTORIES["VolumeRestrictions"](handle(**stores(alone)), {})
    now = cycle(using("c"), cache(*NODES, pods=[other]))
    question = made.filter(now)
    info = now.cache.nodes["b"]
    assert question.shifted(now.cache.nodes["a"], (), [other])(info) is None
    assert question.shifted(info, [using("c", name="r")], [other])(info) is not None


@pytest.mark.parametrize(
    ("one", "other", "collides"),
    [
        ({"awsElasticBlockStore": {"volumeID": "1"}}, {"volumeID": "1", "readOnly": True}, True),
        ({"gcePersistentDisk": {"pdName": "1"}}, {"pdName": "2"}, False),
        ({"gcePersistentDisk": {"pdName": "1", "readOnly": True}}, {"pdName": "1"}, True),
        (
            {"gcePersistentDisk": {"pdName": "1", "readOnly": True}},
            {"pdName": "1", "readOnly": True},
            False,
        ),
        (
            {"rbd": {"monitors": ["m", "n"], "pool": "p", "image": "i"}},
            {"monitors": ["n"], "pool": "p", "image": "i"},
            True,
        ),
        ({"iscsi": {"iqn": "q"}}, {"iqn": "q"}, True),
    ],
)
def test_a_disk_is_one_pods_on_each_node(one: Any, other: Any, *, collides: bool) -> None:
    [kind] = one
    there = pod("q", node="a", volumes=[{"name": "d", kind: other}])
    incoming = pod(volumes=[{"name": "d", **one}])
    answer = asked("VolumeRestrictions", incoming, pods=[there])
    assert answer == {"a": ("node(s) had no available disk",) if collides else None, "b": None}


def csi(name: str, handle_: str) -> Iterator[Any]:
    yield claim(name, volumeName=f"v-{name}", metadata=COMPLETED)
    yield volume(f"v-{name}", csi={"driver": "example.com/disk", "volumeHandle": handle_})


def test_a_node_has_no_more_volumes_than_its_driver_can_have() -> None:
    limits = [{"name": "example.com/disk", "nodeID": "a", "allocatable": {"count": 1}}]
    limit = {"kind": "CSINode", "metadata": {"name": "a"}, "spec": {"drivers": limits}}
    objects = [*csi("c", "1"), *csi("d", "2"), limit]
    full = ("node(s) exceed max volume count",)
    there = using("d", name="q", node="a")

    def answer(incoming: PodInfo, *more: Any) -> Any:
        return asked("NodeVolumeLimits", incoming, *objects, *more, pods=[there])

    assert answer(using("c")) == {"a": full, "b": None}
    assert answer(using("d")) == {"a": None, "b": None}
    spec = {"nodeName": "a", "source": {"persistentVolumeName": "v-c"}}
    attached = {"kind": "VolumeAttachment", "metadata": {"name": "x"}, "spec": spec}
    there = pod("q", node="a")
    assert answer(using("d"), attached) == {"a": full, "b": None}
    assert answer(using("c"), attached) == {"a": None, "b": None}
    late = [claim("e", storageClassName="late"), LATE]
    assert answer(using("e"), attached, *late) == {"a": full, "b": None}


# --- at work ---


@contextlib.asynccontextmanager
async def scheduling() -> AsyncIterator[World]:
    async with harness() as world:
        scheduler = Scheduler(world.cluster.client("scheduler"), world.informers, world.clock)
        world.nursery.start("scheduler", scheduler.run())
        world.run(persistent_volumes.CONTROLLER)
        await Kubelets(world).add(*NODES)
        await settle()
        yield world


async def pend(world: World, name: str, claim_name: str) -> None:
    volumes = [{"name": "v", "persistentVolumeClaim": {"claimName": claim_name}}]
    spec = {"containers": [{"name": "c", "image": "i"}], "volumes": volumes}
    await world.client.create(PODS, {"metadata": {"name": name, "namespace": "d"}, "spec": spec})


def placed(world: World) -> dict[str, str]:
    pods = world.cluster.objects(PODS)
    return {p["metadata"]["name"]: get(p, "spec.nodeName", "") for p in pods}


def bound(world: World, name: str) -> Any:
    found = world.cluster.table(PERSISTENTVOLUMECLAIMS)[Key("d", name)].obj
    return get(found, "spec.volumeName"), get(found, "status.phase")


@virtual
async def test_static_volumes_are_chosen_with_the_node_and_bound_before_the_pod() -> None:
    async with scheduling() as world:
        await world.client.create(STORAGECLASSES, STATIC)
        for name, zone in (("v", "x"), ("w", "y")):
            made = volume(name, storageClassName="static", **in_zone(zone))
            await world.client.create(PERSISTENTVOLUMES, made)
        for name in ("c", "d", "e"):
            wanted = claim(name, storageClassName="static")
            await world.client.create(PERSISTENTVOLUMECLAIMS, wanted)
        await settle(1)
        assert bound(world, "c") == (None, "Pending")
        for name in ("c", "d", "e"):
            await pend(world, f"pod-{name}", name)
        await settle(1)
        where = placed(world)
        assert {bound(world, name)[0] for name in ("c", "d")} == {"v", "w"}
        assert {where["pod-c"], where["pod-d"]} == {"a", "b"}
        assert where["pod-e"] == ""
        more = volume("z", storageClassName="static", **in_zone("x"))
        await world.client.create(PERSISTENTVOLUMES, more)
        await settle(20)
        assert placed(world)["pod-e"] == "a"
        assert bound(world, "e") == ("z", "Bound")


@virtual
async def test_a_pod_waits_for_the_provisioner_on_the_node_that_it_was_given() -> None:
    async with scheduling() as world:
        await world.client.create(STORAGECLASSES, LATE)
        wanted = await world.client.create(PERSISTENTVOLUMECLAIMS, claim(storageClassName="late"))
        await pend(world, "p", "c")
        await pend(world, "q", "c")
        await settle(5)
        found = world.cluster.table(PERSISTENTVOLUMECLAIMS)[Key("d", "c")].obj
        chosen = annotations_of(found)[SELECTED]
        called = annotations_of(found)["volume.kubernetes.io/storage-provisioner"]
        assert called == "example.com/disk"
        assert placed(world) == {"p": "", "q": ""}
        made = volume(
            "pvc-1",
            storageClassName="late",
            claimRef=ref(wanted),
            **in_zone("x" if chosen == "a" else "y"),
        )
        await world.client.create(PERSISTENTVOLUMES, made)
        await settle(20)
        assert placed(world) == {"p": chosen, "q": chosen}


@virtual
async def test_a_provisioner_that_gives_up_has_the_pod_scheduled_again() -> None:
    async with scheduling() as world:
        await world.client.create(STORAGECLASSES, LATE)
        await world.client.create(PERSISTENTVOLUMECLAIMS, claim(storageClassName="late"))
        await pend(world, "p", "c")
        await settle(1)
        patch = {"metadata": {"annotations": {SELECTED: None}}}
        await world.client.patch(PERSISTENTVOLUMECLAIMS, "c", patch, "d")
        await settle(0.1)
        messages = [
            e["message"] for e in world.cluster.objects(EVENTS) if e["reason"] == "FailedScheduling"
        ]
        text = 'binding volumes: provisioning failed for PVC "c"'
        assert messages == [f'running PreBind plugin "VolumeBinding": {text}']
        await settle(20)
        found = world.cluster.table(PERSISTENTVOLUMECLAIMS)[Key("d", "c")].obj
        assert SELECTED in annotations_of(found)


@virtual
async def test_nothing_is_written_for_a_pod_that_waits_for_its_volume_in_vain() -> None:
    async with scheduling() as world:
        await world.client.create(STORAGECLASSES, LATE)
        await world.client.create(PERSISTENTVOLUMECLAIMS, claim(storageClassName="late"))
        await pend(world, "p", "c")
        await settle(5)
        before = len(world.cluster.requests)
        await settle(500)
        assert world.cluster.requests[before:] == []
        await settle(200)
        assert any(
            "binding volumes: context deadline exceeded" in e["message"]
            for e in world.cluster.objects(EVENTS)
        )


# --- the pool of volumes ---

PLACES = (
    {},
    {"key": "kubernetes.io/hostname", "operator": "In", "values": ["a"]},
    {"key": "kubernetes.io/hostname", "operator": "In", "values": ["a", "b"]},
    {"key": "kubernetes.io/hostname", "operator": "NotIn", "values": ["a"]},
    {"key": ZONE, "operator": "In", "values": ["x"]},
)


def placed_volume(at: int, size: str, place: Any, meant: str) -> Any:
    more = {}
    if place:
        terms = [{"matchExpressions": [place]}]
        more = {"nodeAffinity": {"required": {"nodeSelectorTerms": terms}}}
    if meant:
        more["claimRef"] = {"namespace": "d", "name": meant}
    return volume(f"v{at}", size, **more)


@settings(max_examples=100, deadline=None)
@given(
    given_volumes=st.lists(
        st.tuples(
            st.sampled_from(["1Gi", "2Gi", "3Gi"]),
            st.sampled_from(PLACES),
            st.sampled_from(["", "", "", "c", "other"]),
        ),
        max_size=8,
    ),
    taken=st.frozensets(st.sampled_from(["v0", "v1", "v2"])),
    wanted=st.sampled_from(["1Gi", "2Gi"]),
)
def test_a_pool_chooses_as_if_all_volumes_were_looked_at(
    given_volumes: Any, taken: frozenset[str], wanted: str
) -> None:
    volumes = [placed_volume(at, *one) for at, one in enumerate(given_volumes)]
    # Two volumes that name one claim are a mistake of their maker; the first will do.
    asked_for = claim("c", wanted)
    meant = [one for one in volumes if get(one, "spec.claimRef.name") == "c"]
    assume(len(meant) <= 1)
    pool = Pool(asked_for, map(Item.from_object, volumes), taken, wanted=1)
    for info in cache(*NODES).nodes.values():

        def reaches(one: Any, info: Any = info) -> bool:
            test = reach_of(one)
            return test is None or test(info.name, info.labels)

        expected = best_match(asked_for, volumes, reaches=reaches, taken=taken)
        chosen = pool.choose(info, ())
        assert (chosen and chosen["metadata"]["name"]) == (
            expected and expected["metadata"]["name"]
        )
