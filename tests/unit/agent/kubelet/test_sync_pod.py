"""What is planned for a pod, case by case, and that every plan comes to an end."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minikube_py.agent.cri.runtime import Container, Sandbox
from minikube_py.agent.kubelet.observed import HASH, Observed
from minikube_py.agent.kubelet.sync_pod import (
    BeginAnew,
    RemoveContainer,
    RunSandbox,
    StartContainer,
    StopAll,
    StopContainer,
    StopPod,
    plan,
)
from tests.unit.agent.kubelet.builders import (
    BEGIN,
    SECOND,
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

TWO_INITS = [container("i1"), container("i2")]
WITH_SIDECAR = [sidecar("side"), container("i2")]


def planned(a_pod: Any, *things: Any, probes: Any = None) -> list[Any]:
    return list(plan(a_pod, seen(*things), probes or {}))


CASES = {
    "a new pod gets a sandbox first": (pod(), (), [RunSandbox(0)]),
    "then its containers": (
        pod([container("a"), container("b")]),
        (sandbox(),),
        [StartContainer("a"), StartContainer("b")],
    ),
    "a pod that runs is left alone": (pod(), (sandbox(), running()), []),
    "a dead sandbox is replaced": (
        pod(),
        (sandbox(ready=False), exited(code=255)),
        [RunSandbox(1, replaces=True)],
    ),
    "what still runs in a dead sandbox is stopped before": (
        pod(),
        (sandbox(ready=False), running()),
        [StopPod(), RunSandbox(1, replaces=True)],
    ),
    "a sandbox without an address is replaced": (
        pod(),
        (sandbox(ip=""),),
        [StopPod(), RunSandbox(1, replaces=True)],
    ),
    "a sandbox in the node's network needs no address": (
        pod(hostNetwork=True),
        (sandbox(ip="", host_network=True),),
        [StartContainer("c")],
    ),
    "of two ready sandboxes neither can be trusted": (
        pod(),
        (sandbox(0), sandbox(1)),
        [StopPod(), RunSandbox(2, replaces=True)],
    ),
    "a new sandbox begins with the first init container again": (
        pod(init=TWO_INITS),
        (sandbox(ready=False), exited("i1"), exited("i2"), exited()),
        [RemoveContainer("i1-0"), RemoveContainer("i2-0"), RunSandbox(1, replaces=True)],
    ),
    "a container that failed is restarted": (
        pod(),
        (sandbox(), exited(code=1, attempt=2)),
        [StartContainer("c", 3)],
    ),
    "always means always": (pod(), (sandbox(), exited(code=0)), [StartContainer("c", 1)]),
    "on failure does not mean on success": (
        pod(restartPolicy="OnFailure"),
        (sandbox(), exited(code=0)),
        [StopPod()],
    ),
    "on failure means on failure": (
        pod(restartPolicy="OnFailure"),
        (sandbox(), exited(code=3)),
        [StartContainer("c", 1)],
    ),
    "never means never": (pod(restartPolicy="Never"), (sandbox(), exited(code=3)), [StopPod()]),
    "one that is done waits for the other": (
        pod([container("a"), container("b")], restartPolicy="Never"),
        (sandbox(), exited("a"), running("b")),
        [],
    ),
    "a pod that is done stays done": (
        pod(restartPolicy="Never"),
        (sandbox(ready=False), exited(code=3)),
        [],
    ),
    "a job that succeeded gets no new sandbox": (
        pod(restartPolicy="OnFailure"),
        (sandbox(ready=False), exited(code=0)),
        [],
    ),
    "a sandbox that never held a container is made again": (
        pod(restartPolicy="Never"),
        (sandbox(ready=False),),
        [RunSandbox(1, replaces=True)],
    ),
    "an own policy goes before the pod's": (
        pod([container(restartPolicy="Never")]),
        (sandbox(), exited(code=1)),
        [StopPod()],
    ),
    "a rule goes before the own policy": (
        pod(
            [
                container(
                    restartPolicy="Never",
                    restartPolicyRules=[
                        {"action": "Restart", "exitCodes": {"operator": "In", "values": [42]}}
                    ],
                )
            ]
        ),
        (sandbox(), exited(code=42)),
        [StartContainer("c", 1)],
    ),
    "a container whose start was cut short is started anew": (
        pod(),
        (sandbox(), created()),
        [StartContainer("c", 1)],
    ),
    "one in an unknown state is stopped first": (
        pod(),
        (sandbox(), unknown()),
        [
            StopContainer(
                "c-0",
                "c",
                'Container is in "unknown" state, try killing it before restart',
                "Unknown",
            ),
            StartContainer("c", 1),
        ],
    ),
    "the first init container goes first": (
        pod(init=TWO_INITS),
        (sandbox(),),
        [StartContainer("i1")],
    ),
    "an init container is waited for": (pod(init=TWO_INITS), (sandbox(), running("i1")), []),
    "the second follows the first": (
        pod(init=TWO_INITS),
        (sandbox(), exited("i1")),
        [StartContainer("i2")],
    ),
    "the pod follows the last": (
        pod(init=TWO_INITS),
        (sandbox(), exited("i1"), exited("i2")),
        [StartContainer("c")],
    ),
    "the last one tells, even where the first is forgotten": (
        pod(init=TWO_INITS),
        (sandbox(), exited("i2")),
        [StartContainer("c")],
    ),
    "a failed init container is tried again": (
        pod(init=TWO_INITS),
        (sandbox(), exited("i1", code=1)),
        [StartContainer("i1", 1)],
    ),
    "or is the end of the pod": (
        pod(init=TWO_INITS, restartPolicy="Never"),
        (sandbox(), exited("i1", code=1)),
        [StopPod()],
    ),
    "init containers do not come again once the pod runs": (
        pod(init=TWO_INITS),
        (sandbox(), running()),
        [],
    ),
    "a sidecar that runs lets the next one go": (
        pod(init=WITH_SIDECAR),
        (sandbox(), running("side")),
        [StartContainer("i2")],
    ),
    "a sidecar is kept running while the next one works": (
        pod(init=WITH_SIDECAR),
        (sandbox(), exited("side", code=1), running("i2")),
        [StartContainer("side", 1)],
    ),
    "a sidecar is kept running while the pod works": (
        pod(init=WITH_SIDECAR),
        (sandbox(), exited("side"), exited("i2"), running()),
        [StartContainer("side", 1)],
    ),
    "a sidecar that is forgotten comes again": (
        pod(init=WITH_SIDECAR),
        (sandbox(), running()),
        [StartContainer("side")],
    ),
    "a sidecar does not keep a pod alive": (
        pod(init=[sidecar("side")], restartPolicy="Never"),
        (sandbox(), running("side"), exited()),
        [StopPod()],
    ),
    "a dead sidecar is not started for a pod that is done": (
        pod(init=[sidecar("side")], restartPolicy="Never"),
        (sandbox(), exited("side"), exited()),
        [StopPod()],
    ),
    "an ephemeral container starts beside init containers": (
        pod(init=TWO_INITS, ephemeralContainers=[container("debug")]),
        (sandbox(), running("i1")),
        [StartContainer("debug")],
    ),
    "and only once": (
        pod(ephemeralContainers=[container("debug")]),
        (sandbox(), running(), exited("debug")),
        [],
    ),
}


@pytest.mark.parametrize(("a_pod", "things", "expected"), CASES.values(), ids=CASES.keys())
def test_the_plan_follows_from_spec_and_runtime(a_pod, things, expected):
    assert planned(a_pod, *things) == expected


@pytest.mark.parametrize(
    ("kind", "reason"), [("liveness", "LivenessProbe"), ("startup", "StartupProbe")]
)
def test_a_container_that_failed_a_probe_is_restarted(kind, reason):
    message = f"Container c failed {kind} probe, will be restarted"
    assert planned(pod(), sandbox(), running(), probes={("c-0", kind): False}) == [
        StopContainer("c-0", "c", message, reason, again=True),
        StartContainer("c", 1),
    ]


def test_one_that_may_not_restart_is_only_stopped():
    probes = {("a-0", "liveness"): False}
    a_pod = pod([container("a"), container("b")], restartPolicy="Never")
    assert planned(a_pod, sandbox(), running("a"), running("b"), probes=probes) == [
        StopContainer("a-0", "a", "Container a failed liveness probe", "LivenessProbe")
    ]


def test_a_container_with_another_image_is_replaced():
    a_pod = pod([container(image="busybox:2")], restartPolicy="Never")
    assert planned(a_pod, sandbox(), running()) == [
        StopContainer("c-0", "c", "Container c definition changed, will be restarted", again=True),
        StartContainer("c", 1),
    ]


def test_a_container_of_another_kubelet_without_hash_is_left_alone():
    foreign = replace(running(), annotations={})
    assert HASH in running().annotations
    assert planned(pod(), sandbox(), foreign) == []


def test_a_sidecar_with_a_startup_probe_holds_the_next_one_until_it_is_started():
    init = [sidecar("side", startupProbe={"exec": {}}), container("i2")]
    a_pod = pod(init=init)
    assert planned(a_pod, sandbox(), running("side")) == []
    started = {("side-0", "startup"): True}
    assert planned(a_pod, sandbox(), running("side"), probes=started) == [StartContainer("i2")]


# --- the law: a plan that is carried out comes to an end --------------------------------------


class Model:
    """A runtime that does what it is told; a start ends as the script of its container says."""

    def __init__(self, things: Observed, endings: dict[str, list[int]]) -> None:
        self.sandboxes = list(things.sandboxes)
        self.containers = list(things.containers)
        self.endings = endings
        self.time = 100

    def act(self, action: Any) -> None:
        self.time += 1
        match action:
            case RunSandbox(attempt=attempt):
                self.sandboxes.append(
                    replace(sandbox(attempt), created_at=BEGIN + self.time * SECOND)
                )
            case StopPod():
                self.sandboxes = [replace(s, ready=False, ips=()) for s in self.sandboxes]
                self.containers = [self.dead(c) for c in self.containers]
            case StopAll():
                self.containers = [self.dead(c) for c in self.containers]
            case BeginAnew():
                self.containers = [c for c in self.containers if c.state != "exited"]
            case StopContainer(container_id=key):
                self.containers = [self.dead(c) if c.id == key else c for c in self.containers]
            case RemoveContainer(container_id=key):
                self.containers = [c for c in self.containers if c.id != key]
            case StartContainer(name=name, restart_count=count):
                self.containers.append(self.started(name, count))

    @staticmethod
    def dead(one: Container) -> Container:
        if one.state == "exited":
            return one
        return replace(one, state="exited", exit_code=137)

    def started(self, name: str, count: int) -> Container:
        script = self.endings.get(name) or []
        ending = script.pop(0) if script else None
        one = running(name, count) if ending is None else exited(name, ending, count)
        return replace(one, id=f"{name}@{self.time}", created_at=BEGIN + self.time * SECOND)

    def see(self) -> Observed:
        return seen(*self.sandboxes, *self.containers)


POLICIES = st.sampled_from(["Always", "OnFailure", "Never"])
ENDINGS = st.lists(st.sampled_from([0, 0, 1, 42, 137]), max_size=3)
ANY_STATE = st.sampled_from(["none", "running", "created", "unknown", "ok", "bad", "anew"])
MAKERS = {
    "running": running,
    "created": created,
    "unknown": unknown,
    "ok": exited,
    "bad": lambda name: exited(name, 1),
    "anew": lambda name: exited(name, 42),
}


def source(name: str) -> dict[str, Any]:
    """Return a container whose end with 42 has its pod begin anew."""
    codes = {"operator": "In", "values": [42]}
    rules = [{"action": "RestartAllContainers", "exitCodes": codes}]
    return container(name, restartPolicy="Never", restartPolicyRules=rules)


@st.composite
def situations(draw: st.DrawFn) -> tuple[Any, Observed, dict[str, list[int]]]:
    """A pod, whatever the runtime may have of it, and how its containers will end."""
    inits = [
        draw(st.sampled_from([container, sidecar, source]))(f"i{n}")
        for n in range(draw(st.integers(0, 3)))
    ]
    regular = [
        draw(st.sampled_from([container, source]))(f"c{n}") for n in range(draw(st.integers(1, 3)))
    ]
    a_pod = pod(regular, init=inits, restartPolicy=draw(POLICIES))
    attempts = range(draw(st.integers(0, 2)))
    things: list[Sandbox | Container] = [sandbox(n, ready=draw(st.booleans())) for n in attempts]
    names = [one["name"] for one in [*inits, *regular]]
    for name in names:
        state = draw(ANY_STATE)
        if things and state != "none":
            things.append(MAKERS[state](name))
    return a_pod, seen(*things), {name: draw(ENDINGS) for name in names}


@given(situations())
def test_a_plan_that_is_carried_out_reaches_a_fixed_point(situation):
    a_pod, things, endings = situation
    model = Model(things, endings)
    for _ in range(60):
        actions = list(plan(a_pod, model.see(), {}))
        if not actions:
            break
        for action in actions:
            model.act(action)
    assert list(plan(a_pod, model.see(), {})) == []


@given(situations())
def test_at_the_fixed_point_the_pod_runs_or_is_done(situation):
    a_pod, things, _ = situation
    model = Model(things, {})  # whatever is started now goes on
    for _ in range(60):
        for action in plan(a_pod, model.see(), {}):
            model.act(action)
    after = model.see()
    if after.sandbox is not None and after.sandbox.ready:
        latest = [after.latest(one["name"]) for one in a_pod["spec"]["containers"]]
        inits = [after.latest(one["name"]) for one in a_pod["spec"].get("initContainers", [])]
        waiting = any(one is not None and one.state == "running" for one in inits)
        assert waiting or any(one is not None and one.state == "running" for one in latest)
    else:
        assert not after.running


@given(situations())
def test_no_container_is_started_beside_a_running_one_of_its_name(situation):
    a_pod, things, endings = situation
    model = Model(things, endings)
    for _ in range(20):
        for action in plan(a_pod, model.see(), {}):
            if isinstance(action, StartContainer):
                alive = [c for c in model.containers if c.name == action.name]
                assert all(c.state in ("exited", "created") for c in alive)
            model.act(action)
