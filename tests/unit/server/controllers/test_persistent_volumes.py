"""Claims find volumes: which one, in which steps, and what is said where there is none."""

import itertools
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from minikube_py.api.core import EVENTS, PERSISTENTVOLUMECLAIMS, PERSISTENTVOLUMES, PODS
from minikube_py.api.core.volume_matching import best_match, mismatch, reach_of
from minikube_py.api.errors import (
    AlreadyExistsError,
    ConflictError,
    NotFoundError,
    ServiceUnavailableError,
)
from minikube_py.api.object import Key, evolve, get
from minikube_py.api.storage import STORAGECLASSES
from minikube_py.client.actions import Emit, Update
from minikube_py.server.controllers import persistent_volumes, storage_protection
from minikube_py.server.controllers.volume_claims import ClaimView, plan_claim
from minikube_py.server.controllers.volume_reclaim import plan_volume
from tests.harness import World, harness
from tests.unit.server.controllers.volumes import claim, ref, storage_class, volume
from tests.virtual_time import run, settle, virtual

COMPLETED = {"pv.kubernetes.io/bind-completed": "yes"}
BY_CONTROLLER = {"pv.kubernetes.io/bound-by-controller": "yes"}
MADE = {"pv.kubernetes.io/provisioned-by": "example.com/disk"}


def names(found: Any) -> Any:
    return None if found is None else found["metadata"]["name"]


@pytest.mark.parametrize(
    ("wanted", "volumes", "chosen"),
    [
        (claim(), [volume("a", "3Gi"), volume("b", "2Gi"), volume("c", "512Mi")], "b"),
        (claim(), [volume("b"), volume("a")], "a"),
        (claim(), [volume("a", phase="Pending"), volume("b", "9Gi")], "b"),
        (claim(), [volume("a", storageClassName="slow")], None),
        (claim(storageClassName="slow"), [volume("a"), volume("b", storageClassName="slow")], "b"),
        (claim(volumeMode="Block"), [volume("a"), volume("b", volumeMode="Block")], "b"),
        (claim(), [volume("a", claimRef={"namespace": "d", "name": "other"})], None),
        (
            claim(),
            [volume("a"), volume("z", "5Gi", claimRef={"namespace": "d", "name": "c"})],
            "z",
        ),
        (
            claim(selector={"matchLabels": {"tier": "gold"}}),
            [volume("a"), volume("b", metadata={"labels": {"tier": "gold"}})],
            "b",
        ),
        (
            claim(),
            [volume("a", accessModes=["ReadWriteOnce", "ReadOnlyMany"]), volume("b", "2Gi")],
            "b",
        ),
        (claim(accessModes=["ReadWriteMany"]), [volume("a")], None),
        (claim(), [volume("a", metadata={"deletionTimestamp": "2026-01-01T00:00:00Z"})], None),
        (claim(volumeAttributesClassName="gold"), [volume("a")], None),
    ],
)
def test_a_claim_gets_the_smallest_volume_that_suits_it(
    wanted: Any, volumes: Any, chosen: str | None
) -> None:
    assert names(best_match(wanted, volumes)) == chosen
    assert names(best_match(wanted, volumes[::-1])) == chosen


def test_what_is_to_wait_for_the_scheduler_is_bound_only_to_what_its_user_chose() -> None:
    assert best_match(claim(), [volume()], delayed=True) is None
    meant = volume(claimRef={"namespace": "d", "name": "c"})
    assert names(best_match(claim(), [meant], delayed=True)) == "v"


def test_the_scheduler_asks_for_volumes_that_can_be_reached_from_a_node() -> None:
    terms = [{"matchExpressions": [{"key": "zone", "operator": "In", "values": ["a"]}]}]
    bound = volume(nodeAffinity={"required": {"nodeSelectorTerms": terms}})
    test = reach_of(bound)
    assert test is not None
    assert test("n", {"zone": "a"})
    assert not test("n", {"zone": "b"})
    assert reach_of(volume()) is None
    assert names(best_match(claim(), [bound], reaches=lambda _: True)) == "v"
    assert best_match(claim(), [bound], reaches=lambda _: False) is None
    assert best_match(claim(), [bound], reaches=lambda _: True, taken={"v"}) is None


@pytest.mark.parametrize(
    ("change", "trouble"),
    [
        ({}, ""),
        ({"size": "512Mi"}, "requested PV is too small"),
        ({"storageClassName": "slow"}, "storageClassName does not match"),
        ({"volumeMode": "Block"}, "incompatible volumeMode"),
        ({"accessModes": ["ReadOnlyMany"]}, "incompatible accessMode"),
        ({"volumeAttributesClassName": "g"}, "volumeAttributesClassName does not match"),
        (
            {"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}},
            'the volume is marked for deletion "v"',
        ),
    ],
)
def test_a_claim_that_names_its_volume_must_suit_it(change: Any, trouble: str) -> None:
    assert mismatch(volume(**change), claim(volumeName="v")) == trouble


def told(actions: Any) -> list[tuple[str, str, str]]:
    return [(a.type, a.reason, a.message) for a in actions if isinstance(a, Emit)]


LATE = storage_class(volumeBindingMode="WaitForFirstConsumer")
IN_FAST = claim(storageClassName="fast")
CALLED = evolve(
    IN_FAST,
    "metadata.annotations",
    {
        "volume.kubernetes.io/storage-provisioner": "example.com/disk",
        "volume.beta.kubernetes.io/storage-provisioner": "example.com/disk",
    },
)


@pytest.mark.parametrize(
    ("pending", "view", "reason", "message"),
    [
        (
            claim(),
            ClaimView(),
            "FailedBinding",
            "no persistent volumes available for this claim and no storage class is set",
        ),
        (
            IN_FAST,
            ClaimView(),
            "ProvisioningFailed",
            'storageclass.storage.k8s.io "fast" not found',
        ),
        (
            IN_FAST,
            ClaimView(storage_class=storage_class(provisioner="kubernetes.io/no-provisioner")),
            "ProvisioningFailed",
            "no volume plugin matched name: kubernetes.io/no-provisioner",
        ),
        (
            IN_FAST,
            ClaimView(storage_class=LATE),
            "WaitForFirstConsumer",
            "waiting for first consumer to be created before binding",
        ),
        (
            IN_FAST,
            ClaimView(storage_class=LATE, pods=["p", "q"]),
            "WaitForPodScheduled",
            "waiting for pods p,q to be scheduled",
        ),
        (
            CALLED,
            ClaimView(storage_class=storage_class()),
            "ExternalProvisioning",
            (
                "Waiting for a volume to be created either by the external provisioner "
                "'example.com/disk' or manually by the system administrator. If volume creation is "
                "delayed, please verify that the provisioner is running and correctly registered."
            ),
        ),
        (
            claim(volumeName="v"),
            ClaimView(volume=volume(size="1Mi")),
            "VolumeMismatch",
            'Cannot bind to requested volume "v": requested PV is too small',
        ),
        (
            claim(volumeName="v"),
            ClaimView(volume=volume(claimRef={"namespace": "d", "name": "other", "uid": "u"})),
            "FailedBinding",
            'volume "v" already bound to a different claim.',
        ),
    ],
)
def test_a_claim_without_a_volume_says_what_it_waits_for(
    pending: Any, view: ClaimView, reason: str, message: str
) -> None:
    [action] = plan_claim(pending, view)
    assert isinstance(action, Emit)
    assert (action.reason, action.message) == (reason, message)


def test_a_provisioner_is_called_by_annotations() -> None:
    [action] = plan_claim(IN_FAST, ClaimView(storage_class=storage_class()))
    assert isinstance(action, Update)
    assert action.obj["metadata"]["annotations"] == CALLED["metadata"]["annotations"]
    [action] = plan_claim(
        IN_FAST, ClaimView(storage_class=storage_class(provisioner="kubernetes.io/aws-ebs"))
    )
    assert isinstance(action, Update)
    assert set(action.obj["metadata"]["annotations"].values()) == {"ebs.csi.aws.com"}


def test_a_claim_without_a_class_gets_the_default_one_when_there_is_one() -> None:
    [action] = plan_claim(claim(), ClaimView(default_class="fast"))
    assert isinstance(action, Update)
    assert action.obj["spec"]["storageClassName"] == "fast"
    [said] = plan_claim(claim(storageClassName=""), ClaimView(default_class="fast"))
    assert isinstance(said, Emit)


@pytest.mark.parametrize(
    ("spec", "found", "reason"),
    [
        ({}, None, "ClaimLost"),
        ({"volumeName": "v"}, None, "ClaimLost"),
        ({"volumeName": "v"}, volume(claimRef=ref(claim("other"))), "ClaimMisbound"),
    ],
)
def test_a_claim_that_was_bound_and_has_no_volume_is_lost(
    spec: Any, found: Any, reason: str
) -> None:
    before = claim(**spec, phase="Bound", metadata={"annotations": COMPLETED})
    status, event = plan_claim(before, ClaimView(volume=found))
    assert isinstance(status, Update)
    assert status.obj["status"] == {"phase": "Lost"}
    assert told([event])[0][:2] == ("Warning", reason)
    assert not list(plan_claim(status.obj, ClaimView(volume=found)))


def test_a_volume_that_lost_its_claim_is_treated_by_its_policy() -> None:
    bound = volume(claimRef=ref(claim()), phase="Bound")
    [action] = plan_volume(bound, None)
    assert isinstance(action, Update)
    assert get(action.obj, "status.phase") == "Released"
    assert not list(plan_volume(action.obj, None))
    deleting = evolve(action.obj, "spec.persistentVolumeReclaimPolicy", "Delete")
    failed, event = plan_volume(deleting, None)
    assert isinstance(failed, Update)
    assert get(failed.obj, "status.phase") == "Failed"
    assert told([event]) == [
        (
            "Warning",
            "VolumeFailedDelete",
            (
                'error getting deleter volume plugin for volume "v": '
                "no deletable volume plugin matched"
            ),
        )
    ]
    made = evolve(deleting, "metadata.annotations", MADE)
    assert not list(plan_volume(made, None))
    recycled = evolve(action.obj, "spec.persistentVolumeReclaimPolicy", "Recycle")
    _, event = plan_volume(recycled, None)
    assert told([event]) == [
        ("Warning", "VolumeFailedRecycle", "No recycler plugin found for the volume!")
    ]


def test_a_volume_whose_claim_found_another_is_free_again() -> None:
    elsewhere = claim(volumeName="w")
    ours = volume(claimRef=ref(elsewhere), phase="Bound", metadata={"annotations": BY_CONTROLLER})
    [action] = plan_volume(ours, elsewhere)
    assert isinstance(action, Update)
    assert get(action.obj, "spec.claimRef") is None
    users = volume(claimRef=ref(elsewhere), phase="Bound")
    [action] = plan_volume(users, elsewhere)
    assert isinstance(action, Update)
    assert action.obj["spec"]["claimRef"] == {"namespace": "d", "name": "c"}


# --- at work ---

number = st.integers(0, 3)
size = st.sampled_from(["1Gi", "2Gi", "3Gi"])
policy = st.sampled_from(["Retain", "Delete"])
STEPS = st.one_of(
    st.tuples(st.just("volume"), number, size, policy, st.sampled_from([None, 0, 1])),
    st.tuples(st.just("claim"), number, size, st.sampled_from([None, 0, 1])),
    st.tuples(st.just("delete_claim"), number),
    st.tuples(st.just("delete_volume"), number),
    st.tuples(st.just("wait"), st.integers(1, 5)),
)


class Users:
    """Make and delete claims and volumes; what cannot be done is let be."""

    def __init__(self, world: World) -> None:
        self.client = world.client

    async def do(self, step: Any) -> None:
        try:
            await getattr(self, step[0])(*step[1:])
        except (AlreadyExistsError, ConflictError, NotFoundError):
            return

    async def volume(self, at: int, size: str, policy: str, meant: int | None) -> None:
        more = {} if meant is None else {"claimRef": {"namespace": "d", "name": f"c{meant}"}}
        made = volume(f"v{at}", size, persistentVolumeReclaimPolicy=policy, **more)
        await self.client.create(PERSISTENTVOLUMES, made)

    async def claim(self, at: int, size: str, named: int | None) -> None:
        more = {} if named is None else {"volumeName": f"v{named}"}
        await self.client.create(PERSISTENTVOLUMECLAIMS, claim(f"c{at}", size, **more))

    async def delete_claim(self, at: int) -> None:
        await self.client.delete(PERSISTENTVOLUMECLAIMS, f"c{at}", "d")

    async def delete_volume(self, at: int) -> None:
        await self.client.delete(PERSISTENTVOLUMES, f"v{at}")

    async def wait(self, seconds: int) -> None:
        await settle(float(seconds))


PARTS = (
    persistent_volumes.CONTROLLER,
    storage_protection.PVC_PROTECTION,
    storage_protection.PV_PROTECTION,
)


def one_to_one(world: World) -> None:
    """Check that no volume has two claims, and that both sides of a binding say the same."""
    volumes = {v["metadata"]["name"]: v for v in world.cluster.objects(PERSISTENTVOLUMES)}
    bound = [
        c
        for c in world.cluster.objects(PERSISTENTVOLUMECLAIMS)
        if get(c, "status.phase") == "Bound"
    ]
    taken = [c["spec"]["volumeName"] for c in bound]
    assert len(taken) == len(set(taken))
    for one in bound:
        its = volumes[one["spec"]["volumeName"]]
        assert its["spec"]["claimRef"]["uid"] == one["metadata"]["uid"]
        assert its["status"]["phase"] == "Bound"


async def lived(steps: Any, faults: frozenset[int], lag: float) -> World:
    """Let users do the steps while some writes fail; return the world at rest."""
    async with harness() as world:
        count = itertools.count()
        ours = {part.name for part in PARTS}

        def refuse(user: str, _verb: str, resource: Any, _obj: Any) -> None:
            if user in ours and resource.plural != "events" and next(count) in faults:
                raise ServiceUnavailableError("the datastore is away")

        world.cluster.refuse = refuse
        world.cluster.lag = lambda resource: lag * (resource is PERSISTENTVOLUMECLAIMS)
        world.run(*PARTS)
        users = Users(world)
        for step in steps:
            await users.do(step)
            await settle(0.0001)
        await settle(1000)
        one_to_one(world)
        before = len(world.cluster.requests)
        await settle(1000)
        assert [r for r in world.cluster.requests[before:] if r[2] != "events"] == []
        return world


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    steps=st.lists(STEPS, max_size=12),
    faults=st.frozensets(st.integers(0, 30), max_size=10),
    lag=st.sampled_from([0.0, 0.0, 0.5]),
)
def test_no_volume_ever_has_two_claims_and_all_comes_to_rest(
    steps: Any, faults: frozenset[int], lag: float
) -> None:
    run(lived(steps, faults, lag))


def outcome(world: World) -> dict[str, str]:
    return {
        c["metadata"]["name"]: c["spec"]["volumeName"]
        for c in world.cluster.objects(PERSISTENTVOLUMECLAIMS)
        if get(c, "status.phase") == "Bound"
    }


PAIRS = [
    ("volume", 0, "1Gi", "Retain", None),
    ("volume", 1, "2Gi", "Retain", None),
    ("volume", 2, "3Gi", "Retain", 2),
    ("claim", 0, "1Gi", 0),
    ("claim", 1, "2Gi", None),
    ("claim", 2, "3Gi", None),
]


@settings(max_examples=25, deadline=None)
@given(steps=st.permutations(PAIRS), fault=st.integers(0, 14))
def test_who_is_bound_to_whom_does_not_depend_on_the_order_of_events_or_on_a_crash(
    steps: Any, fault: int
) -> None:
    world = run(lived(steps, frozenset({fault}), 0.0))
    assert outcome(world) == {"c0": "v0", "c1": "v1", "c2": "v2"}


@virtual
async def test_a_binding_is_complete_on_both_sides() -> None:
    async with harness() as world:
        world.run(persistent_volumes.CONTROLLER)
        await world.client.create(PERSISTENTVOLUMES, volume("v", "5Gi"))
        await world.client.create(PERSISTENTVOLUMECLAIMS, claim("c", "2Gi"))
        await settle(1)
        found = world.cluster.table(PERSISTENTVOLUMES)[Key("", "v")].obj
        bound = world.cluster.table(PERSISTENTVOLUMECLAIMS)[Key("d", "c")].obj
        assert found["metadata"]["annotations"] == BY_CONTROLLER
        assert found["spec"]["claimRef"]["uid"] == bound["metadata"]["uid"]
        assert found["status"]["phase"] == "Bound"
        assert bound["metadata"]["annotations"] == {**BY_CONTROLLER, **COMPLETED}
        assert bound["spec"]["volumeName"] == "v"
        assert bound["status"] == {
            "phase": "Bound",
            "accessModes": ["ReadWriteOnce"],
            "capacity": {"storage": "5Gi"},
        }


@virtual
async def test_a_claim_waits_for_a_class_and_gets_the_default_afterwards() -> None:
    async with harness() as world:
        world.run(persistent_volumes.CONTROLLER)
        await world.client.create(PERSISTENTVOLUMECLAIMS, claim("c"))
        await settle(1)
        marked = {"annotations": {"storageclass.kubernetes.io/is-default-class": "true"}}
        await world.client.create(STORAGECLASSES, storage_class(metadata=marked))
        await settle(1)
        found = world.cluster.table(PERSISTENTVOLUMECLAIMS)[Key("d", "c")].obj
        assert found["spec"]["storageClassName"] == "fast"
        called = found["metadata"]["annotations"]["volume.kubernetes.io/storage-provisioner"]
        assert called == "example.com/disk"


@virtual
async def test_claims_hear_only_of_volumes_that_suit_them() -> None:
    async with harness() as world:
        world.run(persistent_volumes.CONTROLLER)
        for number in range(20):
            wanted = claim(f"c{number}", "9Gi", storageClassName="")
            await world.client.create(PERSISTENTVOLUMECLAIMS, wanted)
        await settle(1)
        before = len(world.cluster.requests)
        for number in range(20):
            await world.client.create(PERSISTENTVOLUMES, volume(f"v{number}"))
        await settle(1)
        ours = [r for r in world.cluster.requests[before:] if r[0].startswith("persistentv")]
        assert {r[2] for r in ours} == {"persistentvolumes"}
        await world.client.create(PERSISTENTVOLUMES, volume("large", "10Gi"))
        await settle(1)
        assert list(outcome(world).values()) == ["large"]


@virtual
async def test_a_claim_says_which_pod_it_waits_for() -> None:
    async with harness() as world:
        late = storage_class("late", volumeBindingMode="WaitForFirstConsumer")
        await world.client.create(STORAGECLASSES, late)
        world.run(persistent_volumes.CONTROLLER)
        await world.client.create(PERSISTENTVOLUMECLAIMS, claim(storageClassName="late"))
        await settle(1)
        volumes = [{"name": "v", "persistentVolumeClaim": {"claimName": "c"}}]
        metadata = {"name": "p", "namespace": "d"}
        spec = {"volumes": volumes, "containers": []}
        await world.client.create(PODS, {"metadata": metadata, "spec": spec})
        await settle(1)
        assert [(e["reason"], e["message"]) for e in world.cluster.objects(EVENTS)] == [
            ("WaitForFirstConsumer", "waiting for first consumer to be created before binding"),
            ("WaitForPodScheduled", "waiting for pod p to be scheduled"),
        ]
