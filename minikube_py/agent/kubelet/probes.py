"""Probes: is a container started, alive, ready? One task for each probe of each container.

A probe's result changes only after so many equal outcomes in a row. Liveness and readiness wait
for the startup probe, and the task of a startup probe ends with its success. A container that
failed liveness or startup is not asked again: the pod worker stops it, and its successor has
probes of its own. Where a probe could not even be run the outcome counts for nothing.
"""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from minikube_py.agent.cri.runtime import Container, Runtime
from minikube_py.agent.kubelet.handlers import (
    HandlerError,
    Outcome,
    port_number,
    run_exec,
    run_grpc,
    run_http,
    run_tcp,
    target_of,
)
from minikube_py.agent.kubelet.observed import Observed
from minikube_py.agent.kubelet.pod import Spec, all_specs, reference
from minikube_py.agent.kubelet.stats.probe_metrics import ProbeCounts
from minikube_py.api.object import Obj
from minikube_py.lib.clock import Clock
from minikube_py.lib.tasks import Nursery

log = logging.getLogger(__name__)
KINDS = {"startup": "startupProbe", "liveness": "livenessProbe", "readiness": "readinessProbe"}
UNASKED = {"liveness": True, "readiness": False}
"""What a container counts as before its first result, by kind of probe."""
TRIES = 3
"""How often a probe that could not be run is tried at once."""
Result = tuple[str, str]
"""(container id, kind)"""


@dataclass(frozen=True)
class Probe:
    """A probe with its defaults."""

    kind: str
    action: Obj
    initial_delay: float
    period: float
    timeout: int
    success_threshold: int
    failure_threshold: int

    @classmethod
    def of(cls, kind: str, probe: Obj) -> "Probe":
        """Read a probe; the defaults are the API's."""
        return cls(
            kind,
            probe,
            float(probe.get("initialDelaySeconds") or 0),
            float(probe.get("periodSeconds") or 10),
            int(probe.get("timeoutSeconds") or 1),
            int(probe.get("successThreshold") or 1),
            int(probe.get("failureThreshold") or 3),
        )


@dataclass
class Count:
    """Equal outcomes in a row, and what they amount to."""

    success_threshold: int
    failure_threshold: int
    result: bool | None = None
    last: bool | None = None
    run: int = 0

    def add(self, ok: bool) -> bool:  # noqa: FBT001
        """Count an outcome; return whether the result changed."""
        self.run = self.run + 1 if ok == self.last else 1
        self.last = ok
        if self.run < (self.success_threshold if ok else self.failure_threshold):
            return False
        changed = self.result != ok
        self.result = ok
        return changed


@dataclass
class _Prober:
    """The tasks of one container."""

    tasks: dict[str, asyncio.Task[None]] = field(default_factory=dict)
    started: asyncio.Event = field(default_factory=asyncio.Event)


Tell = Callable[[Obj, Spec, str], None]
"""(pod, container, message): records that a container is not well."""


class Probes:
    """The probes of all containers of this node."""

    def __init__(
        self,
        runtime: Runtime,
        clock: Clock,
        nursery: Nursery,
        changed: Callable[[str], None],
        tell: Tell,
    ) -> None:
        """Take `changed`, which is called with the uid of a pod when a result of it changed."""
        self._runtime = runtime
        self._clock = clock
        self._nursery = nursery
        self._changed = changed
        self._tell = tell
        self._born = clock.now().timestamp()
        self._probers: dict[str, dict[str, _Prober]] = {}
        self.results: dict[Result, bool] = {}
        self.counts = ProbeCounts()

    def sync(self, uid: str, pod: Obj, observed: Observed, host: str) -> None:
        """Probe exactly the running containers of a pod; `host` is its address."""
        probers = self._probers.setdefault(uid, {})
        running: set[str] = set()
        for spec in all_specs(pod):
            latest = observed.latest(spec.name)
            if latest is None or latest.state != "running" or spec.is_init:
                continue
            if not any(spec.container.get(field) for field in KINDS.values()):
                continue
            running.add(latest.id)
            if latest.id not in probers:
                probers[latest.id] = self._start(uid, pod, spec, latest, host)
        for container_id in set(probers) - running:
            self._end(probers.pop(container_id), container_id)
        if not probers:
            del self._probers[uid]

    def seed(self, container_id: str, *, started: bool, ready: bool) -> None:
        """Believe what the cluster knew of a container before kpy was started again."""
        for kind, known in (("startup", started), ("readiness", ready)):
            if known:
                self.results.setdefault((container_id, kind), True)

    def stop(self, uid: str, *, readiness: bool = False) -> None:
        """Stop asking whether a pod lives, and with `readiness` whether it is ready."""
        for prober in self._probers.get(uid, {}).values():
            for kind, task in prober.tasks.items():
                if readiness or kind != "readiness":
                    task.cancel()

    def forget(self, uid: str) -> None:
        """Stop all probes of a pod and drop what they found."""
        self.counts.forget(uid)
        for container_id, prober in self._probers.pop(uid, {}).items():
            self._end(prober, container_id)

    def _end(self, prober: _Prober, container_id: str) -> None:
        for task in prober.tasks.values():
            task.cancel()
        for kind in KINDS:
            self.results.pop((container_id, kind), None)

    def _start(self, uid: str, pod: Obj, spec: Spec, latest: Container, host: str) -> _Prober:
        prober = _Prober()
        if not spec.container.get("startupProbe") or self.results.get((latest.id, "startup")):
            prober.started.set()
        for kind, name in KINDS.items():
            if not spec.container.get(name) or (kind == "startup" and prober.started.is_set()):
                continue
            # The pod itself would be held as it was when its container started.
            one = _One(self, uid, reference(pod), spec, latest, host, prober)
            probe = Probe.of(kind, spec.container[name])
            title = f"{kind} probe {spec.name} of {uid}"
            prober.tasks[kind] = self._nursery.start(title, one.run(probe))
        return prober

    def record(self, uid: str, container_id: str, kind: str, ok: bool) -> None:  # noqa: FBT001
        """Keep a result; wake the pod where it is another than what the container counted as."""
        log.debug("probe result container=%s kind=%s ok=%s", container_id, kind, ok)
        before = self.results.get((container_id, kind), UNASKED.get(kind))
        self.results[container_id, kind] = ok
        if before is not ok:
            self._changed(uid)

    async def outcome(self, probe: Probe, spec: Spec, container_id: str, host: str) -> Outcome:
        """Run a probe once; raises HandlerError where it cannot be run."""
        for attempt in range(1, TRIES + 1):
            try:
                return await self._act(probe, spec, container_id, host)
            except HandlerError:
                if attempt == TRIES:
                    raise
        raise AssertionError("unreachable")

    def _act(self, probe: Probe, spec: Spec, container_id: str, host: str) -> Awaitable[Outcome]:
        action, container = probe.action, spec.container
        if "exec" in action:
            return run_exec(self._runtime, container_id, action["exec"], probe.timeout)
        if "httpGet" in action:
            return run_http(target_of(action["httpGet"], container, host), probe.timeout)
        if "tcpSocket" in action:
            tcp = action["tcpSocket"]
            port = port_number(container, tcp["port"])
            return run_tcp(tcp.get("host") or host, port, probe.timeout)
        if "grpc" in action:
            service = action["grpc"].get("service") or ""
            return run_grpc(host, int(action["grpc"]["port"]), service, probe.timeout)
        raise HandlerError(f"missing probe handler for container {spec.name}")

    async def wait(self, seconds: float) -> None:
        """Wait, by the clock that was given."""
        await self._clock.sleep(seconds)

    def age(self, latest: Container) -> float:
        """Return for how many seconds a container runs."""
        return max(self._clock.now().timestamp() - latest.started_at / 1e9, 0.0)

    def is_older(self, latest: Container) -> bool:
        """Tell whether a container ran before this kubelet did."""
        return latest.started_at / 1e9 < self._born

    def tell(self, pod: Obj, spec: Spec, message: str) -> None:
        """Record that a container is not well."""
        self._tell(pod, spec, message)


@dataclass
class _One:
    """One probe at work."""

    probes: Probes
    uid: str
    pod: Obj
    """As much of it as an event needs."""
    spec: Spec
    container: Container
    host: str
    prober: _Prober

    async def run(self, probe: Probe) -> None:
        identifier = self.container.id
        if probe.kind != "startup":
            await self.prober.started.wait()
        age = self.probes.age(self.container)
        if age < probe.initial_delay:
            await self.probes.wait(probe.initial_delay - age)
        elif self.probes.is_older(self.container):
            # kpy was started again: do not ask all containers of the node at one moment.
            await self.probes.wait(random.uniform(0, probe.period))  # noqa: S311 -- no secret
        count = Count(probe.success_threshold, probe.failure_threshold)
        count.result = self.probes.results.get((identifier, probe.kind))
        while True:
            ok = await self._ask(probe)
            self.probes.counts.add(self.pod, self.spec.name, probe.kind, ok)
            if ok is not None and count.add(ok):
                self.probes.record(self.uid, identifier, probe.kind, ok)
                if self._is_over(probe.kind, ok):
                    return
            await self.probes.wait(probe.period)

    def _is_over(self, kind: str, ok: bool) -> bool:  # noqa: FBT001
        if kind == "startup" and ok:
            self.prober.started.set()
        return kind == "startup" or (kind == "liveness" and not ok)

    async def _ask(self, probe: Probe) -> bool | None:
        title = probe.kind.capitalize()
        try:
            outcome = await self.probes.outcome(probe, self.spec, self.container.id, self.host)
        except HandlerError as error:
            message = f"{title} probe errored and resulted in unknown state: {error}"
            self.probes.tell(self.pod, self.spec, message)
            return None
        if not outcome.ok:
            self.probes.tell(self.pod, self.spec, f"{title} probe failed: {outcome.output}")
        return outcome.ok
