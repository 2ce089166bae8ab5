"""Which container has which devices of plugins: chosen once, before its pod starts.

What was given stays given until the pod has ended; kpy may die and come back in between. Errors
are in the words of upstream's device manager.
"""

import asyncio
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from minikube_py.agent.cri.errors import CriError
from minikube_py.agent.kubelet.config import NO_EXTRAS, Device, Extras, Mount
from minikube_py.agent.kubelet.devices.checkpoint import FILE, Given, Place, dump, load
from minikube_py.agent.kubelet.devices.inventory import Device as PluginDevice
from minikube_py.agent.kubelet.devices.inventory import (
    Request,
    check_held,
    choose,
    healthy,
    hints,
)
from minikube_py.agent.kubelet.devices.plugins import DevicePlugins
from minikube_py.agent.kubelet.errors import StartRefusedError
from minikube_py.agent.kubelet.pod import Spec, full_name
from minikube_py.agent.kubelet.resources import amounts
from minikube_py.agent.kubelet.topology.errors import AdmissionError
from minikube_py.agent.kubelet.topology.hints import Hint, Hints, Nodes
from minikube_py.api.core.resources import is_extended
from minikube_py.api.object import Obj, get, uid_of
from minikube_py.lib.fsutil import write_atomic

log = logging.getLogger(__name__)


class DeviceAllocations:
    """The devices of all containers of this node."""

    def __init__(self, plugins: DevicePlugins, wake: Callable[[], None]) -> None:
        """Take the plugins, and whom to tell when the node has more or fewer devices."""
        self.plugins = plugins
        self._wake = wake
        self._given, registered = load(plugins.folder)
        self._reusable: dict[tuple[str, str], frozenset[str]] = {}
        """What init containers leave to others, by pod and resource; while a pod is admitted."""
        plugins.expect(registered)
        plugins.on_change = self._changed
        self._writing = asyncio.Lock()
        self.on_health: Callable[[str], None] = lambda _: None
        """Called with the uid of a pod whose devices may be better or worse than before."""

    # --- what there is ---

    def is_offered(self, resource: str) -> bool:
        """Tell whether a resource is one of device plugins."""
        return resource in self.plugins.inventory or any(
            place.resource == resource for place in self._given
        )

    def wanted(self, container: Obj) -> Iterator[tuple[str, int]]:
        """Yield the resources of device plugins that a container asks for, and how many."""
        limits = amounts(get(container, "resources.limits"))
        for resource, amount in sorted(limits.items()):
            if is_extended(resource) and amount and self.is_offered(resource):
                yield resource, amount.value()

    def of(self, uid: str, container: str) -> Iterator[tuple[str, Given]]:
        """Yield what a container has, by resource."""
        for place, given in self._given.items():
            if place[:2] == (uid, container):
                yield place.resource, given

    def nodes_of(self, resource: str, device: str) -> Nodes:
        """Return the NUMA nodes that a device lies near."""
        found = self.plugins.inventory.get(resource, {}).get(device)
        return frozenset() if found is None else found.nodes

    def _in_use(self, resource: str) -> frozenset[str]:
        found = [given.ids for place, given in self._given.items() if place.resource == resource]
        return frozenset[str]().union(*found)

    def _free(self, resource: str) -> list[str]:
        used = self._in_use(resource)
        devices = self.plugins.inventory.get(resource, {})
        return [one for one in healthy(devices) if one not in used]

    # --- the topology manager's questions ---

    def hints(self, pod: Obj, spec: Spec, nodes: Sequence[int]) -> Hints:
        """Return where the devices of a container could come from."""
        return {
            resource: self._hints(uid_of(pod), spec.name, (resource, count), nodes)
            for resource, count in self.wanted(spec.container)
        }

    def pod_hints(self, asked: Mapping[str, int], nodes: Sequence[int]) -> Hints:
        """Return where the devices of a whole pod could come from."""
        return {
            resource: self._hints("", "", (resource, count), nodes)
            for resource, count in asked.items()
        }

    def _hints(
        self, uid: str, container: str, asked: tuple[str, int], nodes: Sequence[int]
    ) -> list[Hint] | None:
        resource, count = asked
        devices = self.plugins.inventory.get(resource, {})
        had = self._given.get(Place(uid, container, resource))
        if had is not None:
            return hints(devices, sorted(had.ids & devices.keys()), (), count, nodes)
        reusable = self._reusable.get((uid, resource), frozenset())
        return hints(devices, self._free(resource), reusable, count, nodes)

    # --- giving and taking back ---

    async def allocate(self, pod: Obj, spec: Spec, nodes: Nodes | None) -> None:
        """Give a container the devices that it asks for; raises AdmissionError."""
        uid = uid_of(pod)
        given = False
        for resource, count in self.wanted(spec.container):
            place = Place(uid, spec.name, resource)
            request = Request(
                resource=resource,
                count=count,
                reusable=self._reusable.get((uid, resource), frozenset()),
                in_use=self._in_use(resource),
                nodes=nodes,
            )
            given = await self._allocate(pod, place, request) or given
            self._note_reusable(spec, place)
        if given:
            await self._save()

    def _note_reusable(self, spec: Spec, place: Place) -> None:
        key, ids = (place.pod, place.resource), self._given[place].ids
        left = self._reusable.get(key, frozenset())
        self._reusable[key] = left | ids if spec.is_init else left - ids

    async def _allocate(self, pod: Obj, place: Place, request: Request) -> bool:
        had = self._given.get(place)
        if had is not None:
            if len(had.ids) != request.count:
                raise AdmissionError(
                    f'pod "{place.pod}" container "{place.container}" changed request for resource'
                    f' "{place.resource}" from {len(had.ids)} to {request.count}'
                )
            return False
        resource = place.resource
        check_held(resource, self.plugins.inventory.get(resource), ())
        plugin = self.plugins.get(resource)
        if plugin is None:
            raise AdmissionError(f"unknown device plugin resource {resource}")
        choice = choose(self.plugins.inventory[resource], request)
        try:
            preferred = await plugin.preferred(choice) if choice.missing else ()
            ids = frozenset(choice.finish(preferred))
            answer = await plugin.allocate(ids)
        except CriError as error:
            raise AdmissionError(error.as_go_says) from None
        self._given[place] = Given(ids, answer)
        log.info("devices given pod=%s resource=%s count=%d", full_name(pod), resource, len(ids))
        return True

    def admitted(self, uid: str) -> None:
        """Take note that all containers of a pod have theirs."""
        self._reusable = {key: ids for key, ids in self._reusable.items() if key[0] != uid}

    async def pre_start(self, pod: Obj, container: str) -> None:
        """Tell plugins that a container is about to start; raises StartRefusedError."""
        for resource, given in self.of(uid_of(pod), container):
            plugin = self.plugins.get(resource)
            if plugin is None:
                continue
            try:
                await plugin.pre_start(given.ids)
            except CriError as error:
                raise StartRefusedError(
                    "CreateContainerConfigError",
                    f"device plugin PreStartContainer rpc failed with err: {error.as_go_says}",
                ) from None

    def extras(self, uid: str, container: str) -> Extras:
        """Return what a container needs to use its devices."""
        found = NO_EXTRAS
        for _, given in self.of(uid, container):
            found = found.plus(_extras(given.answer))
        return found

    def pods(self) -> set[str]:
        """Return the pods that have devices."""
        return {place.pod for place in self._given}

    async def release(self, uid: str) -> None:
        """Take back what a pod had."""
        left = {place: given for place, given in self._given.items() if place.pod != uid}
        if len(left) != len(self._given):
            self._given = left
            await self._save()

    # --- what survives ---

    def health(self, uid: str, container: str) -> Iterator[tuple[str, list[dict[str, str]]]]:
        """Yield how well the devices of a container are, by resource."""
        for resource, given in self.of(uid, container):
            answered = self.plugins.get(resource) is not None
            devices = self.plugins.inventory.get(resource, {}) if answered else {}
            yield (
                resource,
                [
                    {"resourceID": name, "health": _health(devices.get(name))}
                    for name in sorted(given.ids)
                ],
            )

    async def _changed(self) -> None:
        await self._save()
        self._wake()
        for uid in self.pods():
            self.on_health(uid)

    async def _save(self) -> None:
        async with self._writing:
            text = dump(self._given, self.plugins.inventory)
            await asyncio.to_thread(write_atomic, self.plugins.folder / FILE, text)


def _health(device: PluginDevice | None) -> str:
    """Return the health of a device; of one that no plugin tells of it is not known."""
    if device is None:
        return "Unknown"
    return "Healthy" if device.is_healthy else "Unhealthy"


def _extras(answer: Mapping[str, Any]) -> Extras:
    """Return a ContainerAllocateResponse in the words of a container's configuration."""
    return Extras(
        env=answer.get("envs") or {},
        mounts=[
            Mount(
                container_path=one.get("container_path", ""),
                host_path=Path(one.get("host_path", "")),
                read_only=bool(one.get("read_only")),
            )
            for one in answer.get("mounts") or ()
        ],
        devices=[
            Device(
                container_path=one.get("container_path", ""),
                host_path=Path(one.get("host_path", "")),
                permissions=one.get("permissions", ""),
            )
            for one in answer.get("devices") or ()
        ],
        annotations=answer.get("annotations") or {},
        cdi_devices=[str(one.get("name", "")) for one in answer.get("cdi_devices") or ()],
    )
