"""Deployments: the new replica set, revisions, history, conditions, deadlines."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minikube_py.api import times
from minikube_py.api.errors import ForbiddenError
from minikube_py.api.object import annotations_of, condition_of, evolve, without
from minikube_py.client.actions import Create, Delete, Emit, Update
from minikube_py.server.controllers.deployment import (
    plan_cleanup,
    plan_failed_creation,
    plan_new,
    plan_resting,
    plan_rollout,
    plan_status,
    refuse_empty_selector,
)
from minikube_py.server.controllers.deployment_revisions import (
    ALPHABET,
    HASH_LABEL,
    HISTORY,
    REVISION,
    same_template,
    synced,
    template_hash,
    view_of,
)
from minikube_py.server.controllers.deployment_status import (
    base_status,
    is_complete,
    rollout_status,
    seconds_to_deadline,
)
from tests.unit.server.controllers.builders import NOW, TEMPLATE, deployment, replicaset

OLD = {**TEMPLATE, "spec": {"containers": [{"name": "c", "image": "old"}]}}


def hashed(template, digest="abc"):
    return evolve(template, ("metadata", "labels", HASH_LABEL), digest)


def rs(name="new", size=3, template=TEMPLATE, available=None, revision="1", **more):
    annotations = {REVISION: revision, **more.pop("annotations", {})}
    available = size if available is None else available
    status = {
        "replicas": size,
        "readyReplicas": available,
        "availableReplicas": available,
        "observedGeneration": 1,
        **more.pop("status", {}),
    }
    return replicaset(
        name, size, template=hashed(template), annotations=annotations, status=status, **more
    )


def reason(status, kind="Progressing"):
    condition = condition_of({"status": status}, kind)
    return condition and (condition["status"], condition["reason"])


def test_the_new_replica_set_is_the_one_with_the_same_template_whatever_its_hash():
    view = view_of(deployment(), [rs("a", template=OLD), rs("b")], NOW)
    assert view.new["metadata"]["name"] == "b"
    assert [one["metadata"]["name"] for one in view.old] == ["a"]


def test_of_two_with_the_same_template_the_oldest_is_the_new_one():
    young = rs("young", creationTimestamp="2026-01-01T11:00:00Z")
    old = rs("old", creationTimestamp="2026-01-01T10:00:00Z")
    assert view_of(deployment(), [young, old], NOW).new is old


def test_templates_are_compared_apart_from_the_hash_label():
    assert same_template(hashed(TEMPLATE, "x"), TEMPLATE)
    assert same_template({**TEMPLATE, "metadata": {"labels": {"app": "web"}}}, TEMPLATE)
    assert not same_template(OLD, TEMPLATE)


@given(collisions=st.one_of(st.none(), st.integers(0, 10)))
def test_a_hash_is_stable_short_and_safe(collisions):
    digest = template_hash(TEMPLATE, collisions)
    assert digest == template_hash(dict(reversed(TEMPLATE.items())), collisions)
    assert 1 <= len(digest) <= 10
    assert set(digest) <= set(ALPHABET)


def test_a_collision_changes_the_hash():
    assert template_hash(TEMPLATE, None) != template_hash(TEMPLATE, 0) != template_hash(TEMPLATE, 1)


def test_a_new_replica_set_is_made_with_hash_revision_and_copied_annotations():
    notes = {"team": "a", "kubectl.kubernetes.io/last-applied-configuration": "{}"}
    d = deployment(annotations=notes)
    create, event = plan_new(view_of(d, [rs("old", 0, OLD, revision="4")], NOW))
    assert isinstance(create, Create)
    metadata = create.obj["metadata"]
    digest = metadata["labels"][HASH_LABEL]
    assert metadata["name"] == f"web-{digest}"
    assert metadata["annotations"] == {
        "team": "a",
        REVISION: "5",
        "deployment.kubernetes.io/desired-replicas": "3",
        "deployment.kubernetes.io/max-replicas": "4",
    }
    assert create.obj["spec"]["selector"]["matchLabels"] == {"app": "web", HASH_LABEL: digest}
    assert create.obj["spec"]["template"]["metadata"]["labels"][HASH_LABEL] == digest
    assert isinstance(event, Emit)
    assert event.message == f"Scaled up replica set web-{digest} from 0 to 3"


def test_a_long_name_leaves_room_for_the_hash():
    d = evolve(deployment(), "metadata.name", "n" * 253)
    create, _ = plan_new(view_of(d, [], NOW))
    assert len(create.obj["metadata"]["name"]) <= 253


def test_a_rollback_gives_the_old_template_the_newest_revision_and_keeps_its_history():
    back = rs("back", revision="1")
    update = synced(view_of(deployment(), [back, rs("other", 0, OLD, revision="6")], NOW))
    assert annotations_of(update)[REVISION] == "7"
    assert annotations_of(update)[HISTORY] == "1"


def test_a_replica_set_that_is_up_to_date_is_left_alone():
    assert synced(view_of(deployment(), [rs()], NOW)) is None


def test_min_ready_seconds_and_annotations_reach_the_new_replica_set():
    d = deployment(spec={"minReadySeconds": 5}, annotations={"team": "b"})
    update = synced(view_of(d, [rs()], NOW))
    assert update["spec"]["minReadySeconds"] == 5
    assert annotations_of(update)["team"] == "b"


def test_history_beyond_the_limit_is_deleted_oldest_revision_first():
    d = deployment(spec={"revisionHistoryLimit": 1})
    old = [rs(f"r{n}", 0, OLD, revision=str(n)) for n in (3, 1, 2)]
    busy = rs("busy", 0, OLD, revision="0", status={"replicas": 1})
    actions = list(plan_cleanup(view_of(d, [*old, busy, rs()], NOW)))
    assert all(isinstance(action, Delete) for action in actions)
    assert [action.key.name for action in actions] == ["r1", "r2"]


def test_a_recreate_waits_until_no_old_pod_runs():
    d = deployment(spec={"strategy": {"type": "Recreate"}})
    view = view_of(d, [rs("old", 3, OLD), rs("new", 0, revision="2")], NOW)
    shrink = list(plan_rollout(view, waits=True))
    assert [a.obj["spec"]["replicas"] for a in shrink if isinstance(a, Update)] == [0]
    assert next(a.obj["metadata"]["name"] for a in shrink if isinstance(a, Update)) == "old"
    grown = list(
        plan_rollout(view_of(d, [rs("old", 0, OLD), rs("new", 0, revision="2")], NOW), waits=False)
    )
    assert [a.obj["spec"]["replicas"] for a in grown if isinstance(a, Update)] == [3]


def test_the_life_of_the_progressing_condition():
    d = deployment()
    created = rollout_status(
        view_of(d, [rs(size=3, available=0, status={"replicas": 0})], NOW), rs()
    )
    assert reason(created) == ("True", "NewReplicaSetCreated")
    d = evolve(d, "status", created)
    moving = rollout_status(view_of(d, [rs(available=1)], NOW), None)
    assert reason(moving) == ("True", "ReplicaSetUpdated")
    d = evolve(d, "status", moving)
    done = rollout_status(view_of(d, [rs()], NOW), None)
    assert reason(done) == ("True", "NewReplicaSetAvailable")
    message = condition_of({"status": done}, "Progressing")["message"]
    assert message == 'ReplicaSet "new" has successfully progressed.'
    assert is_complete(d, done)
    assert seconds_to_deadline(d, done, NOW) is None


def test_a_rollout_without_progress_times_out_after_its_deadline():
    d = deployment(spec={"progressDeadlineSeconds": 60})
    d = evolve(d, "status", rollout_status(view_of(d, [rs(available=0)], NOW), None))
    d = evolve(d, "status", rollout_status(view_of(d, [rs(available=0)], NOW), None))
    assert seconds_to_deadline(d, d["status"], NOW) == pytest.approx(61)
    later = NOW + timedelta(seconds=59)
    assert reason(rollout_status(view_of(d, [rs(available=0)], later), None))[0] == "True"
    late = NOW + timedelta(seconds=60)
    status = rollout_status(view_of(d, [rs(available=0)], late), None)
    assert reason(status) == ("False", "ProgressDeadlineExceeded")
    assert seconds_to_deadline(d, status, late) is None


def test_progress_starts_the_deadline_anew_but_not_the_transition_time():
    d = deployment()
    d = evolve(d, "status", rollout_status(view_of(d, [rs(available=0)], NOW), None))
    later = NOW + timedelta(seconds=30)
    condition = condition_of(
        {"status": rollout_status(view_of(d, [rs(available=1)], later), None)}, "Progressing"
    )
    assert condition["lastUpdateTime"] == times.format_seconds(later)
    assert condition["lastTransitionTime"] == times.format_seconds(NOW)


def test_a_pause_is_said_and_taken_back():
    d = evolve(deployment(spec={"paused": True}), "status", {})
    paused = base_status(view_of(d, [rs()], NOW))
    assert reason(paused) == ("Unknown", "DeploymentPaused")
    d = evolve(without(d, "spec.paused"), "status", paused)
    resumed = base_status(view_of(d, [rs()], NOW))
    assert reason(resumed) == ("Unknown", "DeploymentResumed")


def test_a_paused_deployment_passes_on_what_starts_no_rollout():
    d = deployment(spec={"paused": True, "minReadySeconds": 5})
    first, *more = plan_resting(view_of(d, [rs()], NOW))
    assert more == []
    assert first.obj["spec"]["minReadySeconds"] == 5


def test_availability_is_counted_against_what_may_be_missing():
    d = deployment(10)
    assert reason(base_status(view_of(d, [rs(size=10, available=8)], NOW)), "Available") == (
        "True",
        "MinimumReplicasAvailable",
    )
    assert reason(base_status(view_of(d, [rs(size=10, available=7)], NOW)), "Available") == (
        "False",
        "MinimumReplicasUnavailable",
    )


def test_a_replica_set_that_cannot_make_pods_shows_in_the_deployment_until_it_can():
    failure = {"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": "m"}
    d = deployment()
    failing = rs(status={"conditions": [failure]})
    status = rollout_status(view_of(d, [failing], NOW), None)
    assert reason(status, "ReplicaFailure") == ("True", "FailedCreate")
    cured = rollout_status(view_of(evolve(d, "status", status), [rs()], NOW), None)
    assert reason(cured, "ReplicaFailure") is None


def test_status_and_revision_are_written_once():
    d = deployment()
    view = view_of(d, [rs()], NOW)
    (update,) = plan_status(view, rollout_status(view, None))
    assert annotations_of(update.obj)[REVISION] == "1"
    again = view_of(update.obj, [rs()], NOW)
    assert list(plan_status(again, rollout_status(again, None))) == []


def test_a_replica_set_that_cannot_be_created_is_told_of():
    view = view_of(deployment(), [], NOW)
    event, update = plan_failed_creation(view, ForbiddenError("quota"))
    assert (event.type, event.reason) == ("Warning", "ReplicaSetCreateError")
    assert event.message.startswith('Failed to create new replica set "web-')
    assert event.message.endswith('": quota')
    assert reason(update.obj["status"]) == ("False", "ReplicaSetCreateError")


def test_an_empty_selector_is_refused():
    event, update = refuse_empty_selector(deployment(generation=2))
    assert event.reason == "SelectingAll"
    assert update.obj["status"]["observedGeneration"] == 2
