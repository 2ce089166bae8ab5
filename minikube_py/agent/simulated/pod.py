"""What becomes of one pod on a simulated node: pure, from its object, its rule and a time.

A pod is in one of five stages, which its status tells; `step` says what follows from the stage and
how long it has lasted. Statuses are those that a kubelet writes, without a runtime behind them.
"""

import enum
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from minikube_py.agent.simulated.rules import NEVER, Behaviour
from minikube_py.api.object import Obj, condition_of, get, is_deleting, uid_of

TERMINAL = ("Succeeded", "Failed")
CRASH_SECONDS, CRASH_SECONDS_MAX = 10.0, 300.0
"""Waits of the kubelet before it starts a container again; doubled from crash to crash."""
CRASHED = "CrashLoopBackOff"
OWNED = ("PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady")
GRACE_SECONDS = 30
SLACK_SECONDS = 0.001
"""What is due within so long is due: a timer may fire that early."""


class Stage(enum.Enum):
    """How far a pod has come."""

    WAITING = "waiting"  # bound; containers are being made
    UP = "up"  # containers run
    CRASHED = "crashed"  # containers ended and will be started again
    ENDED = "ended"  # for ever
    STOPPING = "stopping"  # deleted, and not gone yet


@dataclass(frozen=True)
class Step:
    """What to do with a pod now, and in how many seconds to look again."""

    status: Obj | None = None
    delete: bool = False
    again: float | None = None


@dataclass(frozen=True)
class View:
    """A pod with what decides about it."""

    pod: Obj
    behaviour: Behaviour
    age: float
    """Seconds since the pod's stage began."""
    now: str
    ip: str = ""
    host_ip: str = ""


def stage_of(pod: Obj) -> Stage:
    """Return the stage of a pod."""
    status: Obj = pod.get("status") or {}
    if is_deleting(pod):
        return Stage.STOPPING
    if status.get("phase") in TERMINAL:
        return Stage.ENDED
    states = [entry.get("state") or {} for entry in status.get("containerStatuses") or ()]
    if any("running" in state for state in states):
        return Stage.UP
    if any(get(state, "waiting.reason") == CRASHED for state in states):
        return Stage.CRASHED
    return Stage.WAITING


def began(pod: Obj) -> str:
    """Return since when the containers run, or "" where they do not."""
    entries = get(pod, "status.containerStatuses") or ()
    return next((get(entry, "state.running.startedAt") or "" for entry in entries), "")


def step(view: View) -> Step:
    """Decide what happens to a pod."""
    return _STEPS[stage_of(view.pod)](view)


def _waiting(view: View) -> Step:
    left = view.behaviour.start.of(uid_of(view.pod), "start") - view.age
    return Step(_up(view, 0.0)) if left <= SLACK_SECONDS else _later(left)


def _running(view: View) -> Step:
    uid = uid_of(view.pod)
    run = view.behaviour.run.of(uid, "run")
    if view.age >= run - SLACK_SECONDS:
        again = _starts_again(view.pod, view.behaviour.exitCode)
        return Step(_crashed(view) if again else _ended(view, view.behaviour.exitCode))
    ready = view.behaviour.ready.of(uid, "ready")
    status = _up(view, view.age)
    changed = get(condition_of({"status": status}, "Ready"), "status") != get(
        condition_of(view.pod, "Ready"), "status"
    )
    left = ready - view.age if view.age < ready - SLACK_SECONDS else NEVER
    return Step(status if changed else None, again=_later(min(left, run - view.age)).again)


def _crash(view: View) -> Step:
    count = _restarts(view.pod)
    wait = min(CRASH_SECONDS * 2 ** min(count, 10), CRASH_SECONDS_MAX)
    left = wait - view.age
    return Step(_up(view, 0.0)) if left <= SLACK_SECONDS else _later(left)


def _stopping(view: View) -> Step:
    grace = get(view.pod, "metadata.deletionGracePeriodSeconds", GRACE_SECONDS)
    ended = get(view.pod, "status.phase") in TERMINAL
    if ended and grace == 0:
        return Step()  # it waits for nothing but finalizers
    left = min(view.behaviour.stop.of(uid_of(view.pod), "stop"), grace) - view.age
    if left > SLACK_SECONDS:
        return _later(left)
    return Step(None if ended else _ended(view, 137), delete=True)


_STEPS = {
    Stage.WAITING: _waiting,
    Stage.UP: _running,
    Stage.CRASHED: _crash,
    Stage.ENDED: lambda _: Step(),
    Stage.STOPPING: _stopping,
}


def _later(seconds: float) -> Step:
    return Step(again=seconds if seconds < NEVER else None)


def _starts_again(pod: Obj, code: int) -> bool:
    policy = get(pod, "spec.restartPolicy", "Always")
    return policy == "Always" or (policy == "OnFailure" and code != 0)


def _restarts(pod: Obj) -> int:
    entries = get(pod, "status.containerStatuses") or ()
    return max((entry.get("restartCount", 0) for entry in entries), default=0)


# --- statuses -----------------------------------------------------------------------------------


def _up(view: View, age: float) -> dict[str, Any]:
    crashed = stage_of(view.pod) is Stage.CRASHED
    started = began(view.pod) or view.now
    ready = age >= view.behaviour.ready.of(uid_of(view.pod), "ready") - SLACK_SECONDS
    count = _restarts(view.pod) + crashed
    state = {"running": {"startedAt": started}}
    return _status(view, "Running", state, ready=ready, restarts=count)


def _crashed(view: View) -> dict[str, Any]:
    state = {"waiting": {"reason": CRASHED, "message": "back-off restarting failed container"}}
    last = _terminated(view, view.behaviour.exitCode)
    count = _restarts(view.pod)
    return _status(view, "Running", state, ready=False, restarts=count, last=last)


def _ended(view: View, code: int) -> dict[str, Any]:
    phase = "Failed" if code else "Succeeded"
    count = _restarts(view.pod)
    return _status(view, phase, _terminated(view, code), ready=False, restarts=count)


def _terminated(view: View, code: int) -> dict[str, Any]:
    reason = "Error" if code else "Completed"
    times = {"startedAt": began(view.pod) or view.now, "finishedAt": view.now}
    return {"terminated": {"exitCode": code, "reason": reason, **times}}


def _status(
    view: View, phase: str, state: Obj, *, ready: bool, restarts: int, last: Obj | None = None
) -> dict[str, Any]:
    """Return the whole status of a pod whose containers are all alike."""
    old: Obj = view.pod.get("status") or {}
    more = {"ready": ready, "started": "running" in state, "restartCount": restarts}
    containers = [
        {**_named(c), **more, "state": state, "lastState": last or _last(old, c["name"])}
        for c in view.pod["spec"]["containers"]
    ]
    status: dict[str, Any] = {
        **old,
        "phase": phase,
        "startTime": old.get("startTime") or view.now,
        "containerStatuses": containers,
        "conditions": list(_conditions(view, phase, ready=ready)),
    }
    if init := list(_init(view, running="running" in state)):
        status["initContainerStatuses"] = init
    return status | _addresses(view, old)


def _last(old: Obj, name: str) -> Obj:
    entries = old.get("containerStatuses") or ()
    return next((e.get("lastState") or {} for e in entries if e["name"] == name), {})


def _named(container: Obj) -> dict[str, Any]:
    image = container.get("image", "")
    return {"name": container["name"], "image": image, "imageID": image}


def _init(view: View, *, running: bool) -> Iterator[dict[str, Any]]:
    done = {"exitCode": 0, "reason": "Completed", "startedAt": view.now, "finishedAt": view.now}
    known = {entry["name"]: entry for entry in get(view.pod, "status.initContainerStatuses") or ()}
    for container in get(view.pod, "spec.initContainers") or ():
        sidecar = container.get("restartPolicy") == "Always"
        if container["name"] in known and (running or not sidecar):
            yield known[container["name"]]
            continue
        runs = sidecar and running
        state = {"running": {"startedAt": view.now}} if runs else {"terminated": done}
        more = {"ready": runs or not sidecar, "started": runs, "restartCount": 0}
        yield {**_named(container), **more, "state": state, "lastState": {}}


def _addresses(view: View, old: Obj) -> dict[str, Any]:
    host = old.get("hostIP") or view.host_ip
    on_host = get(view.pod, "spec.hostNetwork", default=False)
    ip = old.get("podIP") or (host if on_host else view.ip)
    found: dict[str, Any] = {"podIP": ip, "podIPs": [{"ip": ip}]} if ip else {}
    if host:
        found |= {"hostIP": host, "hostIPs": [{"ip": host}]}
    return found


def _conditions(view: View, phase: str, *, ready: bool) -> Iterator[dict[str, Any]]:
    before = {c["type"]: c for c in get(view.pod, "status.conditions") or ()}
    yield from (c for kind, c in before.items() if kind not in OWNED)
    ended = {"Succeeded": "PodCompleted", "Failed": "PodFailed"}.get(phase, "")
    gates = get(view.pod, "spec.readinessGates") or ()
    open_ = all(get(before.get(g["conditionType"]), "status") == "True" for g in gates)
    reason = ended or "ContainersNotReady"
    values = {
        "PodReadyToStartContainers": (not ended, ""),
        "Initialized": (True, ""),
        "ContainersReady": (ready, reason),
        "Ready": (ready and open_, reason if not ready else "ReadinessGatesNotReady"),
    }
    for kind, (value, why) in values.items():
        text = "True" if value else "False"
        last: Obj = before.get(kind) or {}
        since = last.get("lastTransitionTime") if last.get("status") == text else None
        found = {"type": kind, "status": text, "lastTransitionTime": since or view.now}
        yield found if value or not why else {**found, "reason": why}
