"""Plugins that register themselves on a node: a device plugin and a DRA driver, over real gRPC."""

import asyncio
import contextlib
import os
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from minikube_py.agent.cri.connection import Connection
from minikube_py.agent.kubelet.devices import messages as device_messages
from minikube_py.agent.kubelet.dra import messages as dra_messages
from minikube_py.agent.kubelet.plugins import messages as registration_messages
from minikube_py.lib.protowire import Codec

os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")
import grpc
import grpc.aio

RESOURCE = "example.com/widget"
DRIVER = "dra.example.com"
CDI_KIND = "example.com/gadget"
Device = Mapping[str, Any]


def device(name: str, *, healthy: bool = True, nodes: Sequence[int] = ()) -> Device:
    """Return a device as a plugin tells of it."""
    told: dict[str, Any] = {"ID": name, "health": "Healthy" if healthy else "Unhealthy"}
    return told | ({"topology": {"nodes": [{"ID": node} for node in nodes]}} if nodes else {})


def unary(table: Codec, request: str, answer: str, behaviour: Any) -> Any:
    """Return a handler of one call."""
    return grpc.unary_unary_rpc_method_handler(
        behaviour,
        request_deserializer=lambda data: table.decode(request, data),
        response_serializer=lambda message: table.encode(answer, message),
    )


class DevicePluginDouble:
    """Answers as a device plugin does; every call but the stream is noted."""

    def __init__(self, folder: Path, devices: Sequence[Device], resource: str = RESOURCE) -> None:
        self.folder = folder
        self.resource = resource
        self.devices = list(devices)
        self.options: dict[str, bool] = {}
        self.preferred: list[str] = []
        self.failures: dict[str, str] = {}
        self.log: list[tuple[str, dict[str, Any]]] = []
        self.answer: dict[str, Any] = {}
        """Beside the variable WIDGETS, which names the devices."""
        self._changed = asyncio.Event()
        self._left = False

    def calls(self) -> list[str]:
        """Return the names of the calls, in order."""
        return [name for name, _ in self.log]

    def tell(self, devices: Sequence[Device]) -> None:
        """Tell of other devices; only in the plugin's own loop."""
        self.devices = list(devices)
        self._changed.set()

    @contextlib.asynccontextmanager
    async def serving(self, endpoint: str = "widget.sock") -> AsyncIterator[None]:
        """Serve and register with the kubelet."""
        table = device_messages.codec()
        calls = {
            name: unary(
                table,
                f"{name.removeprefix('Get')}Request",
                f"{name.removeprefix('Get')}Response",
                self._answering(name),
            )
            for name in ("Allocate", "GetPreferredAllocation", "PreStartContainer")
        }
        calls["ListAndWatch"] = grpc.unary_stream_rpc_method_handler(
            self._list_and_watch,
            request_deserializer=lambda data: table.decode("Empty", data),
            response_serializer=lambda message: table.encode("ListAndWatchResponse", message),
        )
        self._changed, self._left = asyncio.Event(), False
        server = grpc.aio.server()
        handler = grpc.method_handlers_generic_handler("v1beta1.DevicePlugin", calls)
        server.add_generic_rpc_handlers((handler,))
        server.add_insecure_port(f"unix://{self.folder / endpoint}")
        await server.start()
        try:
            await self.register(endpoint)
            yield
        finally:
            self._left = True
            self._changed.set()
            await server.stop(0)

    async def register(self, endpoint: str = "widget.sock", version: str = "v1beta1") -> None:
        """Register with the kubelet; raises CriError where it refuses."""
        kubelet = Connection(str(self.folder / "kubelet.sock"), device_messages.codec)
        request = {"version": version, "endpoint": endpoint, "resource_name": self.resource}
        if self.options:
            request["options"] = self.options  # type: ignore[assignment]
        try:
            await kubelet.ask(
                "/v1beta1.Registration/Register", ("RegisterRequest", request), "Empty"
            )
        finally:
            await kubelet.aclose()

    async def _list_and_watch(self, _request: Any, _context: Any) -> AsyncIterator[Any]:
        while not self._left:
            self._changed.clear()
            yield {"devices": self.devices}
            await self._changed.wait()

    def _answering(self, call: str) -> Any:
        async def answer(request: Any, context: Any) -> Mapping[str, Any]:
            self.log.append((call, request))
            if call in self.failures:
                await context.abort(grpc.StatusCode.UNKNOWN, self.failures[call])
            if call == "GetPreferredAllocation":
                return {"container_responses": [{"deviceIDs": self.preferred}]}
            if call == "PreStartContainer":
                return {}
            asked = request["container_requests"][0]["devices_ids"]
            given = {"envs": {"WIDGETS": ",".join(asked)}, **self.answer}
            return {"container_responses": [given]}

        return answer


class DraDriverDouble:
    """Answers as a DRA driver does; each request of a claim has one device of its name."""

    def __init__(self, endpoint: Path, devices: Callable[[str], list[Device]]) -> None:
        """Take what a claim is given, by its uid."""
        self.endpoint = endpoint
        self.versions = ["v1.DRAPlugin", "v1beta1.DRAPlugin"]
        self.registered: list[dict[str, Any]] = []
        self.log: list[tuple[str, list[str]]] = []
        """Calls and the names of the claims."""
        self.failures: dict[str, str] = {}
        """Call -> error of each claim."""
        self._devices = devices
        self.health: dict[str, Any] | None = None
        """What it tells of its devices, as a DeviceHealth; None where it tells nothing."""
        self._told = asyncio.Event()

    def tell_health(self, **told: Any) -> None:
        """Tell how well a device is; only in the driver's own loop."""
        self.health = told
        self._told.set()

    async def _watch_health(self, _request: Any, _context: Any) -> AsyncIterator[Any]:
        while self.health is not None:
            self._told.clear()
            yield {"devices": [self.health]}
            await self._told.wait()

    def calls(self) -> list[str]:
        """Return the names of the calls, in order."""
        return [name for name, _ in self.log]

    @contextlib.asynccontextmanager
    async def serving(self, registry: Path) -> AsyncIterator[None]:
        """Serve, and register by a socket in the folder."""
        table, registration = dra_messages.codec(), registration_messages.codec()
        calls = {
            name: unary(table, f"{name}Request", f"{name}Response", self._answering(name))
            for name in ("NodePrepareResources", "NodeUnprepareResources")
        }
        own = {
            "GetInfo": unary(registration, "InfoRequest", "PluginInfo", self._info),
            "NotifyRegistrationStatus": unary(
                registration, "RegistrationStatus", "RegistrationStatusResponse", self._notified
            ),
        }
        server = grpc.aio.server()
        services: dict[str, Any] = {"pluginregistration.Registration": own}
        for version in ("v1", "v1beta1"):
            services[f"k8s.io.kubelet.pkg.apis.dra.{version}.DRAPlugin"] = calls
        if self.health is not None:
            services["v1alpha1.DRAResourceHealth"] = {
                "NodeWatchResources": grpc.unary_stream_rpc_method_handler(
                    self._watch_health,
                    request_deserializer=lambda data: table.decode(
                        "NodeWatchResourcesRequest", data
                    ),
                    response_serializer=lambda message: table.encode(
                        "NodeWatchResourcesResponse", message
                    ),
                )
            }
        for service, found in services.items():
            handler = grpc.method_handlers_generic_handler(service, found)
            server.add_generic_rpc_handlers((handler,))
        for path in (self.endpoint, registry / "dra.sock"):
            server.add_insecure_port(f"unix://{path}")
        self._told = asyncio.Event()
        await server.start()
        try:
            yield
        finally:
            self.health = None
            self._told.set()
            await server.stop(0)

    async def _info(self, _request: Any, _context: Any) -> Mapping[str, Any]:
        found = {"type": "DRAPlugin", "name": DRIVER, "endpoint": str(self.endpoint)}
        return {**found, "supported_versions": self.versions}

    async def _notified(self, request: Any, _context: Any) -> Mapping[str, Any]:
        self.registered.append(request)
        return {}

    def _answering(self, call: str) -> Any:
        async def answer(request: Any, _context: Any) -> Mapping[str, Any]:
            claims = request.get("claims") or []
            self.log.append((call, [claim["name"] for claim in claims]))
            if call in self.failures:
                error = {"error": self.failures[call]}
                return {"claims": {claim["uid"]: error for claim in claims}}
            prepares = call == "NodePrepareResources"
            return {
                "claims": {
                    claim["uid"]: {"devices": self._devices(claim["uid"])} if prepares else {}
                    for claim in claims
                }
            }

        return answer


@contextlib.contextmanager
def beside(serving: Callable[[], Any]) -> Iterator[asyncio.AbstractEventLoop]:
    """Run `serving()` (an async context manager) in a thread for the length of the block."""
    loop, begun, ended = asyncio.new_event_loop(), threading.Event(), asyncio.Event()
    failed: list[BaseException] = []

    async def serve() -> None:
        try:
            async with serving():
                begun.set()
                await ended.wait()
        except BaseException as error:
            failed.append(error)
            begun.set()
            raise

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),))
    thread.start()
    try:
        assert begun.wait(30), "a plugin did not begin"
        assert not failed, failed
        yield loop
    finally:
        if not failed:
            loop.call_soon_threadsafe(ended.set)
        thread.join(30)
        loop.close()
