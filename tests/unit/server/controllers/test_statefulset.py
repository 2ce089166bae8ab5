"""Stateful sets: which pod comes or goes next, what it is made of, what the status says."""

from datetime import timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from minikube_py.api.apps import CONTROLLERREVISIONS, STATEFULSETS
from minikube_py.api.core import NAMESPACES, PERSISTENTVOLUMECLAIMS, PERSISTENTVOLUMES, PODS
from minikube_py.api.errors import AlreadyExistsError, ForbiddenError
from minikube_py.api.object import Key, evolve, owner_reference
from minikube_py.client.actions import Create, Delete, Emit, Patch, Update
from minikube_py.server.controllers import CONTROLLERS, disruption, statefulset
from minikube_py.server.controllers.pod_facts import facts_of
from minikube_py.server.controllers.statefulset import max_unavailable, plan, told
from minikube_py.server.controllers.statefulset_pods import (
    View,
    new_claim,
    owns_claim,
    split_name,
)
from minikube_py.server.controllers.statefulset_revisions import (
    Revisions,
    new_revision,
    plan_revision,
    plan_truncation,
    revisions_of,
)
from minikube_py.server.controllers.statefulset_status import (
    derive_status,
    plan_status,
    seconds_to_next,
)
from minikube_py.server.scheduler.scheduler import Scheduler
from tests.frozen import freeze
from tests.harness import harness
from tests.kubelet_model import Kubelets, node
from tests.unit.server.controllers.builders import NOW, TEMPLATE, meta
from tests.unit.server.controllers.builders import pod as document
from tests.unit.server.controllers.volumes import volume
from tests.virtual_time import run, settle

NEW = {**TEMPLATE, "spec": {"containers": [{"name": "c", "image": "new"}]}}
DISK = {
    "metadata": {"name": "disk"},
    "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
}


def statefulset_of(replicas=3, **more):
    spec = {
        "replicas": replicas,
        "serviceName": "peers",
        "selector": {"matchLabels": {"app": "web"}},
        "template": TEMPLATE,
        **more.pop("spec", {}),
    }
    status = more.pop("status", {})
    obj = {"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": meta("db", **more)}
    return freeze(STATEFULSETS.default({**obj, "spec": spec, "status": status}))


def revision(sts, name, number, template=None):
    made = new_revision(sts if template is None else evolve(sts, "spec.template", template), number)
    metadata = {**made["metadata"], "name": name, "uid": f"uid-{name}", "resourceVersion": "3"}
    return freeze({**made, "metadata": metadata})


def member(ordinal, made_of="old", *, ready=True, **more):
    name = f"db-{ordinal}"
    labels = {
        "app": "web",
        "statefulset.kubernetes.io/pod-name": name,
        "apps.kubernetes.io/pod-index": str(ordinal),
        "controller-revision-hash": made_of,
        **more.pop("labels", {}),
    }
    return facts_of(document(name, labels=labels, ready=ready, **more))


def view_of(sts, *pods, claims=(), strangers=(), updating=False):
    old = revision(sts, "old", 1)
    update = revision(sts, "new", 2, NEW) if updating else old
    return View(
        sts,
        Revisions([old, update] if updating else [old], old, update),
        {split_name(pod.key.name)[1]: pod for pod in pods},
        NOW,
        {claim["metadata"]["name"]: claim for claim in claims},
        frozenset(strangers),
    )


def did(actions):
    """Say what a plan does in short: +name creates, -name deletes a pod."""
    words = []
    for action in actions:
        if isinstance(action, Create) and action.resource is PODS:
            words.append(f"+{action.obj['metadata']['name']}")
        elif isinstance(action, Delete):
            words.append(f"-{action.key.name}")
    return " ".join(words)


def ago(seconds):
    return (NOW - timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")


GOING = {"deletionTimestamp": ago(1)}
PARALLEL = {"podManagementPolicy": "Parallel"}


@pytest.mark.parametrize(
    ("replicas", "spec", "pods", "expected"),
    [
        (3, {}, [], "+db-0"),
        (3, {}, [member(0, ready=False)], ""),
        (3, {}, [member(0)], "+db-1"),
        (3, {"minReadySeconds": 9}, [member(0, since=ago(5))], ""),
        (3, {"minReadySeconds": 9}, [member(0, since=ago(9))], "+db-1"),
        (3, {}, [member(0), member(2)], "+db-1"),
        (3, PARALLEL, [], "+db-0 +db-1 +db-2"),
        (3, PARALLEL, [member(1, ready=False)], "+db-0 +db-2"),
        (2, {"ordinals": {"start": 5}}, [], "+db-5"),
        (2, {"ordinals": {"start": 1}}, [member(0), member(1), member(2)], "-db-0"),
        (1, {}, [member(0), member(1), member(2)], "-db-2"),
        (1, {}, [member(0), member(1), member(2, **GOING)], ""),
        (1, {}, [member(0), member(1, ready=False), member(2)], "-db-2"),
        (1, {}, [member(0), member(1, ready=False), member(2, ready=False)], ""),
        (1, {}, [member(0, ready=False), member(1), member(2)], ""),
        (1, PARALLEL, [member(0, ready=False), member(1), member(2)], "-db-2 -db-1"),
        (0, {}, [member(0, ready=False)], "-db-0"),
        (2, {}, [member(0, phase="Failed"), member(1)], "-db-0"),
        (2, {}, [member(0, phase="Failed", **GOING)], ""),
        (2, {}, [member(0, **GOING)], ""),
        (3, PARALLEL, [member(0, phase="Succeeded")], "-db-0 +db-1 +db-2"),
    ],
)
def test_pods_come_in_order_and_go_in_the_opposite_order(replicas, spec, pods, expected):
    sts = statefulset_of(replicas, spec=spec)
    assert did(plan(view_of(sts, *pods))) == expected


def rolling(**settings_):
    return {"updateStrategy": {"type": "RollingUpdate", "rollingUpdate": settings_}}


@pytest.mark.parametrize(
    ("spec", "pods", "expected"),
    [
        ({}, [member(0), member(1), member(2)], "-db-2"),
        ({}, [member(0), member(1), member(2, "new")], "-db-1"),
        ({}, [member(0), member(1), member(2, "new", ready=False)], ""),
        ({}, [member(0, "new"), member(1, "new"), member(2, "new")], ""),
        ({}, [member(0), member(1)], "+db-2"),
        (rolling(partition=2), [member(0), member(1), member(2)], "-db-2"),
        (rolling(partition=2), [member(0), member(1), member(2, "new")], ""),
        (rolling(partition=9), [member(0), member(1), member(2)], ""),
        (rolling(maxUnavailable=2), [member(0), member(1), member(2)], "-db-2 -db-1"),
        (rolling(maxUnavailable="67%"), [member(0), member(1), member(2)], "-db-2 -db-1 -db-0"),
        ({"updateStrategy": {"type": "OnDelete"}}, [member(0), member(1), member(2)], ""),
        (PARALLEL, [member(0), member(1, ready=False), member(2)], "-db-1"),
        (PARALLEL, [member(0), member(1, **GOING), member(2)], ""),
        (PARALLEL, [member(0, ready=False), member(1, ready=False), member(2)], "-db-1"),
        (
            {**PARALLEL, **rolling(maxUnavailable=2)},
            [member(0), member(1, ready=False), member(2)],
            "-db-1 -db-2",
        ),
    ],
)
def test_an_update_replaces_old_pods_from_the_highest_down(spec, pods, expected):
    assert did(plan(view_of(statefulset_of(3, spec=spec), *pods, updating=True))) == expected


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({}, "new"),
        (rolling(partition=1), "old"),
        ({"updateStrategy": {"type": "OnDelete"}}, "new"),
    ],
)
def test_a_pod_below_the_partition_is_made_of_the_current_revision(spec, expected):
    (create,) = plan(view_of(statefulset_of(3, spec=spec), updating=True))
    assert create.obj["metadata"]["labels"]["controller-revision-hash"] == expected
    assert create.obj["spec"]["containers"][0]["image"] == ("new" if expected == "new" else "i")


def test_a_pod_has_its_name_its_labels_and_its_place_in_the_service():
    sts = statefulset_of(spec={"volumeClaimTemplates": [DISK]})
    claim, create = plan(view_of(sts))
    assert claim.resource is PERSISTENTVOLUMECLAIMS
    assert claim.obj["metadata"]["name"] == "disk-db-0"
    assert claim.obj["metadata"]["labels"] == {"app": "web"}
    made = create.obj
    assert made["metadata"]["labels"] == {
        "app": "web",
        "statefulset.kubernetes.io/pod-name": "db-0",
        "apps.kubernetes.io/pod-index": "0",
        "controller-revision-hash": "old",
    }
    assert (made["spec"]["hostname"], made["spec"]["subdomain"]) == ("db-0", "peers")
    assert made["spec"]["volumes"] == [
        {"name": "disk", "persistentVolumeClaim": {"claimName": "disk-db-0"}}
    ]
    assert "$patch" not in made["spec"]


def test_a_name_that_another_pod_has_is_waited_for():
    assert did(plan(view_of(statefulset_of(), strangers=["db-0"]))) == ""


def test_a_set_that_is_being_deleted_makes_and_deletes_nothing():
    assert list(plan(view_of(statefulset_of(**GOING), member(7)))) == []


def test_an_ended_pod_is_told_of_and_made_again():
    emit, delete = plan(view_of(statefulset_of(), member(0, phase="Failed")))
    assert emit == Emit(
        emit.obj,
        "Warning",
        "RecreatingFailedPod",
        "StatefulSet d/db is recreating failed Pod db-0",
    )
    assert delete == Delete(PODS, Key("d", "db-0"), "uid-db-0")


def test_labels_that_somebody_changed_are_put_right():
    wrong = member(0, labels={"apps.kubernetes.io/pod-index": "8"})
    (patch,) = plan(view_of(statefulset_of(1), wrong))
    assert isinstance(patch, Patch)
    assert patch.patch["metadata"]["labels"]["apps.kubernetes.io/pod-index"] == "0"


def retaining(when_deleted, when_scaled, replicas=1):
    policy = {"whenDeleted": when_deleted, "whenScaled": when_scaled}
    spec = {"volumeClaimTemplates": [DISK], "persistentVolumeClaimRetentionPolicy": policy}
    return statefulset_of(replicas, spec=spec)


def stored_claim(sts, ordinal, *owners, **more):
    made = new_claim(sts, sts["spec"]["volumeClaimTemplates"][0], ordinal)
    metadata = {**made["metadata"], "resourceVersion": "2", "ownerReferences": list(owners), **more}
    return freeze({**made, "metadata": metadata})


@pytest.mark.parametrize(
    ("policy", "replicas", "kinds"),
    [
        (("Retain", "Retain"), 1, None),
        (("Delete", "Retain"), 1, ["StatefulSet"]),
        (("Retain", "Delete"), 1, None),
        (("Retain", "Delete"), 0, ["Pod"]),
        (("Delete", "Delete"), 1, ["StatefulSet"]),
        (("Delete", "Delete"), 0, ["Pod"]),
        (("Delete", "Retain"), 0, ["StatefulSet"]),
    ],
)
def test_claims_are_owned_by_whose_end_shall_be_theirs(policy, replicas, kinds):
    sts = retaining(*policy, replicas)
    actions = list(plan(view_of(sts, member(0), claims=[stored_claim(sts, 0)])))
    updates = [action for action in actions if isinstance(action, Update)]
    owners = [[o["kind"] for o in u.obj["metadata"]["ownerReferences"]] for u in updates]
    assert owners == ([] if kinds is None else [kinds])


def test_a_policy_that_changed_takes_the_owner_away_but_not_that_of_another_controller():
    sts = retaining("Retain", "Retain")
    owned = stored_claim(sts, 0, owner_reference(sts))
    (update,) = plan(view_of(sts, member(0), claims=[owned]))
    assert update.obj["metadata"]["ownerReferences"] == []
    sts = retaining("Delete", "Delete")
    other = {"apiVersion": "v1", "kind": "X", "name": "x", "uid": "x", "controller": True}
    assert list(plan(view_of(sts, member(0), claims=[stored_claim(sts, 0, other)]))) == []


@pytest.mark.parametrize("stale", ["going", "of the pod before"])
def test_a_pod_waits_until_the_claim_of_the_one_before_is_gone(stale):
    sts = retaining("Retain", "Delete")
    before = {"apiVersion": "v1", "kind": "Pod", "name": "db-0", "uid": "gone"}
    claim = stored_claim(sts, 0, **GOING) if stale == "going" else stored_claim(sts, 0, before)
    assert list(plan(view_of(sts, claims=[claim]))) == []


def test_a_pending_pod_gets_the_claim_that_somebody_deleted():
    sts = retaining("Retain", "Retain")
    (create,) = plan(view_of(sts, member(0, ready=False, phase="Pending")))
    assert create.obj["metadata"]["name"] == "disk-db-0"


def test_claims_are_known_by_their_names():
    sts = retaining("Retain", "Retain")
    assert owns_claim(sts, "disk-db-12")
    assert not owns_claim(sts, "disk-db-012")
    assert not owns_claim(sts, "disk-db")
    assert not owns_claim(sts, "other-db-1")


def test_the_first_template_is_the_first_revision_and_the_same_one_needs_no_other():
    sts = statefulset_of()
    (create,) = plan_revision(sts, [])
    assert create.obj["revision"] == 1
    assert create.obj["metadata"]["name"].startswith("db-")
    assert create.obj["data"]["spec"]["template"]["$patch"] == "replace"
    assert list(plan_revision(sts, [create.obj])) == []


def test_going_back_to_an_old_template_makes_its_revision_the_newest():
    sts = statefulset_of()
    history = [revision(sts, "a", 1), revision(sts, "b", 2, NEW)]
    (patch,) = plan_revision(sts, history)
    assert (patch.key.name, patch.patch["revision"]) == ("a", 3)
    sts = evolve(sts, "status.currentRevision", "b")
    found = revisions_of(sts, history)
    assert (found.current, found.update) == (history[1], history[0])


def test_a_collision_gives_the_revision_another_name():
    sts = statefulset_of()
    other = evolve(sts, "status.collisionCount", 1)
    names = {new_revision(one, 1)["metadata"]["name"] for one in (sts, other)}
    assert len(names) == 2


def test_the_history_keeps_what_pods_are_made_of_and_as_many_as_its_limit():
    sts = statefulset_of(spec={"revisionHistoryLimit": 1})
    history = [revision(sts, name, n) for n, name in enumerate("abcde")]
    revisions = Revisions(history, history[3], history[4])
    assert did(plan_truncation(sts, revisions, [])) == "-a -b"
    assert did(plan_truncation(sts, revisions, ["a"])) == "-b"


def test_the_status_counts_what_there_is():
    sts = statefulset_of(4, spec={"minReadySeconds": 10})
    pods = [
        member(0, since=ago(11)),
        member(1, since=ago(9)),
        member(2, "new", ready=False),
        member(3, "new", **GOING),
    ]
    view = view_of(sts, *pods, updating=True)
    assert derive_status(view) == {
        "observedGeneration": 1,
        "replicas": 4,
        "readyReplicas": 3,
        "availableReplicas": 2,
        "currentReplicas": 2,
        "updatedReplicas": 1,
        "currentRevision": "old",
        "updateRevision": "new",
    }
    assert seconds_to_next(view) == pytest.approx(1)


def test_an_update_that_is_over_makes_the_new_revision_the_current_one():
    pods = [member(n, "new") for n in range(3)]
    status = derive_status(view_of(statefulset_of(), *pods, updating=True))
    assert (status["currentRevision"], status["currentReplicas"]) == ("new", 3)
    kept = statefulset_of(spec={"updateStrategy": {"type": "OnDelete"}})
    assert derive_status(view_of(kept, *pods, updating=True))["currentRevision"] == "old"


def test_a_status_that_says_the_same_is_not_written_again():
    sts = statefulset_of(1)
    (update,) = plan_status(view_of(sts, member(0)))
    assert list(plan_status(view_of(STATEFULSETS.default(update.obj), member(0)))) == []


def test_steps_are_told_in_upstreams_words():
    sts = retaining("Retain", "Retain")
    claim, pod = plan(view_of(sts))
    (event,) = told(sts, pod, None)
    assert (event.reason, event.message) == (
        "SuccessfulCreate",
        "create Pod db-0 in StatefulSet db successful",
    )
    (event,) = told(sts, claim, None)
    assert event.message == "create Claim disk-db-0 Pod db-0 in StatefulSet db success"
    (event,) = told(sts, Delete(PODS, Key("d", "db-0"), "u"), ForbiddenError("no"))
    assert (event.type, event.reason, event.message) == (
        "Warning",
        "FailedDelete",
        "delete Pod db-0 in StatefulSet db failed error: no",
    )
    assert list(told(sts, pod, AlreadyExistsError("there"))) == []


def test_at_least_one_pod_may_be_unavailable():
    assert max_unavailable(statefulset_of(0, spec=rolling(maxUnavailable="10%"))) == 1
    assert max_unavailable(statefulset_of(15, spec=rolling(maxUnavailable="10%"))) == 2


VOLUMES = 40
"""More than a run uses: what a claim has let go is not used again."""
ALL = tuple(dict.fromkeys((*CONTROLLERS, statefulset.CONTROLLER, disruption.CONTROLLER)))
BUDGET = {"minAvailable": "50%", "selector": {"matchLabels": {"app": "web"}}}
STEPS = st.one_of(
    st.tuples(st.just("scale"), st.integers(0, 4)),
    st.tuples(st.just("image"), st.sampled_from(["i", "new"])),
    st.tuples(st.just("kill"), st.integers(0, 4)),
    st.tuples(st.just("relabel"), st.integers(0, 4)),
    st.tuples(st.just("claims"), st.integers(0, 4)),
    st.tuples(st.just("wait"), st.integers(1, 20)),
)


async def user(world, step):
    name, value = step
    table = world.cluster.table(STATEFULSETS)
    sts = table[Key("d", "db")].obj
    pods, claims = (world.cluster.objects(one, "d") for one in (PODS, PERSISTENTVOLUMECLAIMS))
    if name == "scale":
        await world.client.update(STATEFULSETS, evolve(sts, "spec.replicas", value))
    elif name == "image":
        template = NEW if value == "new" else TEMPLATE
        await world.client.update(STATEFULSETS, evolve(sts, "spec.template", template))
    elif name == "kill" and pods:
        await world.client.delete(PODS, pods[value % len(pods)]["metadata"]["name"], "d")
    elif name == "relabel" and pods:
        other = evolve(pods[value % len(pods)], "metadata.labels", {"app": "other"})
        await world.client.update(PODS, other)
    elif name == "claims" and claims:
        claim = claims[value % len(claims)]["metadata"]["name"]
        await world.client.delete(PERSISTENTVOLUMECLAIMS, claim, "d")
    await settle(value if name == "wait" else 0.0001)


async def living(world):
    kubelets = Kubelets(world, beat_seconds=40)
    kubelets.start()
    world.run(*ALL)
    scheduler = Scheduler(world.cluster.client("scheduler"), world.informers, world.clock)
    world.nursery.start("scheduler", scheduler.run())
    await kubelets.add(node("n1"))
    for number in range(VOLUMES):
        await world.client.create(PERSISTENTVOLUMES, volume(f"v{number}"))


def writes(world, since):
    ours = {part.name for part in ALL}
    return [one for one in world.cluster.requests[since:] if one[0] in ours and one[2] != "events"]


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    policy=st.sampled_from(["OrderedReady", "Parallel"]),
    retention=st.sampled_from([("Retain", "Retain"), ("Delete", "Delete"), ("Retain", "Delete")]),
    steps=st.lists(STEPS, max_size=8),
    lags=st.dictionaries(
        st.sampled_from(["pods", "statefulsets", "controllerrevisions", "persistentvolumeclaims"]),
        st.floats(0.01, 3.0),
        max_size=2,
    ),
)
def test_the_cluster_comes_to_rest_with_the_pods_that_are_wanted(policy, retention, steps, lags):
    async def scenario():
        async with harness(root_ca="PEM") as world:
            world.cluster.lag = lambda resource: lags.get(resource.plural, 0.0)
            await living(world)
            await world.client.create(NAMESPACES, {"metadata": {"name": "d"}})
            sts = retaining(*retention, 2)
            spec = {**sts["spec"], "podManagementPolicy": policy}
            metadata = {"name": "db", "namespace": "d"}
            await world.client.create(STATEFULSETS, {"metadata": metadata, "spec": spec})
            await world.client.create(
                disruption.PODDISRUPTIONBUDGETS, {"metadata": metadata, "spec": BUDGET}
            )
            for step in steps:
                await user(world, step)
            await settle(600)
            for pod in world.cluster.objects(PODS, "d"):
                if pod["metadata"]["labels"].get("app") == "other":
                    await world.client.delete(PODS, pod["metadata"]["name"], "d")
            await settle(600)
            before = len(world.cluster.requests)
            await settle(600)
            assert writes(world, before) == []
            arrived(world)

    run(scenario())


def arrived(world):
    (sts,) = world.cluster.objects(STATEFULSETS, "d")
    (budget,) = world.cluster.objects(disruption.PODDISRUPTIONBUDGETS, "d")
    replicas, status = sts["spec"]["replicas"], sts["status"]
    pods = sorted(pod["metadata"]["name"] for pod in world.cluster.objects(PODS, "d"))
    assert pods == [f"db-{n}" for n in range(replicas)]
    assert status["currentRevision"] == status["updateRevision"]
    for count in ("replicas", "readyReplicas", "updatedReplicas", "currentReplicas"):
        assert status.get(count, 0) == replicas
    assert budget["status"]["expectedPods"] == budget["status"]["currentHealthy"] == replicas
    assert budget["status"]["disruptionsAllowed"] == replicas // 2
    assert len(world.cluster.objects(CONTROLLERREVISIONS, "d")) <= 2
