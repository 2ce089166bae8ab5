"""The columns of pods: the word for what a pod does, and how often it began again."""

from typing import Any

import pytest

from minikube_py.api.core import PODS
from minikube_py.api.core.pod_columns import cells, status_of
from minikube_py.api.resource import Age

THEN = "2026-01-01T00:00:00Z"
RUNNING = {"running": {"startedAt": THEN}}
RESTARTABLE = {"name": "s", "restartPolicy": "Always"}


def pod(status: dict[str, Any], **spec: Any) -> dict[str, Any]:
    spec.setdefault("containers", [{"name": "c"}])
    return {"metadata": {"name": "p", "creationTimestamp": THEN}, "spec": spec, "status": status}


def container(state: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"name": "c", "state": state, **more}


def waiting(reason: str) -> dict[str, Any]:
    return {"waiting": {"reason": reason}}


def ended(code: int, **more: Any) -> dict[str, Any]:
    return {"terminated": {"exitCode": code, **more}}


@pytest.mark.parametrize(
    ("status", "word"),
    [
        ({"phase": "Pending"}, "Pending"),
        ({"phase": "Failed", "reason": "Evicted"}, "Evicted"),
        (
            {
                "phase": "Pending",
                "conditions": [{"type": "PodScheduled", "reason": "SchedulingGated"}],
            },
            "SchedulingGated",
        ),
        (
            {"phase": "Running", "containerStatuses": [container(waiting("CrashLoopBackOff"))]},
            "CrashLoopBackOff",
        ),
        (
            {"phase": "Succeeded", "containerStatuses": [container(ended(0, reason="Completed"))]},
            "Completed",
        ),
        ({"phase": "Failed", "containerStatuses": [container(ended(3))]}, "ExitCode:3"),
        ({"phase": "Failed", "containerStatuses": [container(ended(137, signal=9))]}, "Signal:9"),
        (
            {
                "phase": "Running",
                "containerStatuses": [
                    container(RUNNING, ready=True),
                    container(ended(0, reason="Completed")),
                ],
                "conditions": [{"type": "Ready", "status": "True"}],
            },
            "Running",
        ),
        (
            {
                "phase": "Running",
                "containerStatuses": [
                    container(RUNNING, ready=True),
                    container(ended(0, reason="Completed")),
                ],
            },
            "NotReady",
        ),
    ],
)
def test_the_status_tells_what_a_pod_does(status: dict[str, Any], word: str) -> None:
    assert status_of(pod(status)) == word


@pytest.mark.parametrize(
    ("states", "word"),
    [
        ([waiting("PodInitializing")], "Init:0/2"),
        ([{}], "Init:0/2"),
        ([ended(0), RUNNING], "Init:1/2"),
        ([waiting("ImagePullBackOff")], "Init:ImagePullBackOff"),
        ([ended(0), ended(2, reason="Error")], "Init:Error"),
        ([ended(0), ended(2)], "Init:ExitCode:2"),
        ([ended(0), ended(2, signal=15)], "Init:Signal:15"),
    ],
)
def test_init_containers_come_first(states: list[dict[str, Any]], word: str) -> None:
    status = {"phase": "Pending", "initContainerStatuses": [container(s) for s in states]}
    assert status_of(pod(status, initContainers=[{"name": "a"}, {"name": "b"}])) == word


def test_a_sidecar_that_runs_counts_as_ready_and_ends_no_initialisation() -> None:
    status = {
        "phase": "Running",
        "initContainerStatuses": [{"name": "s", "state": RUNNING, "started": True, "ready": True}],
        "containerStatuses": [container(RUNNING, ready=True)],
    }
    row = cells(pod(status, initContainers=[RESTARTABLE]))
    assert row[1:3] == ("2/2", "Running")


@pytest.mark.parametrize(
    ("phase", "reason", "word"),
    [
        ("Running", "", "Terminating"),
        ("Running", "NodeLost", "Unknown"),
        ("Succeeded", "", "Succeeded"),
    ],
)
def test_a_pod_that_is_being_deleted_says_so_while_it_lives(
    phase: str, reason: str, word: str
) -> None:
    dying = pod({"phase": phase, "reason": reason})
    dying["metadata"]["deletionTimestamp"] = THEN
    assert status_of(dying) == word


def test_restarts_are_counted_and_the_last_one_is_dated() -> None:
    earlier, later = "2026-01-01T00:01:00Z", "2026-01-01T00:02:00Z"
    statuses = [
        container(RUNNING, restartCount=2, lastState=ended(1, finishedAt=later)),
        container(RUNNING, restartCount=1, lastState=ended(1, finishedAt=earlier)),
    ]
    row = cells(pod({"phase": "Running", "containerStatuses": statuses}))
    assert row[3] == Age(later, before="3 (", after=" ago)")
    assert cells(pod({"phase": "Running"}))[3] == "0"


def test_a_row_shows_address_node_and_gates() -> None:
    status = {
        "phase": "Running",
        "podIPs": [{"ip": "10.1.2.3"}],
        "nominatedNodeName": "m",
        "conditions": [{"type": "a/b", "status": "True"}],
    }
    gates = [{"conditionType": "a/b"}, {"conditionType": "c/d"}]
    row = cells(pod(status, nodeName="n", readinessGates=gates))
    assert row[4:] == (Age(THEN), "10.1.2.3", "n", "m", "1/2")
    assert len(row) == len(PODS.columns)
    assert cells(pod({}))[5:] == ("<none>",) * 4


@pytest.mark.parametrize(("phase", "count"), [("Succeeded", 1), ("Failed", 1), ("Running", 0)])
def test_a_pod_that_ended_marks_its_row(phase: str, count: int) -> None:
    assert PODS.row_conditions is not None
    assert len(PODS.row_conditions(pod({"phase": phase}))) == count
