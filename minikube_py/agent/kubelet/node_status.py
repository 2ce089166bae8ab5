"""Registers the node and keeps its status true, without saying the same thing over and over.

Every ten seconds the node looks at itself. The server is told at once when anything but the time
has changed, and every five minutes otherwise; that the node lives is told by its Lease alone.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from minikube_py.agent.cri.errors import CriError
from minikube_py.agent.cri.images import Images
from minikube_py.agent.cri.runtime import Runtime, RuntimeStatus
from minikube_py.agent.kubelet.node_object import (
    NodeFacts,
    given,
    node_object,
    node_status,
    own_labels,
    own_part,
    with_devices,
    with_given,
    with_in_use,
    with_runtime,
    without_times,
)
from minikube_py.api import times
from minikube_py.api.core import NODES
from minikube_py.api.errors import AlreadyExistsError, NotFoundError, StatusError
from minikube_py.api.object import Obj, get, labels_of
from minikube_py.client.events import Recorder
from minikube_py.client.protocol import Client
from minikube_py.lib.backoff import Backoff
from minikube_py.lib.clock import Clock

log = logging.getLogger(__name__)
LOOK_SECONDS = 10.0
LOOK_NOT_READY_SECONDS = 0.25
"""A network that has just come must not keep pods waiting."""
TELL_SECONDS = 300.0
EVENTS = {
    "Ready": ("NodeNotReady", "NodeReady"),
    "MemoryPressure": ("NodeHasSufficientMemory", "NodeHasInsufficientMemory"),
    "DiskPressure": ("NodeHasNoDiskPressure", "NodeHasDiskPressure"),
    "PIDPressure": ("NodeHasSufficientPID", "NodeHasInsufficientPID"),
}
"""Condition -> the reasons of the events when it becomes false, and true."""
RETRY = Backoff(first_seconds=0.2, max_seconds=7.0)


ITS_OWN = ("nodeInfo", "daemonEndpoints")
"""What nobody but the node knows; without the port of its endpoint no log of it can be read."""


class NodeStatus:
    """The node in the eyes of the cluster."""

    def __init__(
        self,
        facts: NodeFacts,
        client: Client,
        services: tuple[Runtime, Images],
        recorder: Recorder,
        clock: Clock,
        ready_again: Callable[[], None],
    ) -> None:
        """Take `ready_again`, which is called when the network of pods has come or gone."""
        self.facts = facts
        self._runtime, self._images = services
        self.trouble = "container runtime status check may not have completed yet"
        """Why the node is not ready, "" where it is."""
        self.ending = ""
        """Why the node takes no more pods though it could, "" where it does."""
        self.runtime = RuntimeStatus()
        """What the runtime said of itself last."""
        self.pressures: frozenset[str] = frozenset()
        """Of what the node is short: MemoryPressure and so on."""
        self.uid = ""
        self._client = client
        self._recorder = recorder
        self._clock = clock
        self._ready_again = ready_again
        self.given: dict[str, str] = {}
        """Resources that others say the node has."""
        self.volumes_in_use: Callable[[], Sequence[str]] = tuple
        """Returns the volumes that are not to be taken off the node."""
        self.devices: Callable[[], tuple[Mapping[str, str], Mapping[str, str]]] = lambda: ({}, {})
        """Returns the resources of device plugins: how many there are, and can be given."""
        self._told: Obj = {}
        self._told_at = 0.0
        self._woken = asyncio.Event()
        self.registered = asyncio.Event()
        """Set once the cluster has the node."""
        self.asked = asyncio.Event()
        """Set once the cluster has been asked to register the node, whatever came of it."""

    async def check(self) -> None:
        """Ask the runtime whether it and the network of pods are ready."""
        before, self.trouble = self.trouble, await self._find_trouble()
        if before != self.trouble:
            log.info("node readiness changed trouble=%r", self.trouble)
            self._ready_again()

    async def _find_trouble(self) -> str:
        try:
            self.runtime = await self._runtime.status()
        except CriError as error:
            return f"container runtime is down: {error}"
        for kind, what in (
            ("RuntimeReady", "container runtime not ready"),
            ("NetworkReady", "container runtime network not ready"),
        ):
            ready, message = self.runtime.conditions.get(kind, (False, "condition is missing"))
            if not ready:
                reason = "NetworkPluginNotReady" if kind == "NetworkReady" else "RuntimeNotReady"
                return f"{what}: {kind}=false reason:{reason} message:{message}"
        return ""

    async def register(self) -> None:
        """Create the node, or take over the one that is there; tries until it succeeds.

        The server may be away for long; `run` looks at the node meanwhile.
        """
        failures = 0
        await self.check()
        while True:
            try:
                node = await self._register()
            except StatusError as error:
                failures += 1
                self.asked.set()
                log.warning("node not registered, trying again error=%s", error)
                await self._clock.sleep(RETRY.wait_seconds(failures))
            else:
                self.uid = node["metadata"]["uid"]
                self._told = node.get("status") or {}
                log.info("node registered node=%s", self.facts.name)
                self._tell_of_reboot()
                self.registered.set()
                self.asked.set()
                return

    async def _register(self) -> Obj:
        wanted = node_object(self.facts, await self._status({}))
        try:
            return await self._client.create(NODES, wanted)
        except AlreadyExistsError:
            node = await self._client.get(NODES, self.facts.name)
        labels = {k: v for k, v in own_labels(self.facts).items() if labels_of(node).get(k) != v}
        if labels:
            patch = {"metadata": {"labels": labels}}
            node = await self._client.patch(NODES, self.facts.name, patch)
        return node

    async def _status(self, old: Obj) -> dict[str, Any]:
        try:
            images = await self._images.list_all()
        except CriError:
            images = []
        now = times.now_string(self._clock)
        trouble = self.ending or self.trouble
        status = node_status(self.facts, trouble, images, old, now, self.pressures)
        devices = self.devices()
        others = {name: n for name, n in self.given.items() if name not in devices[0]}
        status = with_given(with_devices(status, devices), others, old)
        status = with_runtime(status, self.runtime)
        return with_in_use(status, self.volumes_in_use(), old)

    def end(self, why: str) -> None:
        """Take note of why the machine goes down, "" where it does not, and tell the cluster."""
        self.ending = why
        self.wake()

    def press(self, pressures: frozenset[str]) -> None:
        """Take note of what the node is short of, and tell the cluster."""
        self.pressures = pressures
        self.wake()

    def saw(self, node: Obj) -> None:
        """Hear of the node as it is in the cluster: others may have given it resources.

        A node that was silent for too long finds that it has been given up, and contradicts; so it
        does where somebody has overwritten what it says of itself.
        """
        status: Obj = get(node, "status") or {}
        given_up = any(c["status"] == "Unknown" for c in status.get("conditions") or ())
        if given_up or any(status.get(key) != self._told.get(key) for key in ITS_OWN):
            self._told = status
            self.wake()
        found = given(node)
        if found != self.given:
            self.given = found
            self.wake()

    def wake(self) -> None:
        """Have the node look at itself now."""
        self._woken.set()

    async def run(self) -> None:
        """Keep the status true, for ever."""
        self._recorder.record(self.reference(), "Normal", "Starting", "Starting kubelet.")
        while True:
            self._woken.clear()
            await self.check()
            try:
                if self.registered.is_set():
                    await self._tell_if_changed()
            except NotFoundError:
                log.warning("node is gone from the cluster, registering again")
                await self.register()
            except StatusError as error:
                log.warning("node status not written, trying again error=%s", error)
            await self._rest(LOOK_NOT_READY_SECONDS if self.trouble else LOOK_SECONDS)

    def _tell_of_reboot(self) -> None:
        now, before = self.facts.machine.boot_id, get(self._told, "nodeInfo.bootID")
        if before and now != before:
            message = f"Node {self.facts.name} has been rebooted, boot id: {now}"
            self._recorder.record(self.reference(), "Warning", "Rebooted", message)

    async def _rest(self, seconds: float) -> None:
        timer = self._clock.call_later(seconds, self._woken.set)
        try:
            await self._woken.wait()
        finally:
            timer.cancel()

    async def _tell_if_changed(self) -> None:
        status = await self._status(self._told)
        now = self._clock.monotonic()
        same = without_times(status) == without_times(
            {key: value for key, value in self._told.items() if key in status}
        )
        if same and self._told_at and now - self._told_at < TELL_SECONDS:
            return
        patch = {"status": own_part(status)}
        node = await self._client.patch(
            NODES, self.facts.name, patch, patch_type="strategic", subresource="status"
        )
        self._announce(status)
        self._told, self._told_at = node.get("status") or {}, now

    def _announce(self, status: Obj) -> None:
        """Tell of the moment when the node becomes ready or short of something."""
        before = {c["type"]: c["status"] for c in get(self._told, "conditions") or ()}
        for condition in status["conditions"]:
            kind = condition["type"]
            if kind in EVENTS and before.get(kind) != condition["status"]:
                reason = EVENTS[kind][condition["status"] == "True"]
                message = f"Node {self.facts.name} status is now: {reason}"
                self._recorder.record(self.reference(), "Normal", reason, message)

    def reference(self) -> dict[str, Any]:
        """Return the node as events name it."""
        # Events about nodes carry the name as uid, as upstream's kubelet has them.
        metadata = {"name": self.facts.name, "uid": self.facts.name}
        return {"apiVersion": "v1", "kind": "Node", "metadata": metadata}
