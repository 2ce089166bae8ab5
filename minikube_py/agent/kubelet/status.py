"""The status of a pod: pure, from its spec, what the runtime has and what was said before.

Phase, conditions and their reasons follow the kubelet's getPhase and status/generate.go, because
clients wait for them by name. A phase that is final never changes again.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from minikube_py.agent.kubelet.container_status import (
    STATUS_FIELDS,
    Facts,
    all_statuses,
    container_statuses,
    is_restarting,
)
from minikube_py.agent.kubelet.pod import (
    TERMINAL,
    has_restart_all,
    is_host_network,
    restarts,
    specs_of,
)
from minikube_py.agent.kubelet.qos import qos_class
from minikube_py.agent.kubelet.sync_pod import restart_cause, sandbox_changed
from minikube_py.api.object import Obj, get, has_condition

ALL_RESTARTING = "AllContainersRestarting"
OWNED = frozenset(
    {
        ALL_RESTARTING,
        "PodResizePending",
        "PodResizeInProgress",
        "PodReadyToStartContainers",
        "Initialized",
        "Ready",
        "ContainersReady",
        "PodScheduled",
    }
)
"""Conditions that are the kubelet's; all others on a pod are kept as they are."""
BOOKKEEPING = frozenset({"resourceVersion", "managedFields"})


def derive(pod: Obj, facts: Facts, old: Obj, now: str) -> dict[str, Any]:
    """Return the status of a pod; `old` is the one before it, `now` a Time."""
    status: dict[str, Any] = {
        "observedGeneration": pod["metadata"].get("generation"),
        "phase": "",
        "conditions": [],
        "startTime": old.get("startTime") or now,
        "qosClass": qos_class(pod),
    }
    for kind, name in STATUS_FIELDS.items():
        statuses = container_statuses(pod, kind, facts, old)
        if statuses:
            status[name] = statuses
    status |= _phase(pod, status, facts, old)
    status |= _addresses(pod, facts, old)
    if whole := get(pod, "spec.resources"):
        status["resources"] = whole
        status["allocatedResources"] = whole.get("requests")
    if old.get("resourceClaimStatuses"):
        status["resourceClaimStatuses"] = old["resourceClaimStatuses"]
    status["conditions"] = conditions(pod, status, facts, old, now)
    return {key: value for key, value in status.items() if value is not None}


def _phase(pod: Obj, status: Obj, facts: Facts, old: Obj) -> dict[str, Any]:
    """Return phase, reason and message."""
    before = old.get("phase")
    if before in TERMINAL:
        found = before
    elif facts.failure is not None:
        failure = facts.failure
        return {"phase": "Failed", "reason": failure.reason, "message": failure.message}
    else:
        found = phase(pod, status, facts)
        if found == "Pending" and before == "Running" and has_restart_all(pod):
            found = before  # one that begins anew is never taken for a new one
    if found != before:
        return {"phase": found}
    # What was said of a phase holds for as long as the phase does.
    return {"phase": found} | {key: old[key] for key in ("reason", "message") if old.get(key)}


def _addresses(pod: Obj, facts: Facts, old: Obj) -> dict[str, Any]:
    host = list(facts.host_ips)
    ips = list(facts.observed.ips)
    if is_host_network(pod):
        ips = host
    if not ips:  # a stopped sandbox has given its address back; the pod is still known by it
        ips = [entry["ip"] for entry in old.get("podIPs") or ()]
    found: dict[str, Any] = {}
    if host:
        found |= {"hostIP": host[0], "hostIPs": [{"ip": ip} for ip in host]}
    if ips:
        found |= {"podIP": ips[0], "podIPs": [{"ip": ip} for ip in ips]}
    return found


def phase(pod: Obj, status: Obj, facts: Facts) -> str:
    """Return the phase that the container statuses amount to."""
    tally = _Tally(pod, list(all_statuses(status)))
    if tally.failed_for_good:
        return "Failed"
    # Sidecars that start over do not take a pod back to Pending once regular containers ran.
    sidecars_pending = tally.pending_sidecars and not _has_started(pod, facts)
    if tally.pending_init or sidecars_pending or tally.waiting:
        return "Failed" if facts.terminal else "Pending"
    if tally.unknown or not (tally.running or tally.stopped):
        return "Pending"
    if tally.running:
        return "Running"
    if tally.stopped != tally.stopped_for_good and not facts.terminal:
        return "Running"
    return "Succeeded" if tally.stopped == tally.succeeded else "Failed"


def _has_started(pod: Obj, facts: Facts) -> bool:
    latest = (facts.observed.latest(spec.name) for spec in specs_of(pod, "containers"))
    return any(container.state in ("running", "exited") for container in latest if container)


class _Tally:
    """How many containers are in which state."""

    def __init__(self, pod: Obj, statuses: Sequence[Obj]) -> None:
        self._pod = pod
        self._by_name = {status["name"]: status for status in statuses}
        self.pending_init = self.pending_sidecars = 0
        self.waiting = self.running = self.unknown = 0
        self.stopped = self.stopped_for_good = self.succeeded = 0
        self.failed_for_good = 0
        for spec in specs_of(pod, "initContainers"):
            count = self._count_sidecar if spec.is_sidecar else self._count_init
            count(spec.container, self._by_name.get(spec.name))
        for spec in specs_of(pod, "containers"):
            self._count_regular(spec.container, self._by_name.get(spec.name))

    def _count_init(self, container: Obj, status: Obj | None) -> None:
        ended = _last_end(status)
        if ended is None or is_restarting(status):
            self.pending_init += 1
        elif ended.get("exitCode"):
            self.failed_for_good += not restarts(container, self._pod, ended["exitCode"])

    def _count_sidecar(self, _container: Obj, status: Obj | None) -> None:
        state = get(status, "state", {})
        if "running" in state:
            self.running += 1
            self.pending_sidecars += not get(status, "started")
        elif status is None:
            self.unknown += 1
        elif "waiting" in state and not get(status, "lastState.terminated"):
            self.pending_sidecars += 1
            self.waiting += 1

    def _count_regular(self, container: Obj, status: Obj | None) -> None:
        if status is None:
            self.unknown += 1
            return
        ended = _last_end(status)
        if "running" in status["state"]:
            self.running += 1
        elif ended is None:
            self.waiting += 1
        elif is_restarting(status):
            self.stopped += 1
        else:
            code = ended.get("exitCode", 0)
            self.stopped += 1
            self.stopped_for_good += not restarts(container, self._pod, code)
            self.succeeded += code == 0 and "terminated" in status["state"]


def _last_end(status: Obj | None) -> Obj | None:
    """Return how a container that does not run ended, or None where it never did."""
    state = get(status, "state", {})
    if "terminated" in state:
        return state["terminated"]  # type: ignore[no-any-return]
    return get(status, "lastState.terminated") if "waiting" in state else None


# --- conditions ---------------------------------------------------------------------------------


DISRUPTION, BY_KUBELET = "DisruptionTarget", "TerminationByKubelet"


def is_own(condition: Obj) -> bool:
    """Tell whether a condition is the kubelet's to write; one it shares with others."""
    kind = condition["type"]
    return kind in OWNED or (kind == DISRUPTION and condition.get("reason") == BY_KUBELET)


def conditions(pod: Obj, status: Obj, facts: Facts, old: Obj, now: str) -> list[dict[str, Any]]:
    """Return all conditions: foreign ones as they are, then the kubelet's own."""
    known = get(pod, "status.conditions") or ()
    foreign = [dict(condition) for condition in known if condition.get("type") not in OWNED]
    ready = _containers_ready(pod, status)
    own: list[Mapping[str, Any]] = [
        *facts.resizes,
        _condition("PodReadyToStartContainers", not sandbox_changed(pod, facts.observed)[0]),
        _initialized(pod, status, old),
        _pod_ready(pod, ready, foreign),
        ready,
        _condition("PodScheduled", value=True),
        *_restarting(pod, status, facts),
    ]
    if facts.failure is not None and facts.failure.disruption:
        own.append(
            _condition(DISRUPTION, value=True, reason=BY_KUBELET, message=facts.failure.message)
        )
        foreign = [one for one in foreign if one.get("type") != DISRUPTION]
    before = {c["type"]: c for c in old.get("conditions") or ()}
    generation = pod["metadata"].get("generation")
    return foreign + [_stamped(c, before.get(c["type"]), generation, now) for c in own]


def _condition(kind: str, value: bool, reason: str = "", message: str = "") -> dict[str, Any]:  # noqa: FBT001
    condition = {"type": kind, "status": "True" if value else "False"}
    if reason:
        condition["reason"] = reason
    if message:
        condition["message"] = message
    return condition


def _stamped(condition: Obj, before: Obj | None, generation: Any, now: str) -> dict[str, Any]:
    same = before is not None and before.get("status") == condition["status"]
    stamped = dict(condition)
    stamped["lastTransitionTime"] = before["lastTransitionTime"] if before and same else now
    if generation is not None:
        stamped["observedGeneration"] = generation
    return stamped


def _list(names: Iterable[str]) -> str:
    return f"[{' '.join(names)}]"


def _trouble(unknown: Sequence[str], bad: Sequence[str], word: str) -> str:
    told = []
    if unknown:
        told.append(f"containers with unknown status: {_list(unknown)}")
    if bad:
        told.append(f"containers with {word} status: {_list(bad)}")
    return ", ".join(told)


def _sort(
    pod: Obj, status: Obj, counts: Callable[[Any], bool], is_good: Callable[[Any, Obj], bool]
) -> tuple[list[str], list[str]]:
    """Return the names of the containers without status, and of those that are not good."""
    by_name = {entry["name"]: entry for entry in all_statuses(status)}
    specs = [*specs_of(pod, "initContainers"), *specs_of(pod, "containers")]
    chosen = [spec for spec in specs if counts(spec)]
    unknown = [spec.name for spec in chosen if spec.name not in by_name]
    bad = [
        spec.name
        for spec in chosen
        if spec.name in by_name and not is_good(spec, by_name[spec.name])
    ]
    return unknown, bad


def _containers_ready(pod: Obj, status: Obj) -> dict[str, Any]:
    unknown, unready = _sort(
        pod, status, lambda spec: not spec.is_init, lambda _, entry: bool(entry.get("ready"))
    )
    if status["phase"] == "Succeeded" and not unknown:
        return _condition("ContainersReady", value=False, reason="PodCompleted")
    if status["phase"] == "Failed":
        return _condition("ContainersReady", value=False, reason="PodFailed")
    message = _trouble(unknown, unready, "unready")
    reason = "ContainersNotReady" if message else ""
    return _condition("ContainersReady", not message, reason, message)


def _pod_ready(pod: Obj, containers_ready: Obj, foreign: Sequence[Obj]) -> dict[str, Any]:
    if containers_ready["status"] != "True":
        return {**containers_ready, "type": "Ready"}
    known = {condition["type"]: condition for condition in foreign}
    told = []
    for gate in get(pod, "spec.readinessGates") or ():
        kind = gate["conditionType"]
        if kind not in known:
            told.append(f'corresponding condition of pod readiness gate "{kind}" does not exist.')
        elif known[kind].get("status") != "True":
            found = known[kind].get("status")
            told.append(f'the status of pod readiness gate "{kind}" is not "True", but {found}')
    reason = "ReadinessGatesNotReady" if told else ""
    return _condition("Ready", not told, reason, ", ".join(told))


def _restarting(pod: Obj, status: Obj, facts: Facts) -> Iterator[dict[str, Any]]:
    """Yield the condition of pods whose containers may have all of them begin anew."""
    if not has_restart_all(pod):
        return
    done = {"Succeeded": "PodCompleted", "Failed": "PodFailed"}.get(status["phase"], "")
    if done or restart_cause(pod, facts.observed) is None:
        yield _condition(ALL_RESTARTING, value=False, reason=done)
    else:
        reason, message = "RestartAllContainersStarted", "container exited with restart policy rule"
        yield _condition(ALL_RESTARTING, value=True, reason=reason, message=message)


def _initialized(pod: Obj, status: Obj, old: Obj) -> dict[str, Any]:
    unknown, incomplete = _sort(
        pod,
        status,
        lambda spec: spec.kind == "initContainers",
        lambda spec, entry: bool(entry.get("started" if spec.is_sidecar else "ready")),
    )
    if status["phase"] == "Succeeded" and not unknown:
        return _condition("Initialized", value=True, reason="PodCompleted")
    if any(_was_started(entry) for entry in status.get("containerStatuses") or ()):
        return _condition("Initialized", value=True)
    if has_restart_all(pod) and has_condition({"status": old}, "Initialized"):
        return _condition("Initialized", value=True)
    message = _trouble(unknown, incomplete, "incomplete")
    reason = "ContainersNotInitialized" if message else ""
    return _condition("Initialized", not message, reason, message)


def _was_started(entry: Obj) -> bool:
    state = entry.get("state") or {}
    return bool(
        entry.get("started")
        or "running" in state
        or "terminated" in state
        or get(entry, "lastState.terminated")
    )


def foreign_part(pod: Obj) -> tuple[Any, ...]:
    """Return all of a pod that the kubelet has not written itself."""
    metadata = {k: v for k, v in pod["metadata"].items() if k not in BOOKKEEPING}
    found = get(pod, "status.conditions") or ()
    foreign = [condition for condition in found if condition.get("type") not in OWNED]
    return metadata, pod.get("spec"), foreign
