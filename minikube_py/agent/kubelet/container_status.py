"""The status of each container of a pod, from what the runtime has and what was said before.

The rules, the reasons and the messages are those of the kubelet's convertToAPIContainerStatuses:
of each name the newest container gives the state and the one before it the last state; a container
that waits for a restart shows why; one that vanished while it ran counts as failed.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from minikube_py.agent.cri.runtime import Container
from minikube_py.agent.kubelet.observed import Observed, restart_count
from minikube_py.agent.kubelet.pod import Spec, specs_of, stop_signal
from minikube_py.agent.kubelet.sync_pod import ProbeResults, restart_cause, should_run
from minikube_py.api import times
from minikube_py.api.object import Obj, get, is_deleting

UNKNOWN_EXIT_CODE = 137
LOST_RUNNING = (
    "The container could not be located when the pod was deleted.  The container used to be Running"
)
LOST_AT_END = "The container could not be located when the pod was terminated"
RESTARTING = "RestartingAllContainers"
"""Why a container waits whose pod begins anew, until it is its turn."""
LOST_INIT = (
    "Unable to get init container status from container runtime and pod has been initialized,"
    " treat it as exited normally"
)


@dataclass(frozen=True)
class Waiting:
    """Why a container is not started now: the reason and message of its waiting state."""

    reason: str
    message: str = ""


@dataclass(frozen=True)
class Failure:
    """Why the kubelet itself ends a pod: the reason and message of its status."""

    reason: str
    message: str
    disruption: bool = False
    """Whether it is ended for others' sake: it says so in a condition of its own."""

    @property
    def told(self) -> str:
        """The message as an event of it has it."""
        return self.message.removeprefix("Pod was rejected: ")


DEADLINE = Failure(
    "DeadlineExceeded", "Pod was active on the node longer than the specified deadline"
)


@dataclass(frozen=True, kw_only=True)
class Facts:
    """All that the status of a pod follows from."""

    observed: Observed = field(default_factory=Observed)
    probes: ProbeResults = field(default_factory=dict)
    waiting: Mapping[str, Waiting] = field(default_factory=dict)
    """By container name."""
    terminal: bool = False
    """Nothing of the pod runs any more or ever will."""
    failure: Failure | None = None
    resources: Mapping[str, Obj] = field(default_factory=dict)
    """What running containers have, by id, where it may not be what the pod was given."""
    resizes: Sequence[Mapping[str, Any]] = ()
    """The conditions of a resize that is pending or in progress."""
    runtime: str = "containerd"
    host_ips: Sequence[str] = ()
    devices: Mapping[str, Sequence[Obj]] = field(default_factory=dict)
    """How well the devices of each container are, by its name."""


def timestamp(nanos: int) -> str | None:
    """Return nanoseconds since the epoch as a Time, None for 0."""
    if not nanos:
        return None
    return times.format_seconds(datetime.fromtimestamp(nanos // 1_000_000_000, UTC))


def container_statuses(pod: Obj, kind: str, facts: Facts, old: Obj) -> list[dict[str, Any]]:
    """Return the statuses of one list of containers, in the order that clients know.

    `kind` is containers, initContainers or ephemeralContainers; `old` the status before this one.
    """
    olds = {status["name"]: status for status in old.get(STATUS_FIELDS[kind]) or ()}
    begins_anew = restart_cause(pod, facts.observed) is not None
    statuses = [
        _One(pod, spec, facts, olds.get(spec.name)).status(begins_anew=begins_anew)
        for spec in specs_of(pod, kind)
    ]
    # Init containers stay in the order in which they run.
    return statuses if kind == "initContainers" else sorted(statuses, key=lambda s: s["name"])


STATUS_FIELDS = {
    "containers": "containerStatuses",
    "initContainers": "initContainerStatuses",
    "ephemeralContainers": "ephemeralContainerStatuses",
}


class _One:
    """One container's status in the making."""

    def __init__(self, pod: Obj, spec: Spec, facts: Facts, old: Obj | None) -> None:
        self._pod = pod
        self._spec = spec
        self._facts = facts
        self._old: Obj = old or {}
        self._found = facts.observed.by_name.get(spec.name, [])

    def status(self, *, begins_anew: bool) -> dict[str, Any]:
        if self._found:
            status = self._seen(self._found[0])
            if len(self._found) > 1:
                status["lastState"] = self._state(self._found[1])
        else:
            status = self._unseen()
        ended = get(status, "state.terminated")
        if begins_anew and ended and self._spec.kind != "ephemeralContainers":
            last = {"terminated": ended}
            status |= {"state": {"waiting": {"reason": RESTARTING}}, "lastState": last}
        status = self._waiting_for_start(status)
        if self._facts.terminal:
            status = self._ended(status)
        status |= self._health(status)
        status["lastState"] = status.get("lastState") or {}
        return {key: value for key, value in status.items() if value is not None}

    def _base(self) -> dict[str, Any]:
        container = self._spec.container
        whole = self._found[0].recursive_read_only if self._found else frozenset()
        mounts = [_mount_status(mount, whole) for mount in container.get("volumeMounts") or ()]
        base: dict[str, Any] = {
            "name": self._spec.name,
            "image": container.get("image", ""),
            "imageID": "",
            "restartCount": 0,
        }
        if mounts:
            base["volumeMounts"] = mounts
        return base

    def _seen(self, container: Container) -> dict[str, Any]:
        given = self._spec.container.get("resources") or {}
        resources = self._facts.resources.get(container.id, given)
        status = self._base() | {
            "image": container.image or self._spec.container.get("image", ""),
            "imageID": container.image_ref,
            "containerID": f"{self._facts.runtime}://{container.id}",
            "restartCount": restart_count(container),
            "state": self._state(container),
            "lastState": self._last_state(container),
            "resources": {k: resources[k] for k in ("limits", "requests") if resources.get(k)},
        }
        if given.get("requests"):
            status["allocatedResources"] = given["requests"]
        if signal := stop_signal(self._pod, self._spec.container):
            status["stopSignal"] = container.stop_signal or signal
        if self._spec.kind == "containers" and (told := self._facts.devices.get(self._spec.name)):
            status["allocatedResourcesStatus"] = list(told)
        return status

    def _last_state(self, container: Container) -> Any:
        """Return what is remembered where the runtime lost the container before this one."""
        if self._old.get("containerID", "").endswith(container.id):
            return self._old.get("lastState")
        if get(self._old, "state.terminated"):
            return self._old["state"]
        return self._old.get("lastState")

    def _state(self, container: Container) -> dict[str, Any]:
        if container.state == "running":
            return {"running": {"startedAt": timestamp(container.started_at)}}
        if container.state == "exited":
            ended = {
                "exitCode": container.exit_code,
                "reason": container.reason or None,
                "message": container.message or None,
                "startedAt": timestamp(container.started_at),
                "finishedAt": timestamp(container.finished_at),
                "containerID": f"{self._facts.runtime}://{container.id}",
            }
            return {"terminated": {k: v for k, v in ended.items() if v is not None}}
        if container.state == "unknown" and get(self._old, "state.running") is not None:
            return {"terminated": _lost(LOST_AT_END)}
        return {"waiting": {}}

    def _unseen(self) -> dict[str, Any]:
        if get(self._old, "state.terminated"):
            return dict(self._old)
        initializing = bool(get(self._pod, "spec.initContainers"))
        reason = "PodInitializing" if initializing else "ContainerCreating"
        if is_restarting(self._old):
            reason = RESTARTING
        status = self._base() | {
            "state": {"waiting": {"reason": reason}},
            "restartCount": self._old.get("restartCount", 0),
            "lastState": self._old.get("lastState"),
        }
        if get(self._old, "state.running") is not None and not get(
            self._old, "lastState.terminated"
        ):
            status["lastState"] = {"terminated": _lost(LOST_RUNNING)}
            status["restartCount"] += 0 if is_deleting(self._pod) else 1
        return status

    def _waiting_for_start(self, status: dict[str, Any]) -> dict[str, Any]:
        latest = self._found[0] if self._found else None
        if self._spec.is_init:
            if latest is not None and latest.state == "exited" and latest.exit_code == 0:
                return status
            if latest is None and self._initialized() and "waiting" in status["state"]:
                ended = {"reason": "Completed", "message": LOST_INIT, "exitCode": 0}
                return status | {"state": {"terminated": ended}}
        waiting = self._facts.waiting.get(self._spec.name)
        if waiting is None or not should_run(self._spec, self._pod, latest):
            return status
        state = {"reason": waiting.reason}
        if waiting.message:
            state["message"] = waiting.message
        last = status["state"] if "terminated" in status["state"] else status.get("lastState")
        return status | {"state": {"waiting": state}, "lastState": last}

    def _initialized(self) -> bool:
        regular = specs_of(self._pod, "containers")
        return any(self._facts.observed.latest(spec.name) for spec in regular)

    def _ended(self, status: dict[str, Any]) -> dict[str, Any]:
        """Nothing of a terminal pod may look alive."""
        if "terminated" in status["state"]:
            return status
        if get(status, "lastState.terminated"):
            # It ended and waited for a restart that will not come.
            return status | {"state": status["lastState"], "lastState": {}}
        in_turn = self._spec.kind == "initContainers" or get(self._pod, "spec.initContainers")
        if in_turn and not self._found and not self._initialized():
            return status  # it never had its turn
        return status | {"state": {"terminated": _lost(LOST_AT_END)}}

    def _health(self, status: Mapping[str, Any]) -> dict[str, Any]:
        started = ready = False
        if "running" in status["state"]:
            identifier = self._found[0].id
            container, probes = self._spec.container, self._facts.probes
            started = not container.get("startupProbe") or bool(probes.get((identifier, "startup")))
            ready = started and (
                not container.get("readinessProbe") or bool(probes.get((identifier, "readiness")))
            )
        if self._spec.is_init:
            ready = get(status, "state.terminated.exitCode") == 0
        elif self._spec.kind == "ephemeralContainers":
            return {"ready": False}
        return {"started": started, "ready": ready}


def is_restarting(status: Obj | None) -> bool:
    """Tell whether a container waits for its turn in a pod that begins anew."""
    return bool(get(status, "state.waiting.reason") == RESTARTING)


def _lost(message: str) -> dict[str, Any]:
    return {
        "reason": "ContainerStatusUnknown",
        "message": message,
        "exitCode": UNKNOWN_EXIT_CODE,
    }


def _mount_status(mount: Obj, whole: frozenset[str]) -> dict[str, Any]:
    """Return the status of a mount; `whole` are those that are read-only with all below them."""
    status = {"name": mount["name"], "mountPath": mount["mountPath"]}
    if mount.get("readOnly"):
        recursive = "Enabled" if mount["mountPath"] in whole else "Disabled"
        status |= {"readOnly": True, "recursiveReadOnly": recursive}
    return status


def all_statuses(status: Obj) -> Iterator[Obj]:
    """Yield the statuses of init and regular containers."""
    yield from status.get("initContainerStatuses") or ()
    yield from status.get("containerStatuses") or ()
