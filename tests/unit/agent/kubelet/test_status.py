"""What is told of a pod, case by case: phase, conditions, states of containers."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given

from minikube_py.agent.kubelet.container_status import Facts, Failure, Waiting
from minikube_py.agent.kubelet.status import derive
from minikube_py.api.object import condition_of
from tests.unit.agent.kubelet.builders import (
    NOW,
    container,
    created,
    exited,
    pod,
    running,
    sandbox,
    seen,
    sidecar,
    unknown,
)
from tests.unit.agent.kubelet.test_sync_pod import situations

CRASH = Waiting("CrashLoopBackOff", "back-off 10s restarting failed container=c pod=a_default(u)")
ENDED_BEFORE = {
    "name": "c",
    "restartCount": 4,
    "state": {"terminated": {"exitCode": 2, "reason": "Error"}},
    "lastState": {},
}
RAN_BEFORE = {"name": "c", "restartCount": 4, "state": {"running": {}}, "lastState": {}}


def derived(a_pod: Any, *things: Any, old: Any = None, **facts: Any) -> dict[str, Any]:
    all_facts = Facts(observed=seen(*things), host_ips=["192.168.0.1"], **facts)
    return derive(a_pod, all_facts, old if old is not None else a_pod["status"], NOW)


def condition(status: dict[str, Any], kind: str) -> tuple[str, str, str]:
    found = condition_of({"status": status}, kind) or {}
    return found["status"], found.get("reason", ""), found.get("message", "")


PHASES = {
    "a pod begins as pending": (pod(), (), "Pending"),
    "a sandbox is not enough": (pod(), (sandbox(),), "Pending"),
    "it runs when a container does": (pod(), (sandbox(), running()), "Running"),
    "all must have been started": (
        pod([container("a"), container("b")]),
        (sandbox(), running("a")),
        "Pending",
    ),
    "one that ended is enough beside one that runs": (
        pod([container("a"), container("b")]),
        (sandbox(), running("a"), exited("b")),
        "Running",
    ),
    "between two runs a pod runs": (pod(), (sandbox(), exited(code=1)), "Running"),
    "success is final where nothing comes again": (
        pod(restartPolicy="OnFailure"),
        (sandbox(), exited()),
        "Succeeded",
    ),
    "failure is not where it comes again": (
        pod(restartPolicy="OnFailure"),
        (sandbox(), exited(code=1)),
        "Running",
    ),
    "failure is final where it does not": (
        pod(restartPolicy="Never"),
        (sandbox(), exited(code=1)),
        "Failed",
    ),
    "one failure is enough": (
        pod([container("a"), container("b")], restartPolicy="Never"),
        (sandbox(), exited("a"), exited("b", code=1)),
        "Failed",
    ),
    "an init container keeps the pod pending": (
        pod(init=[container("i")]),
        (sandbox(), running("i")),
        "Pending",
    ),
    "a failed init container keeps it pending while it may come again": (
        pod(init=[container("i")]),
        (sandbox(), exited("i", code=1)),
        "Pending",
    ),
    "or makes it fail": (
        pod(init=[container("i")], restartPolicy="Never"),
        (sandbox(), exited("i", code=1)),
        "Failed",
    ),
    "a sidecar that starts keeps it pending": (
        pod(init=[sidecar("s", startupProbe={"exec": {}})]),
        (sandbox(), running("s")),
        "Pending",
    ),
    "a sidecar that starts over does not, once the pod ran": (
        pod(init=[sidecar("s", startupProbe={"exec": {}})]),
        (sandbox(), running("s", 1), running()),
        "Running",
    ),
    "a sidecar's end says nothing": (
        pod(init=[sidecar("s")], restartPolicy="Never"),
        (sandbox(ready=False), exited("s", code=137), exited()),
        "Succeeded",
    ),
}


@pytest.mark.parametrize(("a_pod", "things", "phase"), PHASES.values(), ids=PHASES.keys())
def test_the_phase_follows_from_the_containers(a_pod, things, phase):
    assert derived(a_pod, *things)["phase"] == phase


@pytest.mark.parametrize("final", ["Succeeded", "Failed"])
def test_a_final_phase_never_changes(final):
    assert derived(pod(status={"phase": final}), sandbox(), running())["phase"] == final


def test_a_failure_of_the_kubelet_ends_the_pod():
    failure = Failure("DeadlineExceeded", "too long")
    status = derived(pod(), sandbox(), running(), failure=failure)
    assert (status["phase"], status["reason"], status["message"]) == (
        "Failed",
        "DeadlineExceeded",
        "too long",
    )
    assert condition(status, "Ready") == ("False", "PodFailed", "")


def test_what_was_said_of_a_phase_holds_as_long_as_the_phase():
    old = {"phase": "Failed", "reason": "Evicted", "message": "no memory"}
    assert derived(pod(), old=old)["reason"] == "Evicted"
    assert "reason" not in derived(pod(), sandbox(), running(), old=old | {"phase": "Pending"})


# --- containers -------------------------------------------------------------------------------


def one(status: dict[str, Any], name: str = "c") -> dict[str, Any]:
    lists = ("containerStatuses", "initContainerStatuses", "ephemeralContainerStatuses")
    every = [entry for key in lists for entry in status.get(key, ())]
    return next(entry for entry in every if entry["name"] == name)


def test_a_running_container_is_told_in_full():
    assert one(derived(pod(), sandbox(), running(attempt=3))) == {
        "name": "c",
        "image": "busybox:1",
        "imageID": "sha256:1",
        "containerID": "containerd://c-3",
        "restartCount": 3,
        "state": {"running": {"startedAt": "2026-01-01T00:00:01Z"}},
        "lastState": {},
        "resources": {},
        "ready": True,
        "started": True,
    }


def test_an_ended_container_is_told_in_full():
    ended = replace(exited(code=7), message="last words")
    assert one(derived(pod(restartPolicy="Never"), sandbox(), ended))["state"] == {
        "terminated": {
            "exitCode": 7,
            "reason": "Error",
            "message": "last words",
            "startedAt": "2026-01-01T00:00:01Z",
            "finishedAt": "2026-01-01T00:00:02Z",
            "containerID": "containerd://c-0",
        }
    }


@pytest.mark.parametrize(
    ("a_pod", "reason"),
    [(pod(), "ContainerCreating"), (pod(init=[container("i")]), "PodInitializing")],
)
def test_a_container_that_was_never_seen_waits(a_pod, reason):
    assert one(derived(a_pod))["state"] == {"waiting": {"reason": reason}}


def test_the_one_before_gives_the_last_state():
    status = one(derived(pod(), sandbox(), running(attempt=1), exited(code=3)))
    assert status["lastState"]["terminated"]["exitCode"] == 3
    assert status["restartCount"] == 1


def test_a_container_in_back_off_waits_and_its_end_is_its_last_state():
    status = one(derived(pod(), sandbox(), exited(code=1, attempt=2), waiting={"c": CRASH}))
    assert status["state"] == {"waiting": {"reason": CRASH.reason, "message": CRASH.message}}
    assert status["lastState"]["terminated"]["exitCode"] == 1
    assert status["restartCount"] == 2


def test_a_running_container_does_not_wait_whatever_was_noted_before():
    status = one(derived(pod(), sandbox(), running(), waiting={"c": CRASH}))
    assert "running" in status["state"]


def test_an_image_that_cannot_be_pulled_is_told():
    waiting = {"c": Waiting("ErrImagePull", "not found")}
    status = derived(pod(), sandbox(), waiting=waiting)
    assert one(status)["state"] == {"waiting": {"reason": "ErrImagePull", "message": "not found"}}
    assert status["phase"] == "Pending"


def test_a_created_container_waits():
    assert one(derived(pod(), sandbox(), created()))["state"] == {"waiting": {}}


def test_a_container_that_ran_and_cannot_be_found_counts_as_failed():
    status = one(derived(pod(), sandbox(), old={"containerStatuses": [RAN_BEFORE]}))
    assert status["state"]["waiting"]["reason"] == "ContainerCreating"
    assert status["lastState"]["terminated"]["reason"] == "ContainerStatusUnknown"
    assert status["restartCount"] == 5


def test_an_unknown_container_that_ran_is_told_as_lost():
    status = one(derived(pod(), sandbox(), unknown(), old={"containerStatuses": [RAN_BEFORE]}))
    assert status["state"]["terminated"]["exitCode"] == 137


def test_what_was_told_of_an_end_stays_when_the_container_is_removed():
    old = {"phase": "Failed", "containerStatuses": [ENDED_BEFORE]}
    status = one(derived(pod(restartPolicy="Never"), old=old))
    assert status["state"] == ENDED_BEFORE["state"]
    assert status["restartCount"] == 4


def test_nothing_of_a_terminal_pod_looks_alive():
    status = derived(pod(), sandbox(ready=False), unknown(), terminal=True)
    assert one(status)["state"]["terminated"]["exitCode"] == 137
    assert status["phase"] == "Failed"


def test_a_pod_that_was_deleted_before_it_began_has_failed():
    status = derived(pod(init=[container("i")]), terminal=True)
    assert status["phase"] == "Failed"
    assert "waiting" in one(status)["state"]


def test_a_container_in_back_off_at_the_end_shows_how_it_ended():
    status = derived(pod(), sandbox(), exited(code=3), waiting={"c": CRASH}, terminal=True)
    assert one(status)["state"]["terminated"]["exitCode"] == 3
    assert status["phase"] == "Failed"


def test_an_init_container_that_is_forgotten_counts_as_completed():
    status = one(derived(pod(init=[container("i")]), sandbox(), running()), "i")
    assert status["state"]["terminated"]["reason"] == "Completed"
    assert status["ready"] is True


def test_statuses_have_their_order():
    a_pod = pod([container("z"), container("a")], init=[container("y"), container("b")])
    status = derived(a_pod)
    assert [entry["name"] for entry in status["containerStatuses"]] == ["a", "z"]
    assert [entry["name"] for entry in status["initContainerStatuses"]] == ["y", "b"]


def test_resources_and_mounts_are_told():
    mounts = [{"name": "v", "mountPath": "/v", "readOnly": True}]
    resources = {"requests": {"cpu": "1"}, "limits": {"cpu": "2"}}
    a_pod = pod([container(volumeMounts=mounts, resources=resources)])
    status = one(derived(a_pod, sandbox(), running()))
    assert status["allocatedResources"] == {"cpu": "1"}
    assert status["resources"] == resources
    assert status["volumeMounts"] == [
        {"name": "v", "mountPath": "/v", "readOnly": True, "recursiveReadOnly": "Disabled"}
    ]


# --- probes and readiness -----------------------------------------------------------------------

PROBED = container(readinessProbe={"exec": {}}, startupProbe={"exec": {}})


@pytest.mark.parametrize(
    ("probes", "started", "ready"),
    [
        ({}, False, False),
        ({("c-0", "readiness"): True}, False, False),
        ({("c-0", "startup"): True}, True, False),
        ({("c-0", "startup"): True, ("c-0", "readiness"): False}, True, False),
        ({("c-0", "startup"): True, ("c-0", "readiness"): True}, True, True),
        ({("other", "startup"): True, ("other", "readiness"): True}, False, False),
    ],
)
def test_probes_say_whether_a_container_is_started_and_ready(probes, started, ready):
    status = derived(pod([PROBED]), sandbox(), running(), probes=probes)
    assert (one(status)["started"], one(status)["ready"]) == (started, ready)
    assert condition(status, "Ready")[0] == str(ready)


def test_a_pod_that_runs_is_ready():
    status = derived(pod(), sandbox(), running())
    for kind in (
        "PodReadyToStartContainers",
        "Initialized",
        "Ready",
        "ContainersReady",
        "PodScheduled",
    ):
        assert condition(status, kind) == ("True", "", "")


def test_containers_that_are_not_ready_are_named():
    a_pod = pod([container("a"), container("b")], init=[sidecar("s")])
    status = derived(a_pod, sandbox(), running("s"), exited("a", code=1), running("b"))
    message = "containers with unready status: [a]"
    assert condition(status, "ContainersReady") == ("False", "ContainersNotReady", message)
    assert condition(status, "Ready") == ("False", "ContainersNotReady", message)


def test_init_containers_that_are_not_through_are_named():
    a_pod = pod(init=[container("x"), container("y")])
    assert condition(derived(a_pod, sandbox(), exited("x")), "Initialized") == (
        "False",
        "ContainersNotInitialized",
        "containers with incomplete status: [y]",
    )


@pytest.mark.parametrize(
    ("things", "reason"),
    [((exited(),), "PodCompleted"), ((exited(code=1),), "PodFailed")],
)
def test_a_pod_that_is_done_is_not_ready(things, reason):
    status = derived(pod(restartPolicy="Never"), sandbox(), *things)
    assert condition(status, "Ready") == ("False", reason, "")
    assert condition(status, "ContainersReady") == ("False", reason, "")


GATED = {"readinessGates": [{"conditionType": "example.com/up"}]}


@pytest.mark.parametrize(
    ("conditions", "expected"),
    [
        (
            [],
            (
                "False",
                "ReadinessGatesNotReady",
                'corresponding condition of pod readiness gate "example.com/up" does not exist.',
            ),
        ),
        (
            [{"type": "example.com/up", "status": "False"}],
            (
                "False",
                "ReadinessGatesNotReady",
                'the status of pod readiness gate "example.com/up" is not "True", but False',
            ),
        ),
        ([{"type": "example.com/up", "status": "True"}], ("True", "", "")),
    ],
)
def test_readiness_gates_are_waited_for(conditions, expected):
    a_pod = pod(status={"conditions": conditions}, **GATED)
    status = derived(a_pod, sandbox(), running())
    assert condition(status, "Ready") == expected
    assert condition(status, "ContainersReady") == ("True", "", "")


def test_foreign_conditions_are_kept():
    foreign = {"type": "DisruptionTarget", "status": "True"}
    status = derived(pod(status={"conditions": [foreign]}), sandbox(), running())
    assert foreign in status["conditions"]


def test_a_condition_keeps_its_time_while_its_status_stays():
    before = derived(pod(), sandbox())
    later = "2026-02-02T00:00:00Z"
    facts = Facts(observed=seen(sandbox(), running()))
    after = derive(pod(), facts, before, later)
    times = {c["type"]: c["lastTransitionTime"] for c in after["conditions"]}
    assert times["PodScheduled"] == NOW
    assert times["Ready"] == later
    assert after["startTime"] == NOW


# --- addresses ----------------------------------------------------------------------------------


def test_addresses_come_from_the_sandbox_and_the_node():
    status = derived(pod(), sandbox(), running())
    assert status["podIP"] == "10.0.0.2"
    assert status["podIPs"] == [{"ip": "10.0.0.2"}]
    assert status["hostIP"] == "192.168.0.1"


def test_a_pod_in_the_node_s_network_has_its_address():
    status = derived(pod(hostNetwork=True), sandbox(ip="", host_network=True))
    assert status["podIPs"] == [{"ip": "192.168.0.1"}]


def test_the_address_stays_known_when_the_sandbox_is_gone():
    old = {"phase": "Running", "podIPs": [{"ip": "10.0.0.9"}]}
    assert derived(pod(), sandbox(ready=False), old=old)["podIP"] == "10.0.0.9"


@given(situations())
def test_the_same_facts_give_the_same_status_again(situation):
    a_pod, things, _ = situation
    facts = Facts(observed=things)
    first = derive(a_pod, facts, a_pod["status"], NOW)
    second = derive(a_pod, facts, first, "2027-01-01T00:00:00Z")
    third = derive(a_pod, facts, second, "2028-01-01T00:00:00Z")
    assert third == second
    assert {c["type"]: c["status"] for c in first["conditions"]} == {
        c["type"]: c["status"] for c in second["conditions"]
    }
