"""What to do next for a pod: pure, from the spec and what the runtime has.

`plan` yields only what can be done now. Its executor does that, looks again and plans again, until
the plan is empty; so a plan never has to foresee how its own steps end. The rules are those of
kuberuntime's computePodActions.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from minikube_py.agent.cri.runtime import Container
from minikube_py.agent.kubelet.observed import HASH, Observed, restart_count
from minikube_py.agent.kubelet.pod import (
    RESTART_ALL,
    Spec,
    container_hash,
    is_host_network,
    may_restart,
    restart_action,
    restarts,
    specs_of,
)
from minikube_py.api.object import Obj, is_deleting

ProbeResults = Mapping[tuple[str, str], bool]
"""(container id, liveness | readiness | startup) -> success; absent while nothing is known."""


@dataclass(frozen=True)
class StopPod:
    """Stop all containers of the pod, then its sandboxes."""


@dataclass(frozen=True)
class StopAll:
    """Stop all containers of the pod without their hooks; its sandbox stays."""


@dataclass(frozen=True)
class BeginAnew:
    """Forget the dead containers of the pod, last the one whose end asks for it."""

    name: str


@dataclass(frozen=True)
class RunSandbox:
    """Make the sandbox that the containers of the pod share."""

    attempt: int
    replaces: bool = False
    """There was one before."""


@dataclass(frozen=True)
class StopContainer:
    """Stop one container; the message is that of its event."""

    container_id: str
    name: str
    message: str
    reason: str = ""
    """LivenessProbe or StartupProbe, which may have grace periods of their own; Unknown; ""."""
    again: bool = False
    """It is started anew, whatever the restart policy says of its end."""


@dataclass(frozen=True)
class StartContainer:
    """Pull the image, create and start a container."""

    name: str
    restart_count: int = 0


@dataclass(frozen=True)
class RemoveContainer:
    """Forget a dead container."""

    container_id: str


@dataclass(frozen=True)
class Anew:
    """Containers that are to be started anew though they run well."""

    outdated: Mapping[str, str] = field(default_factory=dict)
    """Id -> why."""
    stopped: frozenset[str] = frozenset()
    """Names of those that were stopped for it."""


Action = (
    StopPod | StopAll | BeginAnew | RunSandbox | StopContainer | StartContainer | RemoveContainer
)


def sandbox_changed(pod: Obj, observed: Observed) -> tuple[bool, int]:
    """Return whether a new sandbox is needed, and the number of the attempt."""
    latest = observed.sandbox
    if latest is None:
        return True, 0
    ready = sum(sandbox.ready for sandbox in observed.sandboxes)
    changed = (
        ready > 1
        or not latest.ready
        or latest.host_network != is_host_network(pod)
        or (not latest.host_network and not latest.ips)
    )
    return changed, latest.attempt + 1 if changed else latest.attempt


def plan(
    pod: Obj, observed: Observed, probes: ProbeResults, anew: Anew = Anew()
) -> Iterator[Action]:
    """Yield what is to be done now; nothing where the pod is as it should be.

    A pod that is being deleted is not planned for: its worker stops it as a whole.
    """
    changed, attempt = sandbox_changed(pod, observed)
    if changed:
        yield from _new_sandbox(pod, observed, attempt)
        return
    if (cause := restart_cause(pod, observed)) is not None:
        yield StopAll() if observed.running else BeginAnew(cause.name)
        return
    for spec in specs_of(pod, "ephemeralContainers"):
        if observed.latest(spec.name) is None:  # they are never started again
            yield StartContainer(spec.name)
    init = _Init(pod, observed, probes, anew)
    initialized = init.plan()
    if init.failed:
        yield from _stop_pod(observed)
        return
    if not initialized:
        yield from init.actions
        return
    regular = _Regular(pod, observed, probes, anew)
    regular.plan()
    if regular.kept or regular.starts:
        yield from init.actions
        yield from regular.actions
    else:
        # All is done; sidecars do not keep a pod alive.
        yield from _stop_pod(observed)


def restart_cause(pod: Obj, observed: Observed) -> Spec | None:
    """Return the container whose end has the whole pod begin anew, None where none has.

    It is the last to be forgotten, so that what a crash of kpy interrupts is gone on with.
    """
    for spec in [*specs_of(pod, "initContainers"), *specs_of(pod, "containers")]:
        latest = observed.latest(spec.name)
        if latest is None or latest.state != "exited":
            continue
        if restart_action(spec.container, latest.exit_code) == RESTART_ALL:
            return spec
    return None


def _stop_pod(observed: Observed) -> Iterator[Action]:
    if observed.running or any(sandbox.ready for sandbox in observed.sandboxes):
        yield StopPod()


def _new_sandbox(pod: Obj, observed: Observed, attempt: int) -> Iterator[Action]:
    yield from _stop_pod(observed)
    if _is_done(pod, observed, attempt):
        return
    for spec in specs_of(pod, "initContainers"):
        # A new sandbox begins with the first init container again.
        for container in observed.by_name.get(spec.name, ()):
            yield RemoveContainer(container.id)
    yield RunSandbox(attempt, replaces=attempt > 0)


def _is_done(pod: Obj, observed: Observed, attempt: int) -> bool:
    """Tell whether a pod without sandbox has nothing left to run."""
    if not may_restart(pod) and attempt and observed.containers:
        return True
    return all(_ended_for_good(pod, observed, spec) for spec in specs_of(pod, "containers"))


def _ended_for_good(pod: Obj, observed: Observed, spec: Spec) -> bool:
    latest = observed.latest(spec.name)
    if latest is None or latest.state != "exited":
        return False
    return not restarts(spec.container, pod, latest.exit_code)


def _start(spec: Spec, observed: Observed) -> StartContainer:
    latest = observed.latest(spec.name)
    return StartContainer(spec.name, 0 if latest is None else restart_count(latest) + 1)


class _Init:
    """The init containers, one after the other; sidecars stay when it is their successor's turn.

    They are looked at from the last to the first: the newest one with a status tells how far the
    pod got, even where the status of its predecessors is lost.
    """

    def __init__(self, pod: Obj, observed: Observed, probes: ProbeResults, anew: Anew) -> None:
        self._pod = pod
        self._observed = observed
        self._probes = probes
        self._anew = anew
        self._specs = specs_of(pod, "initContainers")
        self._done = False
        self.actions: list[Action] = []
        self.failed = False
        """An init container failed for good, and the pod with it."""

    def plan(self) -> bool:
        """Fill `actions`; return whether the regular containers may run."""
        regular = specs_of(self._pod, "containers")
        self._done = not self._specs or any(self._observed.latest(spec.name) for spec in regular)
        reached = self._done
        steps: list[list[Action]] = []
        for index in reversed(range(len(self._specs))):
            steps.append(list(self._step(index, reached=reached)))
            if self.failed:
                return False
            reached = reached or self._observed.latest(self._specs[index].name) is not None
        if not reached:
            steps.append([_start(self._specs[0], self._observed)])
        self.actions = [action for step in reversed(steps) for action in step]
        return self._done

    def _step(self, index: int, *, reached: bool) -> Iterator[Action]:
        spec = self._specs[index]
        latest = self._observed.latest(spec.name)
        if latest is None:
            if reached and spec.is_sidecar:
                yield _start(spec, self._observed)
        elif spec.is_sidecar:
            yield from self._sidecar(spec, latest, index)
        elif not reached:
            yield from self._once(spec, latest, index)

    def _sidecar(self, spec: Spec, latest: Container, index: int) -> Iterator[Action]:
        if latest.state == "unknown":
            yield _unknown(spec, latest, "Init container")
        if latest.state != "running":
            yield _start(spec, self._observed)
            return
        why = self._anew.outdated.get(latest.id, "")
        if stop := _must_stop(spec, latest, self._probes, "Init container", why=why, again=True):
            yield stop
            yield _start(spec, self._observed)
        elif self._started(spec, latest):
            yield from self._next(index)

    def _started(self, spec: Spec, latest: Container) -> bool:
        return not spec.container.get("startupProbe") or bool(
            self._probes.get((latest.id, "startup"))
        )

    def _once(self, spec: Spec, latest: Container, index: int) -> Iterator[Action]:
        if latest.state == "exited" and latest.exit_code == 0:
            yield from self._next(index)
        elif latest.state == "exited":
            if restarts(spec.container, self._pod, latest.exit_code):
                yield _start(spec, self._observed)
            else:
                self.failed = True
        elif latest.state == "unknown":
            self.failed = not may_restart(self._pod)
            yield _unknown(spec, latest, "Init container")
            yield _start(spec, self._observed)
        elif latest.state == "created":  # its start was cut short, by a restart of kpy perhaps
            yield _start(spec, self._observed)

    def _next(self, index: int) -> Iterator[Action]:
        """Go on after one that is through: start its successor, or call the pod initialized."""
        if self._done:
            return
        if index + 1 == len(self._specs):
            self._done = True
        elif self._observed.latest(self._specs[index + 1].name) is None:
            yield _start(self._specs[index + 1], self._observed)


class _Regular:
    """The containers that make up the pod; each stands for itself."""

    def __init__(self, pod: Obj, observed: Observed, probes: ProbeResults, anew: Anew) -> None:
        self._pod = pod
        self._observed = observed
        self._probes = probes
        self._anew = anew
        self.actions: list[Action] = []
        self.kept = 0
        self.starts = 0

    def plan(self) -> None:
        """Fill `actions`; stops come before starts."""
        starts: list[Action] = []
        for spec in specs_of(self._pod, "containers"):
            latest = self._observed.latest(spec.name)
            if latest is not None and latest.state == "running":
                stop = self._must_stop(spec, latest)
                if stop is None:
                    self.kept += 1
                    continue
                self.actions.append(stop)
                if not stop.again:
                    continue
            elif spec.name not in self._anew.stopped and not should_run(spec, self._pod, latest):
                continue
            elif latest is not None and latest.state == "unknown":
                self.actions.append(_unknown(spec, latest, "Container"))
            starts.append(_start(spec, self._observed))
        self.starts = len(starts)
        self.actions += starts

    def _must_stop(self, spec: Spec, latest: Container) -> StopContainer | None:
        again = restarts(spec.container, self._pod, 1)
        why = self._anew.outdated.get(latest.id, "")
        return _must_stop(spec, latest, self._probes, "Container", why=why, again=again)


def should_run(spec: Spec, pod: Obj, latest: Container | None) -> bool:
    """Tell whether a container that does not run is to be started."""
    if is_deleting(pod):
        return False
    if latest is None or latest.state in ("unknown", "created"):
        return True
    return latest.state != "running" and restarts(spec.container, pod, latest.exit_code)


def _unknown(spec: Spec, latest: Container, what: str) -> StopContainer:
    message = f'{what} is in "unknown" state, try killing it before restart'
    return StopContainer(latest.id, spec.name, message, "Unknown")


def _must_stop(
    spec: Spec, latest: Container, probes: ProbeResults, what: str, *, why: str, again: bool
) -> StopContainer | None:
    """Return the stop of a running container that is outdated or failed a probe, or None."""
    if why:
        return StopContainer(latest.id, spec.name, why, again=True)
    reason = ""
    known = latest.annotations.get(HASH)
    if known is not None and known != container_hash(spec.container):
        message, again = f"{what} {spec.name} definition changed", True
    elif probes.get((latest.id, "liveness")) is False:
        message, reason = f"{what} {spec.name} failed liveness probe", "LivenessProbe"
    elif probes.get((latest.id, "startup")) is False:
        message, reason = f"{what} {spec.name} failed startup probe", "StartupProbe"
    else:
        return None
    if again:
        message += ", will be restarted"
    return StopContainer(latest.id, spec.name, message, reason, again)
