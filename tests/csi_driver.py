"""A CSI driver that registers itself: directories for volumes, and a word for every call."""

import contextlib
import os
import stat
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

from minikube_py.agent.kubelet.csi.messages import codec
from minikube_py.agent.kubelet.plugins.messages import codec as registration_codec
from minikube_py.lib.protowire import Codec

os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")
import grpc
import grpc.aio

NAME = "fake.example.com"
CALLS = {
    "NodeGetInfo": "csi.v1.Node",
    "NodeGetCapabilities": "csi.v1.Node",
    "NodeStageVolume": "csi.v1.Node",
    "NodeUnstageVolume": "csi.v1.Node",
    "NodePublishVolume": "csi.v1.Node",
    "NodeUnpublishVolume": "csi.v1.Node",
    "NodeExpandVolume": "csi.v1.Node",
    "NodeGetVolumeStats": "csi.v1.Node",
}


class FakeDriver:
    """Answers as a driver does; `failures` names calls that fail, with their words."""

    def __init__(self, endpoint: Path, capabilities: tuple[int, ...] = (1,)) -> None:
        self.endpoint = endpoint
        self.capabilities = capabilities
        self.kind = "CSIPlugin"
        self.log: list[tuple[str, dict[str, Any]]] = []
        self.registered: list[dict[str, Any]] = []
        self.failures: dict[str, str] = {}

    def verbs(self) -> list[str]:
        """Return the calls about volumes, in order."""
        return [name for name, _ in self.log if name.endswith("Volume")]

    def said(self, name: str) -> dict[str, Any]:
        """Return the last request of a call."""
        return [request for call, request in self.log if call == name][-1]

    def handlers(self) -> Any:
        methods: dict[str, dict[str, Any]] = {"csi.v1.Node": {}}
        for call, service in CALLS.items():
            methods[service][call] = _handler(
                f"{call}Request", f"{call}Response", self._answering(call), codec()
            )
        methods["pluginregistration.Registration"] = {
            "GetInfo": _handler("InfoRequest", "PluginInfo", self._info, registration_codec()),
            "NotifyRegistrationStatus": _handler(
                "RegistrationStatus",
                "RegistrationStatusResponse",
                self._notified,
                registration_codec(),
            ),
        }
        return tuple(
            grpc.method_handlers_generic_handler(service, found)
            for service, found in methods.items()
        )

    async def _info(self, _request: Any, _context: Any) -> Mapping[str, Any]:
        versions = ["1.0.0"]
        found = {"type": self.kind, "name": NAME, "endpoint": str(self.endpoint)}
        return {**found, "supported_versions": versions}

    async def _notified(self, request: Any, _context: Any) -> Mapping[str, Any]:
        self.registered.append(request)
        return {}

    def _answering(self, call: str) -> Any:
        async def answer(request: Any, context: Any) -> Mapping[str, Any]:
            self.log.append((call, request))
            if call in self.failures:
                await context.abort(grpc.StatusCode.INTERNAL, self.failures[call])
            return self._carried_out(call, request)

        return answer

    def _carried_out(self, call: str, request: Any) -> Mapping[str, Any]:
        if call == "NodeGetInfo":
            topology = {"segments": {"topology.example.com/zone": "z1"}}
            return {"node_id": "id-1", "max_volumes_per_node": 7, "accessible_topology": topology}
        if call == "NodeGetCapabilities":
            return {"capabilities": [{"rpc": {"type": one}} for one in self.capabilities]}
        if call == "NodePublishVolume" and "block" in request["volume_capability"]:
            _show_device(Path(request["target_path"]), request.get("volume_context") or {})
        elif call == "NodePublishVolume":
            Path(request["target_path"]).mkdir(exist_ok=True)
        if call == "NodeUnpublishVolume":
            _take_away(Path(request["target_path"]))
        if call == "NodeGetVolumeStats":
            usage = {"total": 100, "available": 60, "used": 40, "unit": "BYTES"}
            return {"usage": [usage, {"total": 10, "available": 9, "used": 1, "unit": "INODES"}]}
        return {}


def _show_device(target: Path, attributes: Mapping[str, str]) -> None:
    """Make a file, or the device whose numbers the volume names."""
    if numbers := attributes.get("device"):
        major, minor = (int(number) for number in numbers.split(":"))
        os.mknod(target, stat.S_IFBLK | 0o600, os.makedev(major, minor))
    else:
        target.touch()


def _take_away(target: Path) -> None:
    with contextlib.suppress(FileNotFoundError):
        if target.is_dir():
            target.rmdir()
        else:
            target.unlink()


def _handler(request: str, answer: str, behaviour: Any, table: Codec) -> Any:
    return grpc.unary_unary_rpc_method_handler(
        behaviour,
        request_deserializer=lambda data: table.decode(request, data),
        response_serializer=lambda message: table.encode(answer, message),
    )


@contextlib.asynccontextmanager
async def serving(driver: FakeDriver, registry: Path) -> AsyncIterator[Path]:
    """Serve a driver on its own socket, and register it by one more; yields the latter."""
    server = grpc.aio.server()
    server.add_generic_rpc_handlers(driver.handlers())
    socket = registry / "f.sock"  # short: a path of a socket has 107 characters at most
    for path in (driver.endpoint, socket):
        server.add_insecure_port(f"unix://{path}")
    await server.start()
    try:
        yield socket
    finally:
        await server.stop(0)
