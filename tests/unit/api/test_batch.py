from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minikube_py.api.batch import CRONJOBS, JOBS, indexes, job_status
from minikube_py.api.object import Obj, evolve


@given(st.sets(st.integers(0, 200)))
def test_a_set_of_indexes_survives_text(wanted: set[int]) -> None:
    text = indexes.format_intervals(indexes.of(wanted))
    parsed = indexes.parse(text, 201)
    assert indexes.count(parsed) == len(wanted)
    assert {i for low, high in parsed for i in range(low, high + 1)} == wanted


@given(st.sets(st.integers(0, 60)), st.sets(st.integers(0, 60)))
def test_an_overlap_is_found_where_there_is_one(one: set[int], other: set[int]) -> None:
    first, second = (
        indexes.parse(indexes.format_intervals(indexes.of(part)), 61) for part in (one, other)
    )
    found = indexes.overlap(first, second)
    assert (found is not None) == bool(one & other)
    assert found is None or found in one & other


@given(*[st.sets(st.integers(0, 40))] * 2, st.integers(0, 41))
def test_sets_of_indexes_behave_like_sets(one: set[int], other: set[int], index: int) -> None:
    first, second = indexes.of(one), indexes.of(other)
    assert indexes.union(first, second) == indexes.of(one | other)
    assert indexes.common(first, second) == len(one & other)
    assert indexes.has(first, index) == (index in one)
    assert set(indexes.missing(first, index)) == set(range(index)) - one
    assert indexes.lenient(indexes.format_intervals(first), index) == indexes.of(
        {n for n in one if n < index}
    )


def test_neighbours_are_numbers_and_more_are_an_interval() -> None:
    assert indexes.format_intervals(indexes.of([0, 1, 3, 5, 6, 7])) == "0,1,3,5-7"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1-2-3", "at most two parts separated by '-'"),
        ("x", 'cannot convert string to integer for index: "x"'),
        ("9", 'too large index: "9"'),
        ("3,2", "non-increasing order, previous: 3, current: 2"),
        ("3-3", "non-increasing order, previous: 3, current: 3"),
    ],
)
def test_wrong_indexes_are_told_in_upstreams_words(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=r".") as caught:
        indexes.parse(text, 5)
    assert message in str(caught.value)


def cronjob(**spec: Any) -> Obj:
    pod = {"containers": [{"name": "c", "image": "i"}], "restartPolicy": "Never"}
    return CRONJOBS.default(
        {
            "apiVersion": "batch/v1",
            "kind": "CronJob",
            "metadata": {"name": "c", "namespace": "n"},
            "spec": {
                "schedule": "* * * * *",
                "jobTemplate": {"spec": {"template": {"spec": pod}}},
                **spec,
            },
        }
    )


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"schedule": ""}, "spec.schedule: Required value"),
        (
            {"schedule": "60 * * * *"},
            'spec.schedule: Invalid value: "60 * * * *": end of range (60) above maximum (59): 60',
        ),
        (
            {"schedule": "TZ=UTC * * * * *"},
            (
                'spec.schedule: Invalid value: "TZ=UTC * * * * *": cannot use TZ or CRON_TZ in '
                "schedule, use timeZone field instead"
            ),
        ),
        (
            {"timeZone": "Mars/Olympus"},
            'spec.timeZone: Invalid value: "Mars/Olympus": unknown time zone Mars/Olympus',
        ),
        (
            {"timeZone": "Local"},
            (
                'spec.timeZone: Invalid value: "Local": timeZone must be an explicit time zone as '
                "defined in https://www.iana.org/time-zones"
            ),
        ),
        (
            {"concurrencyPolicy": "X"},
            (
                'spec.concurrencyPolicy: Unsupported value: "X": supported values: "Allow", '
                '"Forbid", "Replace"'
            ),
        ),
    ],
)
def test_a_wrong_cron_job_is_told_in_upstreams_words(spec: Any, message: str) -> None:
    assert [str(error) for error in CRONJOBS.validate(cronjob(**spec), None)] == [message]


def test_a_zone_that_sounds_local_is_refused_for_both() -> None:
    errors = CRONJOBS.validate(cronjob(timeZone="local"), None)
    texts = [error.text.removeprefix('Invalid value: "local": ') for error in errors]
    assert [text.partition(" must be")[0] for text in texts] == [
        "timeZone",
        "unknown time zone local",
    ]


def test_a_zone_in_an_old_schedule_is_let_stand() -> None:
    old = evolve(cronjob(), "spec.schedule", "TZ=UTC * * * * *")
    assert not list(CRONJOBS.validate(old, old))


def job(status: Any) -> Obj:
    return {
        "metadata": {"name": "j"},
        "spec": {"completions": 3, "parallelism": 1, "completionMode": "NonIndexed"},
        "status": status,
    }


def condition(kind: str) -> dict[str, str]:
    return {"type": kind, "status": "True"}


START, DONE = "2026-01-01T00:00:00Z", "2026-01-01T00:05:00Z"


def test_a_job_that_completes_as_the_controller_does_it_is_fine() -> None:
    running = job({"startTime": START, "active": 1})
    met = job({"startTime": START, "succeeded": 3, "conditions": [condition("SuccessCriteriaMet")]})
    done = evolve(
        evolve(met, "status.conditions", [condition("SuccessCriteriaMet"), condition("Complete")]),
        "status.completionTime",
        DONE,
    )
    assert not list(job_status.validate(met, running))
    assert not list(job_status.validate(done, met))


@pytest.mark.parametrize(
    ("new", "message"),
    [
        (
            {"startTime": START, "conditions": [condition("Complete")], "completionTime": DONE},
            "cannot set Complete=True condition without the SuccessCriteriaMet=true condition",
        ),
        (
            {"startTime": START, "conditions": [condition("Failed")]},
            "cannot set Failed=True condition without the FailureTarget=true condition",
        ),
        ({"startTime": START, "active": 0, "ready": 1}, "cannot set more ready pods than active"),
        ({"startTime": START, "completionTime": DONE}, "cannot set completionTime when there is"),
        (
            {"active": 1},
            "startTime: Invalid value: null: field is immutable for unsuspended job once set",
        ),
        ({"startTime": DONE, "active": 1}, f'Invalid value: "{DONE}": field is immutable for'),
        ({"startTime": DONE, "completionTime": START}, "completionTime cannot be set before"),
        (
            {
                "startTime": START,
                "uncountedTerminatedPods": {"failed": ["u"]},
                "conditions": [condition("FailureTarget"), condition("Failed")],
            },
            "uncountedTerminatedPods needs to be empty for finished job",
        ),
        ({"startTime": START, "failedIndexes": "1"}, "cannot set non-null failedIndexes when"),
        ({"startTime": START, "completedIndexes": "1"}, "cannot set non-empty completedIndexes"),
    ],
)
def test_a_status_that_no_job_can_have_is_refused(new: Any, message: str) -> None:
    before = job({"startTime": START, "active": 1})
    assert any(message in str(error) for error in job_status.validate(job(new), before))


def test_a_job_that_resumes_starts_anew() -> None:
    before = job({"startTime": START, "conditions": [condition("Suspended")]})
    assert not list(job_status.validate(job({"startTime": DONE, "active": 1}), before))


def test_when_a_job_completed_is_not_rewritten() -> None:
    met = [condition("SuccessCriteriaMet"), condition("Complete")]
    done = job({"startTime": START, "completionTime": START, "conditions": met, "succeeded": 3})
    again = evolve(done, "status.completionTime", DONE)
    texts = [str(error) for error in job_status.validate(again, done)]
    assert len(texts) == 1
    assert texts[0].endswith("completionTime cannot be mutated")


def test_what_finished_stays_finished() -> None:
    met = [condition("SuccessCriteriaMet"), condition("Complete")]
    done = job({"startTime": START, "completionTime": DONE, "conditions": met, "succeeded": 3})
    again = job({"startTime": START, "active": 1, "succeeded": 2})
    texts = [str(error) for error in job_status.validate(again, done)]
    assert any("cannot disable the terminal Complete=True condition" in text for text in texts)
    assert any("cannot decrease the succeeded counter" in text for text in texts)


def test_pods_of_two_jobs_are_told_apart_by_the_uid() -> None:
    pod = {"containers": [{"name": "c", "image": "i"}], "restartPolicy": "Never"}
    made = JOBS.prepare_for_create(
        JOBS.default(
            {
                "apiVersion": "batch/v1",
                "kind": "Job",
                "metadata": {"name": "j", "uid": "u-1"},
                "spec": {"template": {"metadata": {"labels": {"mine": "1"}}, "spec": pod}},
            }
        )
    )
    assert made["spec"]["selector"] == {
        "matchLabels": {"batch.kubernetes.io/controller-uid": "u-1"}
    }
    labels = made["spec"]["template"]["metadata"]["labels"]
    assert labels["mine"] == "1"
    assert labels["batch.kubernetes.io/job-name"] == labels["job-name"] == "j"


@pytest.mark.parametrize("path", ["nodeSelector", "tolerations", "resources", "image"])
@pytest.mark.parametrize(
    ("suspend", "status", "at_rest"),
    [
        (True, {}, True),
        (True, {"startTime": START, "conditions": [condition("Suspended")]}, True),
        (True, {"startTime": START}, False),
        (True, {"active": 1, "conditions": [condition("Suspended")]}, False),
        (False, {}, False),
    ],
)
def test_a_suspended_job_of_which_nothing_runs_may_change_what_its_pods_need(
    *, path: str, suspend: bool, status: Any, at_rest: bool
) -> None:
    metadata = {"name": "j", "namespace": "d", "uid": "6b1f0f3c-7f0e-4f2b-9d55-0d2d8d6f0a11"}
    spec = {"containers": [{"name": "c", "image": "i"}], "restartPolicy": "Never"}
    made = {"metadata": metadata, "spec": {"suspend": suspend, "template": {"spec": spec}}}
    before = {**JOBS.prepare_for_create(JOBS.default(made)), "status": status}
    assert [str(error) for error in JOBS.validate(before, None)] == []
    pod = before["spec"]["template"]["spec"]
    changes: dict[str, Any] = {
        "nodeSelector": {"a": "b"},
        "tolerations": [{"operator": "Exists"}],
    }
    container = {**pod["containers"][0], "resources": {"requests": {"cpu": "1"}}}
    if path == "image":
        container["image"] = "other"
    change = {path: changes[path]} if path in changes else {"containers": [container]}
    after = JOBS.default(evolve(before, "spec.template.spec", {**pod, **change}))
    errors = [str(error) for error in JOBS.validate(after, before)]
    assert (errors == []) == (at_rest and path != "image"), errors
