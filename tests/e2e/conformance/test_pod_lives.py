"""Restarts, probes, init containers and last words, as the conformance suite looks at them."""

from datetime import UTC, datetime
from typing import Any

import pytest

from minikube_py.api import times
from tests.e2e.conformance.batch import IMAGE
from tests.e2e.conformance.lives import Life, Lives, ended, entry, first, restarts, runs

pytestmark = pytest.mark.e2e
SERVE = "mkdir -p /www; touch /www/healthz; httpd -p 8080 -h /www; "
EVERY = {"periodSeconds": 1, "timeoutSeconds": 30, "failureThreshold": 1}
HTTP = {"httpGet": {"path": "/healthz", "port": 8080}}
CAT = {"exec": {"command": ["cat", "/tmp/health"]}}
LONG = "sleep 600"
WATCHED_SECONDS = 12.0


def one(script: str, *, policy: str = "Always", **container: Any) -> dict[str, Any]:
    """Return the spec of a pod with one container."""
    spec = container.pop("spec", {})
    command = ["sh", "-c", script]
    only = {"name": "c", "image": IMAGE, "command": command, **container}
    return {
        "restartPolicy": policy,
        "terminationGracePeriodSeconds": 0,
        "automountServiceAccountToken": False,
        "containers": [only],
        **spec,
    }


def is_old(status: Any) -> bool:
    """Tell whether the first container has run for as long as probes are watched."""
    started = first(status).get("state", {}).get("running", {}).get("startedAt")
    if not started:
        return False
    return (datetime.now(UTC) - times.parse(started)).total_seconds() > WATCHED_SECONDS


def ready(status: Any) -> bool:
    return bool(first(status).get("ready"))


def stays(script: str, **probe: Any) -> Life:
    """Return a pod that is never restarted, though it is probed."""
    return Life(one(script, livenessProbe={**EVERY, **probe}), is_old, restarts)


def restarted(script: str, times_wanted: int = 1, **probe: Any) -> Life:
    """Return a pod that a failing probe restarts."""
    spec = one(script, livenessProbe={**EVERY, "initialDelaySeconds": 1, **probe})
    counts: list[int] = []

    def grown(status: Any) -> bool:
        counts.append(restarts(status))
        return counts[-1] >= times_wanted

    return Life(spec, grown, lambda _: counts != sorted(counts))


def delayed(status: Any) -> bool:
    """Tell whether the pod has become ready, not before its delay of 5 s was over."""
    conditions = {c["type"]: c for c in status.get("conditions", ())}
    if conditions.get("Ready", {}).get("status") != "True":
        return False
    begun = times.parse(first(status)["state"]["running"]["startedAt"])
    waited = times.parse(conditions["Ready"]["lastTransitionTime"]) - begun
    return waited.total_seconds() >= 5


PROBES = [
    entry(
        'Probing container should *not* be restarted with a exec "cat /tmp/health" liveness probe',
        stays(f"echo ok > /tmp/health; {LONG}", **CAT, failureThreshold=5),
    ),
    entry(
        "Probing container should *not* be restarted with a /healthz http liveness probe",
        stays(SERVE + LONG, **HTTP, failureThreshold=5),
    ),
    entry(
        "Probing container should *not* be restarted with a tcp:8080 liveness probe",
        stays(
            SERVE + "sleep 3; rm /www/healthz; " + LONG,
            tcpSocket={"port": 8080},
            failureThreshold=5,
        ),
    ),
    entry(
        'Probing container should be restarted with a exec "cat /tmp/health" liveness probe',
        restarted(f"echo ok > /tmp/health; sleep 3; rm /tmp/health; {LONG}", **CAT),
    ),
    entry(
        "Probing container should be restarted with a /healthz http liveness probe",
        restarted(SERVE + "sleep 3; rm /www/healthz; " + LONG, **HTTP),
    ),
    entry(
        "Probing container should be restarted with a GRPC liveness probe",
        restarted(LONG, grpc={"port": 2333}),
    ),
    entry(
        "Probing container should have monotonically increasing restart count",
        restarted(SERVE + "sleep 1; rm /www/healthz; " + LONG, 2, **HTTP),
    ),
    entry(
        "Probing container with readiness probe should not be ready before initial delay and never"
        " restart",
        Life(
            one(SERVE + LONG, readinessProbe={**HTTP, **EVERY, "initialDelaySeconds": 5}),
            delayed,
            restarts,
        ),
    ),
    entry(
        "Probing container with readiness probe that fails should never be ready and never restart",
        Life(
            one(LONG, readinessProbe={"exec": {"command": ["false"]}, **EVERY}),
            is_old,
            lambda status: ready(status) or restarts(status),
        ),
    ),
]


def words(text: str) -> Any:
    """Return the condition that a container has ended with these last words."""
    return lambda status: ended(status) and ended(status).get("message", "") == text


FALLBACK = {"terminationMessagePolicy": "FallbackToLogsOnError"}
OWN_PATH = {
    "terminationMessagePath": "/dev/termination-custom-log",
    "securityContext": {"runAsUser": 10000},
}
ENDS = [
    entry(
        "Container Runtime blackbox test on terminated container should report termination message"
        " from log output if TerminationMessagePolicy FallbackToLogsOnError is set",
        Life(one("printf DONE; exit 1", policy="Never", **FALLBACK), words("DONE")),
    ),
    entry(
        "Container Runtime blackbox test on terminated container should report termination message"
        " as empty when pod succeeds and TerminationMessagePolicy FallbackToLogsOnError is set",
        Life(one("printf DONE", policy="Never", **FALLBACK), words("")),
    ),
    entry(
        "Container Runtime blackbox test on terminated container should report termination message"
        " from file when pod succeeds and TerminationMessagePolicy FallbackToLogsOnError is set",
        Life(
            one("printf OK > /dev/termination-log; printf DONE", policy="Never", **FALLBACK),
            words("OK"),
        ),
    ),
    entry(
        "Container Runtime blackbox test on terminated container should report termination message"
        " if TerminationMessagePath is set as non-root user and at a non-default path",
        Life(
            one("printf DONE > /dev/termination-custom-log", policy="Never", **OWN_PATH),
            words("DONE"),
        ),
    ),
    entry(
        "Container Runtime blackbox test when starting a container that exits should run with the"
        " expected status",
        Life(one("exit 1", policy="OnFailure"), lambda status: restarts(status) >= 2),
    ),
    entry(
        "Kubelet when scheduling a busybox command that always fails in a pod should have an"
        " terminated reason",
        Life(
            one("exit 1", policy="Never"),
            lambda status: (
                ended(status).get("reason") == "Error"
                and status["phase"] == "Failed"
                and not restarts(status)
            ),
        ),
    ),
    entry(
        "Pods Extended Pods Set QOS Class should be set on Pods with matching resource requests and"
        " limits for memory and cpu",
        Life(
            one(
                LONG,
                resources={
                    "requests": {"cpu": "100m", "memory": "100Mi"},
                    "limits": {"cpu": "100m", "memory": "100Mi"},
                },
            ),
            lambda status: status["qosClass"] == "Guaranteed",
        ),
    ),
    entry(
        "Pods should get a host IP",
        Life(one(LONG), lambda status: status.get("hostIP") == "192.168.77.1"),
    ),
]


def inits(*scripts: str, policy: str, main: str) -> dict[str, Any]:
    """Return a pod with init containers."""
    steps = [
        {"name": f"init{n}", "image": IMAGE, "command": ["sh", "-c", script]}
        for n, script in enumerate(scripts, 1)
    ]
    return one(main, policy=policy, spec={"initContainers": steps})


def initialized(status: Any) -> bool:
    """Tell whether all init containers have ended well."""
    states = [one["state"].get("terminated") for one in status.get("initContainerStatuses", ())]
    conditions = {c["type"]: c["status"] for c in status.get("conditions", ())}
    return (
        conditions.get("Initialized") == "True"
        and bool(states)
        and all(state and state["exitCode"] == 0 for state in states)
    )


def init_restarts(status: Any) -> list[int]:
    """Return how often each init container was restarted; nothing is known of a new pod."""
    return [int(one["restartCount"]) for one in status.get("initContainerStatuses", ())]


def incomplete(status: Any) -> str:
    """Return what the pod says of init containers that have not ended well; "" where all have."""
    for condition in status.get("conditions", ()):
        if condition["type"] == "Initialized" and condition["status"] == "False":
            assert condition["reason"] == "ContainersNotInitialized"
            return str(condition["message"])
    return ""


def out_of_turn(status: Any) -> bool:
    """Tell whether something does not wait for the first init container that never ends well."""
    inits_done = [
        one["state"].get("terminated", {}).get("exitCode") == 0
        for one in status.get("initContainerStatuses", ())
    ]
    turn = inits_done.index(False) if False in inits_done else len(inits_done)
    after = status.get("initContainerStatuses", ())[turn + 1 :]
    waiting = [*after, *status.get("containerStatuses", ())]
    return any(
        one["state"].get("waiting", {}).get("reason") != "PodInitializing" for one in waiting
    )


INITS = [
    entry(
        "InitContainer should invoke init containers on a RestartNever pod",
        Life(
            inits("true", "true", policy="Never", main="true"),
            lambda status: initialized(status) and status["phase"] == "Succeeded",
        ),
    ),
    entry(
        "InitContainer should invoke init containers on a RestartAlways pod",
        Life(
            inits("true", "true", policy="Always", main=LONG),
            lambda status: initialized(status) and runs(status),
        ),
    ),
    entry(
        "InitContainer should not start app containers if init containers fail on a RestartAlways"
        " pod",
        Life(
            inits("false", "true", policy="Always", main=LONG),
            lambda status: (
                sum(init_restarts(status)) >= 2
                and status["initContainerStatuses"][0]["lastState"]["terminated"]["exitCode"] == 1
                and incomplete(status) == "containers with incomplete status: [init1 init2]"
                and status["phase"] == "Pending"
            ),
            out_of_turn,
        ),
    ),
    entry(
        "InitContainer should not start app containers and fail the pod if init containers fail on"
        " a RestartNever pod",
        Life(
            inits("true", "false", policy="Never", main=LONG),
            lambda status: (
                status["phase"] == "Failed"
                and incomplete(status) == "containers with incomplete status: [init2]"
            ),
            out_of_turn,
        ),
    ),
]
LIVES = [*PROBES, *ENDS, *INITS]


@pytest.mark.parametrize("life", LIVES)
def test_a_pod_lives_as_it_must(lives: Lives, life: Life) -> None:
    lives.check(life)
