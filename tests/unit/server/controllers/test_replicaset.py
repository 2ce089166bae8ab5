"""Replica sets: how many pods, which go first, what the status says."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minikube_py.api.errors import ForbiddenError
from minikube_py.api.object import condition_of, evolve
from minikube_py.api.selectors import NOTHING
from minikube_py.client.actions import Create, Delete
from minikube_py.server.controllers import replicationcontroller
from minikube_py.server.controllers.pod_facts import deletion_order, facts_of
from minikube_py.server.controllers.replicaset import (
    REPLICASETS,
    Observed,
    derive_status,
    plan,
    plan_status,
    seconds_to_next,
)
from tests.unit.server.controllers.builders import NOW, replicaset
from tests.unit.server.controllers.builders import pod as document


def pod(name, owner=None, **more):
    return facts_of(document(name, owner, **more))


def ago(seconds):
    return (NOW - timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")


@given(replicas=st.integers(0, 20), have=st.integers(0, 20))
def test_one_plan_reaches_the_wanted_number_of_pods(replicas, have):
    rs = replicaset(replicas=replicas)
    pods = [pod(str(number), rs) for number in range(have)]
    actions = list(plan(rs, Observed(pods, NOW)))
    created = sum(isinstance(action, Create) for action in actions)
    deleted = sum(isinstance(action, Delete) for action in actions)
    assert have + created - deleted == replicas
    assert not (created and deleted)


def test_finished_and_terminating_pods_do_not_count():
    rs = replicaset(replicas=2)
    pods = [
        pod("done", rs, phase="Succeeded"),
        pod("failed", rs, phase="Failed"),
        pod("going", rs, deletionTimestamp=ago(1)),
        pod("running", rs),
    ]
    assert len(list(plan(rs, Observed(pods, NOW)))) == 1


def test_a_replica_set_that_is_being_deleted_makes_and_deletes_nothing():
    rs = replicaset(replicas=2, deletionTimestamp=ago(1))
    assert list(plan(rs, Observed([], NOW))) == []


def test_no_more_than_500_pods_are_made_at_once():
    assert len(list(plan(replicaset(replicas=2000), Observed([], NOW)))) == 500


def test_a_new_pod_is_the_template_with_its_owner():
    rs = replicaset(replicas=1)
    (create,) = plan(rs, Observed([], NOW))
    assert create.obj["metadata"]["generateName"] == "rs-"
    assert create.obj["metadata"]["labels"] == {"app": "web"}
    (owner,) = create.obj["metadata"]["ownerReferences"]
    assert (owner["kind"], owner["uid"], owner["controller"]) == ("ReplicaSet", "uid-rs", True)
    assert create.obj["spec"] == rs["spec"]["template"]["spec"]
    assert create.announce is rs


ORDER = [
    pod("unassigned", ready=True),
    pod("pending", node="n", phase="Pending"),
    pod("not-ready", node="n"),
    pod(
        "cheap",
        node="n",
        ready=True,
        annotations={"controller.kubernetes.io/pod-deletion-cost": "-5"},
    ),
    pod("crowded", node="crowded", ready=True),
    pod("young-ready", node="n", ready=True, since=ago(2)),
    pod(
        "restarted",
        node="n",
        ready=True,
        status={"containerStatuses": [{"name": "c", "restartCount": 3}]},
    ),
    pod("younger", node="n", ready=True, creationTimestamp=ago(60)),
    pod("oldest", node="n", ready=True),
]


@given(pods=st.permutations(ORDER))
def test_pods_are_deleted_in_upstreams_order(pods):
    ordered = deletion_order(pods, {"crowded": 2, "n": 1}, NOW)
    assert ordered == ORDER


def test_a_deletion_cost_that_is_no_number_counts_for_nothing():
    odd = pod("odd", annotations={"controller.kubernetes.io/pod-deletion-cost": "high"})
    dear = pod("dear", annotations={"controller.kubernetes.io/pod-deletion-cost": "1"})
    assert deletion_order([dear, odd], {}, NOW) == [odd, dear]


def test_the_status_counts_what_there_is():
    rs = replicaset(replicas=4, spec={"minReadySeconds": 10})
    pods = [
        pod("available", rs, ready=True, since=ago(11)),
        pod("ready", rs, ready=True, since=ago(9)),
        pod("other-labels", rs, labels={"app": "other"}),
        pod("going", rs, ready=True, deletionTimestamp=ago(1)),
    ]
    observed = Observed(pods, NOW)
    status = derive_status(rs, observed, None)
    assert {key: status[key] for key in status if key != "conditions"} == {
        "replicas": 3,
        "fullyLabeledReplicas": 2,
        "readyReplicas": 2,
        "availableReplicas": 1,
        "terminatingReplicas": 1,
        "observedGeneration": 1,
    }
    assert seconds_to_next(rs, observed) == pytest.approx(1)


def test_a_status_that_says_the_same_is_not_written_again():
    rs = replicaset(replicas=1)
    observed = Observed([pod("p", rs, ready=True)], NOW)
    (update,) = plan_status(REPLICASETS, rs, observed, None)
    stored = REPLICASETS.default(update.obj)
    assert list(plan_status(REPLICASETS, stored, observed, None)) == []


def test_a_failure_is_a_condition_until_it_is_over():
    rs = replicaset(replicas=1)
    failed = derive_status(rs, Observed([], NOW), ForbiddenError("exceeded quota"))
    rs = evolve(rs, "status", failed)
    condition = condition_of(rs, "ReplicaFailure")
    assert (condition["status"], condition["reason"]) == ("True", "FailedCreate")
    assert condition["message"] == "exceeded quota"
    again = derive_status(rs, Observed([], NOW + timedelta(hours=1)), ForbiddenError("another"))
    assert again["conditions"] == failed["conditions"]
    assert derive_status(rs, Observed([], NOW), None)["conditions"] == []


def test_failing_to_delete_has_its_own_reason():
    rs = replicaset(replicas=0)
    failed = derive_status(rs, Observed([pod("p", rs)], NOW), ForbiddenError("no"))
    assert failed["conditions"][0]["reason"] == "FailedDelete"


def test_a_replication_controller_without_a_selector_means_no_pod():
    rc = {"spec": {}}
    assert replicationcontroller.selector_of(rc) == NOTHING
    rc = {"spec": {"selector": {"app": "web"}}}
    assert replicationcontroller.selector_of(rc).matches({"app": "web", "x": "y"})
