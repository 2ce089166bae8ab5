"""How many pods a disruption budget lets go."""

from datetime import UTC, datetime

import pytest

from minikube_py.api.apps import REPLICASETS
from minikube_py.client.actions import Emit, Patch, Update
from minikube_py.server.controllers.disruption import (
    Observed,
    plan,
    plan_stale,
    seconds_to_expiry,
    seconds_to_stale,
)
from tests.frozen import freeze

NOW = datetime(2026, 1, 1, 0, 10, tzinfo=UTC)
JUST_NOW, LONG_AGO = "2026-01-01T00:09:30Z", "2026-01-01T00:00:00Z"
OWNER = {
    "apiVersion": "apps/v1",
    "kind": "ReplicaSet",
    "name": "rs",
    "uid": "rs",
    "controller": True,
}


def budget(status=None, **spec):
    return freeze(
        {
            "kind": "PodDisruptionBudget",
            "apiVersion": "policy/v1",
            "metadata": {"name": "b", "namespace": "d", "uid": "b", "generation": 3},
            "spec": {"selector": {"matchLabels": {"app": "a"}}, **spec},
            "status": status or {},
        }
    )


def pod(name, *, ready=True, owned=True, **metadata):
    conditions = [{"type": "Ready", "status": "True" if ready else "False"}]
    owners = [OWNER] if owned else []
    return freeze(
        {
            "kind": "Pod",
            "apiVersion": "v1",
            "metadata": {
                "name": name,
                "namespace": "d",
                "uid": name,
                "resourceVersion": "1",
                "ownerReferences": owners,
                **metadata,
            },
            "spec": {},
            "status": {"phase": "Running", "conditions": conditions},
        }
    )


def find(resource, uid):
    if resource is REPLICASETS and uid == "rs":
        return freeze({"kind": "ReplicaSet", "metadata": {"uid": "rs"}, "spec": {"replicas": 4}})
    return None


def status_of(pdb, *pods):
    updates = [a for a in plan(pdb, Observed(pods, NOW), find) if isinstance(a, Update)]
    (update,) = updates
    return update.obj["status"]


@pytest.mark.parametrize(
    ("spec", "pods", "expected", "desired", "allowed"),
    [
        ({"minAvailable": 1}, [pod("a"), pod("b")], 2, 1, 1),
        ({"minAvailable": 2}, [pod("a"), pod("b")], 2, 2, 0),
        ({"minAvailable": 1}, [pod("a"), pod("b", ready=False)], 2, 1, 0),
        ({"minAvailable": 1}, [pod("a"), pod("b", deletionTimestamp=JUST_NOW)], 2, 1, 0),
        ({"minAvailable": "50%"}, [pod(n) for n in "abcd"], 4, 2, 2),
        ({"minAvailable": "51%"}, [pod(n) for n in "abcd"], 4, 3, 1),
        ({"maxUnavailable": 1}, [pod(n) for n in "abcd"], 4, 3, 1),
        ({"maxUnavailable": 1}, [pod(n) for n in "abc"], 4, 3, 0),
        ({"maxUnavailable": "25%"}, [pod(n) for n in "abcd"], 4, 3, 1),
        ({"minAvailable": 1}, [], 0, 1, 0),
    ],
)
def test_what_is_healthy_beyond_the_wanted_may_go(spec, pods, expected, desired, allowed):
    status = status_of(budget(**spec), *pods)
    counts = (status["expectedPods"], status["desiredHealthy"], status["disruptionsAllowed"])
    assert counts == (expected, desired, allowed)
    assert status["observedGeneration"] == 3
    (condition,) = status["conditions"]
    assert (condition["status"], condition["reason"]) == (
        ("True", "SufficientPods") if allowed else ("False", "InsufficientPods")
    )


def test_an_evicted_pod_counts_as_gone_for_two_minutes():
    pdb = budget({"disruptedPods": {"a": JUST_NOW}}, minAvailable=1)
    status = status_of(pdb, pod("a"), pod("b"))
    assert status["disruptedPods"] == {"a": JUST_NOW}
    assert status["currentHealthy"] == 1
    assert seconds_to_expiry(pdb, Observed([pod("a")], NOW)) == 90.0


def test_an_evicted_pod_that_stays_counts_again_and_is_told_of():
    pdb = budget({"disruptedPods": {"a": LONG_AGO}}, minAvailable=1)
    actions = list(plan(pdb, Observed([pod("a"), pod("b")], NOW), find))
    assert [a.reason for a in actions if isinstance(a, Emit)] == ["NotDeleted"]
    (update,) = [a for a in actions if isinstance(a, Update)]
    assert "disruptedPods" not in update.obj["status"]
    assert update.obj["status"]["currentHealthy"] == 2


def test_a_status_that_is_right_is_not_written_again():
    pdb = budget(minAvailable=1)
    pods = [pod("a"), pod("b")]
    settled = freeze({**pdb, "status": status_of(pdb, *pods)})
    assert list(plan(settled, Observed(pods, NOW), find)) == []


def test_a_share_of_pods_that_nobody_controls_is_warned_of():
    actions = plan(budget(minAvailable="50%"), Observed([pod("a", owned=False)], NOW), find)
    assert "UnmanagedPods" in [a.reason for a in actions if isinstance(a, Emit)]


def test_a_pod_that_was_to_be_disrupted_and_was_not_is_freed_of_the_condition():
    def marked(since):
        target = {"type": "DisruptionTarget", "status": "True", "lastTransitionTime": since}
        return freeze({**pod("a"), "status": {"phase": "Running", "conditions": [target]}})

    assert list(plan_stale(marked(JUST_NOW), NOW)) == []
    assert seconds_to_stale(marked(JUST_NOW), NOW) == 90.0
    (patch,) = plan_stale(marked(LONG_AGO), NOW)
    assert isinstance(patch, Patch)
    assert patch.patch["status"]["conditions"][0]["status"] == "False"
    assert list(plan_stale(None, NOW)) == []


def test_controllers_of_any_kind_may_say_how_many_pods_there_should_be():
    other = {**OWNER, "apiVersion": "example.com/v1", "kind": "Pool", "uid": "pool"}
    pods = [pod("a", ownerReferences=[other]), pod("b")]
    observed = Observed(pods, NOW, {"pool": 6})
    (update,) = (
        a for a in plan(budget(maxUnavailable="20%"), observed, find) if isinstance(a, Update)
    )
    status = update.obj["status"]
    assert (status["expectedPods"], status["desiredHealthy"]) == (10, 8)
    gone = Observed(pods, NOW, {"pool": None})
    (update,) = (a for a in plan(budget(maxUnavailable=1), gone, find) if isinstance(a, Update))
    assert update.obj["status"]["expectedPods"] == 4
