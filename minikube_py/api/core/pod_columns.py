"""What `kubectl get pods` shows: above all one word for all that can be wrong with a pod."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from minikube_py.api.core.pod_resources import is_sidecar
from minikube_py.api.object import Obj, get, has_condition, is_deleting
from minikube_py.api.resource import AGE, NAME, Age, Column

NONE: Final = "<none>"
COLUMNS: Final = (
    NAME,
    Column("Ready"),
    Column("Status"),
    Column("Restarts"),
    AGE,
    Column("IP", priority=1),
    Column("Node", priority=1),
    Column("Nominated Node", priority=1),
    Column("Readiness Gates", priority=1),
)


_ENDED: Final = {
    "Succeeded": "The pod has completed successfully.",
    "Failed": "The pod failed.",
}


def row_conditions(pod: Obj) -> Sequence[Obj]:
    """Return the condition that marks the row of a pod that has ended."""
    phase = get(pod, "status.phase")
    if phase not in _ENDED:
        return ()
    return ({"type": "Completed", "status": "True", "reason": phase, "message": _ENDED[phase]},)


@dataclass(slots=True)
class _Summary:
    """What the statuses of containers add up to."""

    reason: str
    ready: int = 0
    restarts: int = 0
    last_restart: str = ""

    def count_restarts(self, status: Obj) -> None:
        """Add the restarts of a container."""
        self.restarts += status.get("restartCount") or 0
        finished = get(status, "lastState.terminated.finishedAt") or ""
        self.last_restart = max(self.last_restart, finished)


def cells(pod: Obj) -> Sequence[Any]:
    """Return the row of a pod."""
    spec, status = pod.get("spec") or {}, pod.get("status") or {}
    summary = _summarise(pod, spec, status)
    total = len(spec.get("containers") or ())
    total += sum(is_sidecar(container) for container in spec.get("initContainers") or ())
    addresses = status.get("podIPs") or ()
    return (
        pod["metadata"]["name"],
        f"{summary.ready}/{total}",
        summary.reason,
        _restarts(summary),
        Age(pod["metadata"].get("creationTimestamp")),
        (addresses[0].get("ip") if addresses else "") or NONE,
        spec.get("nodeName") or NONE,
        status.get("nominatedNodeName") or NONE,
        _readiness(spec, pod),
    )


def _restarts(summary: _Summary) -> Any:
    if not summary.restarts or not summary.last_restart:
        return str(summary.restarts)
    return Age(summary.last_restart, before=f"{summary.restarts} (", after=" ago)")


def _readiness(spec: Obj, pod: Obj) -> str:
    gates = spec.get("readinessGates")
    if not gates:
        return NONE
    passed = sum(has_condition(pod, gate.get("conditionType") or "") for gate in gates)
    return f"{passed}/{len(gates)}"


def status_of(pod: Obj) -> str:
    """Return the word of the STATUS column."""
    return _summarise(pod, pod.get("spec") or {}, pod.get("status") or {}).reason


def _summarise(pod: Obj, spec: Obj, status: Obj) -> _Summary:
    phase = status.get("phase") or ""
    summary = _Summary(status.get("reason") or phase)
    for condition in status.get("conditions") or ():
        if condition.get("type") == "PodScheduled" and condition.get("reason") == "SchedulingGated":
            summary.reason = "SchedulingGated"
    initializing, sidecars = _read_init_containers(spec, status, summary)
    if not initializing or has_condition(pod, "Initialized"):
        summary.restarts, summary.last_restart = sidecars.restarts, sidecars.last_restart
        _read_containers(pod, status, summary)
    if is_deleting(pod):
        if status.get("reason") == "NodeLost":
            summary.reason = "Unknown"
        elif phase not in {"Succeeded", "Failed"}:
            summary.reason = "Terminating"
    return summary


def _read_init_containers(spec: Obj, status: Obj, summary: _Summary) -> tuple[bool, _Summary]:
    """Return whether the pod still initialises, and the restarts of sidecars alone."""
    declared = spec.get("initContainers") or ()
    sidecars = {container.get("name") for container in declared if is_sidecar(container)}
    of_sidecars = _Summary("")
    for index, container in enumerate(status.get("initContainerStatuses") or ()):
        summary.count_restarts(container)
        sidecar = container.get("name") in sidecars
        if sidecar:
            of_sidecars.count_restarts(container)
        state = container.get("state") or {}
        terminated = state.get("terminated")
        if terminated is not None and not terminated.get("exitCode"):
            continue
        if sidecar and container.get("started"):
            summary.ready += bool(container.get("ready"))
            continue
        summary.reason = _init_reason(state, f"{index}/{len(declared)}")
        return True, of_sidecars
    return False, of_sidecars


def _init_reason(state: Obj, progress: str) -> str:
    if (terminated := state.get("terminated")) is not None:
        return f"Init:{_ended(terminated)}"
    waiting = get(state, "waiting.reason") or ""
    return f"Init:{progress if waiting in {'', 'PodInitializing'} else waiting}"


def _ended(terminated: Obj) -> str:
    if reason := terminated.get("reason"):
        return str(reason)
    if signal := terminated.get("signal"):
        return f"Signal:{signal}"
    return f"ExitCode:{terminated.get('exitCode') or 0}"


def _read_containers(pod: Obj, status: Obj, summary: _Summary) -> None:
    running = False
    for container in reversed(status.get("containerStatuses") or ()):
        summary.count_restarts(container)
        state = container.get("state") or {}
        if reason := get(state, "waiting.reason"):
            summary.reason = reason
        elif (terminated := state.get("terminated")) is not None:
            summary.reason = _ended(terminated)
        elif container.get("ready") and state.get("running") is not None:
            running = True
            summary.ready += 1
    if summary.reason == "Completed" and running:
        summary.reason = "Running" if has_condition(pod, "Ready") else "NotReady"
