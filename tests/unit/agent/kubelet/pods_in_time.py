"""Pods of tests in virtual time: made, waited for, looked at."""

import asyncio
from collections.abc import Callable
from typing import Any

from minikube_py.api.object import condition_of, evolve, without
from tests.unit.agent.kubelet.builders import pod
from tests.unit.agent.kubelet.model_node import Node


def new(*args: Any, **spec: Any) -> Any:
    """Return a pod as a client creates it."""
    made = without(without(pod(*args, **spec), "status"), "metadata.uid")
    return evolve(made, "spec.nodeName", "n1")


async def wait(true: Callable[[], bool], seconds: float) -> None:
    """Look again and again, in virtual time."""
    async with asyncio.timeout(seconds):
        while not true():  # noqa: ASYNC110 -- virtual time costs nothing
            await asyncio.sleep(0.05)


async def until(node: Node, phase: str, seconds: float = 30) -> None:
    await wait(lambda: node.pod() is not None and node.status().get("phase") == phase, seconds)


async def until_gone(node: Node, seconds: float = 60) -> float:
    begun = node.clock.monotonic()
    await wait(lambda: node.pod() is None and not len(node.workers), seconds)
    return node.clock.monotonic() - begun


def is_ready(node: Node) -> bool:
    found = condition_of(node.pod() or {}, "Ready")
    return found is not None and found["status"] == "True"
