"""One device plugin: the calls of its service, and the stream in which it tells of its devices."""

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from minikube_py.agent.cri.connection import Connection
from minikube_py.agent.kubelet.devices.inventory import Choice, Devices, parse
from minikube_py.agent.kubelet.devices.messages import codec

SERVICE = "/v1beta1.DevicePlugin/"
VERSION = "v1beta1"


class DevicePlugin:
    """A plugin that has registered itself; every call raises a child of CriError."""

    def __init__(
        self, resource: str, socket: Path, options: Mapping[str, Any] | None = None
    ) -> None:
        """Take its socket; options that it has not told are asked for."""
        self.resource = resource
        self._connection = Connection(str(socket), codec)
        self._options = options

    async def _call(self, method: str, request: Mapping[str, Any]) -> dict[str, Any]:
        message = (f"{method}Request", request)
        return await self._connection.ask(SERVICE + method, message, f"{method}Response")

    async def options(self) -> Mapping[str, Any]:
        """Return what the plugin wants to be asked; itself asked once."""
        if self._options is None:
            self._options = await self._connection.ask(
                SERVICE + "GetDevicePluginOptions", ("Empty", {}), "DevicePluginOptions"
            )
        return self._options

    async def watch(self) -> AsyncIterator[Devices]:
        """Yield all devices, and again whenever one has changed."""
        path = SERVICE + "ListAndWatch"
        request: tuple[str, dict[str, Any]] = ("Empty", {})
        async for answer in self._connection.subscribe(path, request, "ListAndWatchResponse"):
            yield parse(answer.get("devices") or ())

    async def preferred(self, choice: Choice) -> Collection[str]:
        """Return the devices that the plugin would take, of those that may be; empty for any."""
        if not (await self.options()).get("get_preferred_allocation_available"):
            return ()
        request: dict[str, Any] = {
            "available_deviceIDs": sorted({*choice.available, *choice.taken}),
            "must_include_deviceIDs": sorted(choice.taken),
            "allocation_size": choice.count,
        }
        found = await self._connection.ask(
            SERVICE + "GetPreferredAllocation",
            ("PreferredAllocationRequest", {"container_requests": [request]}),
            "PreferredAllocationResponse",
        )
        answers: Sequence[Mapping[str, Any]] = found.get("container_responses") or ()
        return [one for answer in answers[:1] for one in answer.get("deviceIDs") or ()]

    async def allocate(self, ids: Collection[str]) -> Mapping[str, Any]:
        """Have devices made ready; return what a container needs to use them."""
        request = {"devices_ids": sorted(ids)}
        found = await self._call("Allocate", {"container_requests": [request]})
        answers: Sequence[Mapping[str, Any]] = found.get("container_responses") or ()
        return answers[0] if answers else {}

    async def pre_start(self, ids: Collection[str]) -> None:
        """Tell the plugin that a container with these devices is about to start, if it wants."""
        if (await self.options()).get("pre_start_required"):
            await self._call("PreStartContainer", {"devices_ids": sorted(ids)})

    async def aclose(self) -> None:
        """Close the connection."""
        await self._connection.aclose()
