"""Indexed jobs: limits of failures per index, rules of success, and who sees to a job."""

from datetime import timedelta

import pytest

from minikube_py.api.object import get
from minikube_py.client.actions import Create, Delete
from minikube_py.server.controllers.job import is_managed_elsewhere, next_look, plan_pods
from minikube_py.server.controllers.job_counts import counts, to_release
from minikube_py.server.controllers.job_outcome import outcome
from minikube_py.server.controllers.job_view import FAILURES, IGNORED_FAILURES, INDEX
from tests.unit.server.controllers.builders import NOW, job
from tests.unit.server.controllers.test_job import EXIT_42, ended, rule, running, view

PER_INDEX = {
    "completionMode": "Indexed",
    "completions": 4,
    "parallelism": 4,
    "backoffLimitPerIndex": 1,
}


def failed(name, index, failures=0, code=1, ago=50):
    return ended(
        name,
        "Failed",
        ago=ago,
        code=code,
        annotations={INDEX: str(index), FAILURES: str(failures)},
    )


def succeeded(name, index):
    return ended(name, annotations={INDEX: str(index)})


def active(name, index):
    return running(name, annotations={INDEX: str(index)})


def made(seen):
    pods = [action.obj for action in plan_pods(seen, None) if isinstance(action, Create)]
    return {
        pod["metadata"]["annotations"][INDEX]: pod["metadata"]["annotations"].get(FAILURES)
        for pod in pods
    }


def test_a_failed_index_is_tried_again_and_its_successor_counts_the_failure():
    seen = view(PER_INDEX, [failed("a", 0), active("b", 1), active("c", 2), active("d", 3)])
    assert made(seen) == {"0": "1"}
    assert outcome(seen) is None


def test_a_failed_pod_is_neither_counted_nor_released_before_it_has_a_successor():
    alone = view(PER_INDEX, [failed("a", 0)])
    assert counts(alone)["uncountedTerminatedPods"] == {}
    assert list(to_release(alone)) == []
    followed = view(PER_INDEX, [failed("a", 0), active("b", 0)])
    assert counts(followed)["uncountedTerminatedPods"] == {"failed": ["uid-a"]}


def test_an_index_that_used_up_its_limit_is_given_up():
    seen = view(PER_INDEX, [failed("a", 0, failures=1), active("b", 1)])
    assert made(seen) == {"2": "0", "3": "0"}
    status = counts(seen)
    assert status["failedIndexes"] == "0"
    assert status["uncountedTerminatedPods"] == {"failed": ["uid-a"]}


def test_each_index_waits_for_itself():
    seen = view(PER_INDEX, [failed("a", 0, ago=4), active("b", 1), active("c", 2)])
    assert made(seen) == {"3": "0"}
    assert next_look(seen, None) == pytest.approx(6)
    later = view(PER_INDEX, seen.pods, now=NOW + timedelta(seconds=7))
    assert made(later) == {"0": "1", "3": "0"}


def test_failures_that_are_ignored_are_counted_apart():
    spec = {**PER_INDEX, **rule("Ignore", **EXIT_42)}
    seen = view(spec, [failed("a", 0, failures=1, code=42), *map(active, "bcd", (1, 2, 3))])
    (create,) = [action for action in plan_pods(seen, None) if isinstance(action, Create)]
    notes = create.obj["metadata"]["annotations"]
    assert (notes[FAILURES], notes[IGNORED_FAILURES]) == ("1", "1")


def test_a_rule_may_give_up_an_index_at_once():
    seen = view({**PER_INDEX, **rule("FailIndex", **EXIT_42)}, [failed("a", 2, code=42)])
    assert counts(seen)["failedIndexes"] == "2"


def test_a_job_whose_indexes_are_all_done_or_given_up_has_failed():
    pods = [failed("a", 0, failures=1), failed("b", 1, failures=1)]
    seen = view({**PER_INDEX, "completions": 2, "parallelism": 2}, pods)
    target = outcome(seen)
    assert (target["type"], target["reason"]) == ("FailureTarget", "FailedIndexes")
    assert target["message"] == "Job has failed indexes"


def test_too_many_failed_indexes_end_the_job_before_the_others_run():
    spec = {**PER_INDEX, "maxFailedIndexes": 0}
    seen = view(spec, [failed("a", 0, failures=1), active("b", 1)])
    target = outcome(seen)
    assert (target["reason"], target["message"]) == (
        "MaxFailedIndexesExceeded",
        "Job has exceeded the specified maximal number of failed indexes",
    )
    assert [a.key.name for a in plan_pods(seen, target) if isinstance(a, Delete)] == ["b"]
    assert counts(seen, target)["uncountedTerminatedPods"] == {"failed": ["uid-a", "uid-b"]}


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        ([{"succeededIndexes": "0-1"}], None),
        ([{"succeededIndexes": "0,2"}], "Matched rules at index 0"),
        ([{"succeededCount": 2}], "Matched rules at index 0"),
        ([{"succeededCount": 3}], None),
        ([{"succeededCount": 3}, {"succeededIndexes": "0-2", "succeededCount": 2}], 1),
    ],
)
def test_a_job_may_succeed_with_some_of_its_indexes(rules, message):
    spec = {"completionMode": "Indexed", "completions": 4, "parallelism": 4}
    pods = [succeeded("a", 0), active("b", 1), succeeded("c", 2)]
    target = outcome(view({**spec, "successPolicy": {"rules": rules}}, pods))
    if message is None:
        assert target is None
        return
    text = message if isinstance(message, str) else f"Matched rules at index {message}"
    assert (target["type"], target["reason"]) == ("SuccessCriteriaMet", "SuccessPolicy")
    assert target["message"] == text


def test_pods_that_are_stopped_because_the_job_has_succeeded_have_not_failed():
    spec = {"completionMode": "Indexed", "completions": 4, "parallelism": 4}
    stopped = running("b", annotations={INDEX: "1"}, deletionTimestamp="2026-01-01T11:59:59Z")
    policy = {"successPolicy": {"rules": [{"succeededCount": 1}]}}
    seen = view({**spec, **policy}, [succeeded("a", 0), stopped])
    target = outcome(seen)
    assert counts(seen, target)["uncountedTerminatedPods"] == {}
    assert [get(one, "metadata.name") for one in to_release(seen, target)] == ["b"]


def test_no_more_than_five_hundred_pods_are_noted_at_a_time():
    pods = [ended(f"p{number}") for number in range(600)]
    noted = counts(view({"completions": 1000}, pods))["uncountedTerminatedPods"]
    assert len(noted["succeeded"]) == 500


def test_a_job_of_another_controller_is_left_alone():
    assert is_managed_elsewhere(job(spec={"managedBy": "example.com/queue"}))
    assert not is_managed_elsewhere(job(spec={"managedBy": "kubernetes.io/job-controller"}))
    assert not is_managed_elsewhere(job())
