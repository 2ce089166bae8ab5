"""What the scheduler writes into the status of a pod that has no node yet."""

import asyncio
import logging

from minikube_py.api import times
from minikube_py.api.core import PODS
from minikube_py.api.errors import ConflictError, NotFoundError, StatusError
from minikube_py.api.object import Obj, condition_of, get
from minikube_py.client.protocol import Client
from minikube_py.lib.clock import Clock
from minikube_py.server.scheduler.pod_info import PodInfo

log = logging.getLogger(__name__)
FITS_NOWHERE = "Unschedulable"
WENT_WRONG = "SchedulerError"
"""Reasons of the condition PodScheduled."""
WRITES_MAX = 16
"""At a time."""


class PodStatus:
    """Writes conditions and nominations where they say something else than before."""

    def __init__(self, client: Client, clock: Clock) -> None:
        self._client = client
        self._clock = clock
        self._writes = asyncio.Semaphore(WRITES_MAX)

    async def write(
        self, pod: PodInfo, reason: str, message: str, nominated: str | None = None
    ) -> None:
        """Say why a pod has no node, and which one it is nominated for; None leaves that."""
        patch: dict[str, object] = {}
        if differs(pod.obj, reason, message):
            patch["conditions"] = [condition(pod.obj, reason, message, self._clock)]
        if nominated is not None and nominated != pod.nominated:
            patch["nominatedNodeName"] = nominated or None
        if patch:
            async with self._writes:
                await self._patch(pod, {"status": patch})

    async def _patch(self, pod: PodInfo, patch: Obj) -> None:
        name, namespace = pod.key.name, pod.namespace
        document = {**patch, "metadata": {"uid": pod.uid}}
        try:
            await self._client.patch(
                PODS, name, document, namespace, patch_type="strategic", subresource="status"
            )
        except (NotFoundError, ConflictError) as error:
            log.debug("pod changed meanwhile pod=%s error=%s", pod.key, error)
        except StatusError as error:
            log.warning("pod status not written pod=%s error=%s", pod.key, error)


def differs(pod: Obj, reason: str, message: str) -> bool:
    """Tell whether the pod does not yet say so."""
    known = condition_of(pod, "PodScheduled")
    said = get(known, "status"), get(known, "reason"), get(known, "message")
    return said != ("False", reason, message)


def condition(pod: Obj, reason: str, message: str, clock: Clock) -> Obj:
    """Return the condition that says that the pod has no node."""
    old = condition_of(pod, "PodScheduled")
    now = times.now_string(clock)
    same = old is not None and old.get("status") == "False"
    return {
        "type": "PodScheduled",
        "status": "False",
        "reason": reason,
        "message": message,
        "lastProbeTime": None,
        "lastTransitionTime": old.get("lastTransitionTime", now) if same and old else now,
        **_generation(pod),
    }


def _generation(pod: Obj) -> Obj:
    generation = get(pod, "metadata.generation")
    return {"observedGeneration": generation} if generation else {}
