"""Has a pod isolated before its containers start.

The API learns the address of a pod after it has begun; the kubelet knows it before. While there
is no policy nothing is asked and nothing waits.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

from minikube_py.api.object import Obj, get, key_of

log = logging.getLogger(__name__)
WAIT_SECONDS = 5.0
"""Longer the rules do not hold up a pod; they come when they can."""


class Enforces(Protocol):
    """Who makes rules for pods."""

    async def admit(self, pod: Obj, ips: Sequence[str]) -> None:
        """Return once the rules of a pod that has these addresses stand."""


class Gate:
    """Stands between a pod's network and its containers."""

    def __init__(self) -> None:
        self.enforcement: Enforces | None = None
        """None while there is no policy."""

    async def isolate(self, pod: Obj, addresses: Callable[[], Awaitable[Sequence[str]]]) -> None:
        """Return once policies hold for a pod that has got a network, or after some seconds."""
        enforcement = self.enforcement
        if enforcement is None or get(pod, "spec.hostNetwork"):
            return
        try:
            async with asyncio.timeout(WAIT_SECONDS):
                await enforcement.admit(pod, await addresses())
        except TimeoutError:
            log.warning("pod starts before its policies hold pod=%s", key_of(pod))
