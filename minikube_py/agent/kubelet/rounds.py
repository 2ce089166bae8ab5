"""Rounds of planning and acting for one pod, and what one round leaves for the next to know.

A container that cannot be started now holds up no other; why it waits, and when it is worth another
try, is remembered here until it has been started.
"""

import asyncio
from collections.abc import Collection, Sequence

from minikube_py.agent.kubelet.container_status import Waiting
from minikube_py.agent.kubelet.errors import StartRefusedError
from minikube_py.agent.kubelet.execute import Executor
from minikube_py.agent.kubelet.node_context import NodeContext
from minikube_py.agent.kubelet.observed import Observed
from minikube_py.agent.kubelet.resizing import Resizing
from minikube_py.agent.kubelet.sync_pod import (
    Action,
    Anew,
    BeginAnew,
    StartContainer,
    StopContainer,
    plan,
)
from minikube_py.api.object import Obj
from minikube_py.lib.tasks import StoppedError


class Rounds:
    """What is planned and done for one pod."""

    def __init__(self, context: NodeContext, resizing: Resizing, stopping: asyncio.Event) -> None:
        """Take `stopping`, which is set when the pod is to end."""
        self._context = context
        self._resizing = resizing
        self._stopping = stopping
        self.waiting: dict[str, Waiting] = {}
        """Why containers are not started now, by name."""
        self.retry_at: dict[str, float] = {}
        """When (monotonic) they are worth another try."""
        self._again: set[str] = set()
        """Containers that were stopped to be started anew."""

    def plan(
        self, pod: Obj, given: Obj, observed: Observed, refused: Collection[str]
    ) -> list[Action]:
        """Return what is to be done now, without the containers that were refused in this go."""
        anew = Anew(self._resizing.outdated(pod, observed), frozenset(self._again))
        planned = plan(given, observed, self._context.probes.results, anew)
        return [action for action in planned if _begun(action) not in refused]

    async def act(self, actions: Sequence[Action], executor: Executor, refused: set[str]) -> bool:
        """Carry out a plan; return whether anything of it was done.

        Containers that were refused are added to `refused` and not tried again in this go.
        """
        moved = False
        stops = any(isinstance(action, StopContainer) for action in actions)
        for action in actions:
            if self._stopping.is_set():
                break
            name = _begun(action)
            if name and stops:
                continue  # first things first: the next plan has it again
            try:
                await executor.act(action)
            except StoppedError:
                break
            except StartRefusedError as error:
                refused.add(name)
                if not self._refuse(name, error, executor):
                    break
            else:
                moved = True
                self._done(action)
        return moved

    def _done(self, action: Action) -> None:
        if isinstance(action, StopContainer) and action.again:
            self._again.add(action.name)
        if name := _begun(action):
            self._again.discard(name)
            self.waiting.pop(name, None)
            self.retry_at.pop(name, None)

    def _refuse(self, name: str, error: StartRefusedError, executor: Executor) -> bool:
        """Note why a container waits; return whether the others may go on without it."""
        self.waiting[name] = Waiting(error.reason, error.message)
        self.retry_at[name] = executor.retry_at(name, error.reason)
        return not executor.is_init(name)


def _begun(action: Action) -> str:
    """Return the container that an action starts, or has start anew; "" for none."""
    return action.name if isinstance(action, StartContainer | BeginAnew) else ""
