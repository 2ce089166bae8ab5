"""Jobs: how many pods, when they are counted, how a job ends."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minikube_py.api import times
from minikube_py.api.batch import JOBS
from minikube_py.api.object import condition_of, evolve, get, without
from minikube_py.client.actions import Create, Delete, Patch
from minikube_py.lib.tallies import Tallies
from minikube_py.server.controllers.job import (
    count,
    next_look,
    plan_pods,
    plan_release,
    plan_status,
)
from minikube_py.server.controllers.job_counts import counts, to_release
from minikube_py.server.controllers.job_failures import match
from minikube_py.server.controllers.job_outcome import derive_status, outcome
from minikube_py.server.controllers.job_pods import pod_for
from minikube_py.server.controllers.job_view import FINALIZER, INDEX, View, backoff_seconds
from minikube_py.server.controllers.ttl_after_finished import seconds_left
from tests.unit.server.controllers.builders import LONG_AGO, NOW, job, pod

START = times.format_seconds(NOW - timedelta(seconds=100))


def at(seconds):
    return times.format_seconds(NOW - timedelta(seconds=seconds))


def ended(name, phase="Succeeded", ago=50, code=None, **more):
    code = code if code is not None else int(phase == "Failed")
    state = {"terminated": {"exitCode": code, "finishedAt": at(ago)}}
    status = {"containerStatuses": [{"name": "c", "restartCount": 0, "state": state}]}
    return pod(name, phase=phase, status=status, finalizers=[FINALIZER], **more)


def running(name, **more):
    return pod(name, finalizers=[FINALIZER], **more)


def view(spec=None, pods=(), status=None, now=NOW):
    return View(job(spec=spec or {}, status={"startTime": START, **(status or {})}), pods, now)


def creations(seen, target=None):
    return [action for action in plan_pods(seen, target) if isinstance(action, Create)]


def test_pods_and_jobs_that_end_are_counted_once():
    tallies = Tallies()
    before = job(status={"succeeded": 1})
    reason = {"type": "Failed", "status": "True", "reason": "BackoffLimitExceeded"}
    after = job(status={"succeeded": 3, "failed": 1, "conditions": [reason]})
    count(before, after, tallies)
    count(after, None, tallies)
    lines = list(tallies.lines())
    mode = 'completion_mode="NonIndexed"'
    assert f'job_controller_job_pods_finished_total{{{mode},result="succeeded"}} 2' in lines
    assert f'job_controller_job_pods_finished_total{{{mode},result="failed"}} 1' in lines
    how = 'result="failed",reason="BackoffLimitExceeded"'
    assert f"job_controller_jobs_finished_total{{{mode},{how}}} 1" in lines


@given(
    completions=st.one_of(st.none(), st.integers(0, 12)),
    parallelism=st.integers(0, 12),
    active=st.integers(0, 12),
    succeeded=st.integers(0, 12),
)
def test_after_one_plan_as_many_pods_run_as_should(completions, parallelism, active, succeeded):
    spec = {"parallelism": parallelism}
    if completions is not None:
        spec["completions"] = completions
    pods = [running(f"r{n}") for n in range(active)]
    seen = view(spec, pods, {"succeeded": succeeded})
    actions = list(plan_pods(seen, None))
    created = sum(isinstance(action, Create) for action in actions)
    deleted = sum(isinstance(action, Delete) for action in actions)
    if completions is None:
        wanted = active if succeeded else parallelism
    else:
        wanted = max(min(completions - succeeded, parallelism), 0)
    assert active + created - deleted == wanted
    assert not (created and deleted)


def test_a_suspended_job_has_no_pods_and_those_that_go_do_not_count():
    seen = view({"suspend": True}, [running("a")])
    release, delete = plan_pods(seen, None)
    assert isinstance(release, Patch)
    assert release.patch["metadata"]["finalizers"] is None
    assert isinstance(delete, Delete)


def test_a_new_pod_carries_the_finalizer():
    assert pod_for(view())["metadata"]["finalizers"] == [FINALIZER]


def test_an_indexed_pod_knows_its_index():
    made = pod_for(view(), 3)
    assert made["metadata"]["generateName"] == "job-3-"
    assert made["metadata"]["annotations"][INDEX] == "3"
    assert made["metadata"]["labels"][INDEX] == "3"
    assert made["spec"]["hostname"] == "job-3"
    (variable,) = made["spec"]["containers"][0]["env"]
    assert variable["name"] == "JOB_COMPLETION_INDEX"
    assert variable["valueFrom"]["fieldRef"]["fieldPath"] == f"metadata.labels['{INDEX}']"


def indexed(name, index, maker=running, **more):
    return maker(name, annotations={INDEX: str(index)}, **more)


INDEXED = {"completionMode": "Indexed", "completions": 5, "parallelism": 3}


def test_the_first_missing_indexes_are_made():
    pods = [indexed("a", 1), indexed("b", 0, ended)]
    made = creations(view(INDEXED, pods, {"completedIndexes": "3"}))
    assert [get(c.obj, ("metadata", "annotations", INDEX)) for c in made] == ["2", "4"]


def test_of_two_pods_with_one_index_one_goes():
    pods = [indexed("a", 1), indexed("b", 1, creationTimestamp=at(5))]
    gone = [a.key.name for a in plan_pods(view(INDEXED, pods), None) if isinstance(a, Delete)]
    assert gone == ["b"]


def test_completed_indexes_are_noted_as_intervals():
    pods = [indexed(f"p{n}", n, ended) for n in (0, 1, 2, 4)]
    status = counts(view(INDEXED, pods))
    assert (status["completedIndexes"], status["succeeded"]) == ("0-2,4", 4)
    assert status["uncountedTerminatedPods"] == {}


def test_a_finished_pod_is_noted_then_released_then_counted():
    spec, pods = {"completions": 3}, [ended("a"), ended("b", "Failed"), running("c")]
    seen = view(spec, pods)
    noted = counts(seen)
    assert noted["uncountedTerminatedPods"] == {"succeeded": ["uid-a"], "failed": ["uid-b"]}
    assert (noted["succeeded"], noted["failed"], noted["active"]) == (0, 0, 1)
    assert list(to_release(seen)) == []
    seen = view(spec, pods, noted)
    assert [one["metadata"]["name"] for one in to_release(seen)] == ["a", "b"]
    released = [without(one, "metadata.finalizers") for one in pods[:2]]
    counted = counts(view(spec, [*released, pods[2]], noted))
    assert counted["uncountedTerminatedPods"] == {}
    assert (counted["succeeded"], counted["failed"]) == (1, 1)
    gone = counts(view(spec, [pods[2]], noted))
    assert (gone["succeeded"], gone["failed"]) == (1, 1)


@given(crash=st.lists(st.integers(0, 2), max_size=30), pods=st.integers(1, 6))
def test_whatever_step_is_lost_every_pod_is_counted_exactly_once(crash, pods):
    owner = job(spec={"completions": 20}, status={"startTime": START})
    there = [ended(f"p{n}", "Failed" if n % 2 else "Succeeded") for n in range(pods)]
    steps = iter([*crash, *([9] * 12)])
    for _ in range(60):
        step = next(steps, None)
        if step is None:
            break
        if step in (0, 9):
            for action in plan_status(View(owner, there, NOW), None):
                owner = JOBS.default(action.obj) if hasattr(action, "subresource") else owner
        if step in (1, 9):
            named = {action.key.name for action in plan_release(View(owner, there, NOW), None)}
            there = [
                without(one, "metadata.finalizers") if one["metadata"]["name"] in named else one
                for one in there
            ]
        if step == 2 and there and not there[0]["metadata"].get("finalizers"):
            there = there[1:]  # somebody deleted it
    status = owner["status"]
    assert status.get("failed", 0) == pods // 2
    assert status.get("succeeded", 0) == pods - pods // 2
    assert not status.get("uncountedTerminatedPods")


def test_a_job_that_has_enough_is_announced_then_complete():
    seen = view({"completions": 1}, [ended("a")])
    target = outcome(seen)
    assert (target["type"], target["reason"]) == ("SuccessCriteriaMet", "CompletionsReached")
    first = derive_status(seen, target)
    assert condition_of({"status": first}, "Complete") is None
    released = [without(ended("a"), "metadata.finalizers")]
    last = derive_status(view({"completions": 1}, released, first), target)
    assert condition_of({"status": last}, "Complete")["status"] == "True"
    assert last["completionTime"] == times.format_seconds(NOW)


def test_a_work_queue_is_done_when_one_succeeded_and_none_runs():
    spec = {"parallelism": 2}
    base = job(spec=spec, status={"startTime": START})
    open_ended = evolve(base, "spec", without(base["spec"], "completions"))
    assert outcome(View(open_ended, [ended("a"), running("b")], NOW)) is None
    assert outcome(View(open_ended, [ended("a")], NOW))["type"] == "SuccessCriteriaMet"


def test_too_many_failures_end_the_job_and_its_other_pods():
    seen = view({"backoffLimit": 1}, [ended("a", "Failed"), ended("b", "Failed"), running("c")])
    target = outcome(seen)
    assert (target["type"], target["reason"], target["message"]) == (
        "FailureTarget",
        "BackoffLimitExceeded",
        "Job has reached the specified backoff limit",
    )
    (delete,) = plan_pods(seen, target)
    assert delete.key.name == "c"


def test_restarts_in_place_count_against_the_limit():
    restarts = {"containerStatuses": [{"name": "c", "restartCount": 2}]}
    template = {"spec": {"containers": [{"name": "c", "image": "i"}], "restartPolicy": "OnFailure"}}
    seen = view({"backoffLimit": 2, "template": template}, [running("a", status=restarts)])
    assert outcome(seen)["reason"] == "BackoffLimitExceeded"


def test_a_deadline_is_waited_for_and_kept():
    spec = {"activeDeadlineSeconds": 130}
    assert next_look(view(spec, [running("a")]), None) == pytest.approx(30)
    late = view(spec, [running("a")], now=NOW + timedelta(seconds=30))
    assert outcome(late)["reason"] == "DeadlineExceeded"


def test_a_failed_pod_is_replaced_after_a_wait_that_doubles():
    one = view({"completions": 5}, [ended("a", "Failed", ago=4)])
    assert backoff_seconds(one) == pytest.approx(6)
    assert creations(one) == []
    two = view({"completions": 5}, [ended("a", "Failed", ago=30), ended("b", "Failed", ago=4)])
    assert backoff_seconds(two) == pytest.approx(16)
    over = view({"completions": 5}, [ended("a", "Failed", ago=11)])
    assert len(creations(over)) == 1


def test_a_success_starts_the_wait_anew():
    pods = [ended("a", "Failed", ago=40), ended("b", ago=30), ended("c", "Failed", ago=5)]
    assert backoff_seconds(view({"completions": 5}, pods)) == pytest.approx(5)


def rule(action, **more):
    return {"podFailurePolicy": {"rules": [{"action": action, **more}]}}


EXIT_42 = {"onExitCodes": {"operator": "In", "values": [42]}}


def test_a_rule_may_fail_the_job_at_once():
    seen = view({"backoffLimit": 6, **rule("FailJob", **EXIT_42)}, [ended("a", "Failed", code=42)])
    target = outcome(seen)
    assert (target["reason"], target["message"]) == (
        "PodFailurePolicy",
        "Container c for pod d/a failed with exit code 42 matching FailJob rule at index 0",
    )


def test_a_rule_may_make_a_failure_not_count():
    disrupted = {"onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]}
    lost = ended("a", "Failed", conditions=[{"type": "DisruptionTarget", "status": "True"}])
    seen = view({"backoffLimit": 0, **rule("Ignore", **disrupted)}, [lost])
    assert outcome(seen) is None
    assert counts(seen)["uncountedTerminatedPods"] == {}
    assert list(to_release(seen)) == [lost]


def test_rules_look_at_failed_pods_only_and_at_the_named_container():
    by_name = {"onExitCodes": {"containerName": "other", "operator": "NotIn", "values": [1]}}
    assert match(job(spec=rule("FailJob", **by_name)), ended("a", "Failed", code=2)) is None
    assert match(job(spec=rule("FailJob", **EXIT_42)), running("a")) is None


def test_a_pod_that_is_deleted_while_it_runs_has_failed_and_is_replaced():
    seen = view({"completions": 1}, [running("a", deletionTimestamp=LONG_AGO)])
    assert counts(seen)["uncountedTerminatedPods"] == {"failed": ["uid-a"]}
    assert len(creations(seen)) == 1


def test_with_replacement_of_failed_pods_only_the_end_is_waited_for():
    spec = {"completions": 1, "podReplacementPolicy": "Failed"}
    seen = view(spec, [running("a", deletionTimestamp=LONG_AGO)])
    assert counts(seen)["uncountedTerminatedPods"] == {}
    assert creations(seen) == []


def test_suspension_and_resumption_are_conditions_and_the_clock_starts_anew():
    suspended = derive_status(view({"suspend": True}), None)
    condition = condition_of({"status": suspended}, "Suspended")
    assert (condition["status"], condition["reason"]) == ("True", "JobSuspended")
    assert "startTime" not in suspended
    resumed = derive_status(view({}, status=suspended), None)
    assert condition_of({"status": resumed}, "Suspended")["reason"] == "JobResumed"
    assert resumed["startTime"] == times.format_seconds(NOW)


def test_a_finished_job_lives_as_long_as_it_says():
    done = {"type": "Complete", "status": "True", "lastTransitionTime": at(40)}
    finished = job(spec={"ttlSecondsAfterFinished": 100}, status={"conditions": [done]})
    assert seconds_left(finished, NOW) == pytest.approx(60)
    assert seconds_left(finished, NOW + timedelta(hours=1)) == 0
    assert seconds_left(job(status={"conditions": [done]}), NOW) is None
    assert seconds_left(job(spec={"ttlSecondsAfterFinished": 100}), NOW) is None
