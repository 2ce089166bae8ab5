"""Kubelets of the model cluster: the simulated nodes of the product, in virtual time."""

from datetime import datetime, timedelta
from typing import Any

from minikube_py.agent.simulated.node import GROUP
from minikube_py.agent.simulated.rules import PREFIX, Behaviour, Rules, span
from minikube_py.agent.simulated.run import SimulatedNodes
from minikube_py.api.core import NODES
from minikube_py.api.object import Obj
from minikube_py.lib.clock import Clock
from tests.harness import World

START_SECONDS = 2.0
RUNS = f"{PREFIX}run"
"""Annotation: after so many seconds the containers end."""
EXIT = f"{PREFIX}exitCode"
READY = f"{PREFIX}ready"
"""Annotation: so many seconds until the containers are ready; `never` for never."""


def node(name: str, **more: Any) -> dict[str, Any]:
    allocatable = {"cpu": "4", "memory": "8Gi", "pods": "110", **more.pop("allocatable", {})}
    labels = {"kubernetes.io/hostname": name, GROUP: "sim", **more.pop("labels", {})}
    ready = {"type": "Ready", "status": "True", "reason": "KubeletReady", "message": "ok"}
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": labels},
        "spec": more,
        "status": {"allocatable": allocatable, "capacity": allocatable, "conditions": [ready]},
    }


class Apart:
    """The clock of a machine that shows another time of day, but goes as fast."""

    def __init__(self, clock: Clock, apart: timedelta) -> None:
        self._clock = clock
        self._apart = apart

    def now(self) -> datetime:
        return self._clock.now() + self._apart

    def __getattr__(self, name: str) -> Any:
        return getattr(self._clock, name)


class Kubelets:
    """All nodes at once; `silent` holds the names of those that are cut off."""

    def __init__(
        self, world: World, *, beat_seconds: float = 10.0, apart: timedelta = timedelta()
    ) -> None:
        self.world = world
        self.client = world.cluster.client("kubelets")
        rules = Rules(usual=Behaviour(start=span(START_SECONDS)))
        clock: Any = Apart(world.clock, apart)
        self.nodes = SimulatedNodes(
            self.client, world.informers, clock, rules, beat_seconds=beat_seconds
        )
        self.silent = self.nodes.silent

    async def add(self, *nodes: Obj) -> None:
        for one in nodes:
            await self.client.create(NODES, one)

    def start(self) -> None:
        self.world.nursery.start("kubelets", self.nodes.run())
