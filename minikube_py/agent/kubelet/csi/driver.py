"""One CSI driver on this node: the calls of its Node service."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from minikube_py.agent.cri.connection import Connection
from minikube_py.agent.kubelet.csi.messages import codec
from minikube_py.api.object import Obj, get

SERVICE = "/csi.v1.Node/"
STAGES, MEASURES, EXPANDS, MANY_WRITERS, MOUNT_GROUP = 1, 2, 3, 5, 6
"""Capabilities of a node service: STAGE_UNSTAGE_VOLUME, GET_VOLUME_STATS, EXPAND_VOLUME,
SINGLE_NODE_MULTI_WRITER and VOLUME_MOUNT_GROUP."""
MODES = {
    "ReadWriteOnce": "SINGLE_NODE_WRITER",
    "ReadOnlyMany": "MULTI_NODE_READER_ONLY",
    "ReadWriteMany": "MULTI_NODE_MULTI_WRITER",
    "ReadWriteOncePod": "SINGLE_NODE_WRITER",
}
MODES_OF_ONE = {
    "ReadWriteOnce": "SINGLE_NODE_MULTI_WRITER",
    "ReadWriteOncePod": "SINGLE_NODE_SINGLE_WRITER",
}
"""What drivers are told that know the difference between one node and one pod."""


@dataclass(frozen=True, kw_only=True)
class NodeInfo:
    """What a driver says of this node."""

    node_id: str
    volumes_max: int = 0
    """0: as many as one likes."""
    topology: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class Use:
    """How a volume is used."""

    mode: str
    """As Kubernetes calls it: ReadWriteOnce and so on."""
    fs_type: str = ""
    mount_options: Sequence[str] = ()
    group: int | None = None
    """fsGroup; passed on to drivers that see to it themselves."""
    read_only: bool = False
    is_block: bool = False
    """Whether pods see a block device instead of files."""


@dataclass(frozen=True)
class Usage:
    """How much of something a volume has."""

    total: int = 0
    available: int = 0
    used: int = 0


class Driver:
    """A driver that has registered itself."""

    def __init__(self, name: str, endpoint: str) -> None:
        self.name = name
        self.endpoint = endpoint
        self._connection = Connection(endpoint, codec)
        self._capabilities: frozenset[int] | None = None

    async def _call(
        self, method: str, request: Mapping[str, Any], answer: str = ""
    ) -> dict[str, Any]:
        """Return the answer of a call; raises CriError with the driver's words."""
        message = (f"{method}Request", request)
        return await self._connection.ask(SERVICE + method, message, answer or f"{method}Response")

    async def info(self) -> NodeInfo:
        """Ask the driver what it calls this node; raises CriError."""
        found = await self._call("NodeGetInfo", {})
        return NodeInfo(
            node_id=str(found.get("node_id", "")),
            volumes_max=int(found.get("max_volumes_per_node", 0)),
            topology=get(found, "accessible_topology.segments") or {},
        )

    async def can(self, capability: int) -> bool:
        """Tell whether the driver has a capability; asked once. Raises CriError."""
        if self._capabilities is None:
            found = await self._call("NodeGetCapabilities", {})
            listed: Sequence[Obj] = found.get("capabilities") or ()
            self._capabilities = frozenset(int(get(one, "rpc.type", 0)) for one in listed)
        return capability in self._capabilities

    async def stage(
        self, volume: Mapping[str, Any], path: Path, use: Use, secrets: Mapping[str, str]
    ) -> None:
        """Have a volume made ready for all pods of this node; raises CriError."""
        request = {
            **volume,
            "staging_target_path": str(path),
            "volume_capability": await self._capability(use),
            "secrets": secrets,
        }
        await self._call("NodeStageVolume", request)

    async def publish(
        self,
        volume: Mapping[str, Any],
        paths: tuple[Path | None, Path],
        use: Use,
        secrets: Mapping[str, str],
    ) -> None:
        """Have a volume mounted for one pod; `paths` are where it is staged, and the target.

        Raises:
            CriError: the driver refused.

        """
        staged, target = paths
        request = {
            **volume,
            "staging_target_path": "" if staged is None else str(staged),
            "target_path": str(target),
            "volume_capability": await self._capability(use),
            "readonly": use.read_only,
            "secrets": secrets,
        }
        await self._call("NodePublishVolume", request)

    async def unpublish(self, handle: str, target: Path) -> None:
        """Have a volume unmounted for one pod; raises CriError."""
        request = {"volume_id": handle, "target_path": str(target)}
        await self._call("NodeUnpublishVolume", request)

    async def unstage(self, handle: str, path: Path) -> None:
        """Have a volume let go that no pod of this node uses any more; raises CriError."""
        request = {"volume_id": handle, "staging_target_path": str(path)}
        await self._call("NodeUnstageVolume", request)

    async def expand(
        self, handle: str, paths: tuple[Path | None, Path], use: Use, size_bytes: int
    ) -> None:
        """Have the file system of a volume grown to its new size; raises CriError."""
        staged, target = paths
        request = {
            "volume_id": handle,
            "volume_path": str(target),
            "staging_target_path": "" if staged is None else str(staged),
            "capacity_range": {"required_bytes": size_bytes},
            "volume_capability": await self._capability(use),
        }
        await self._call("NodeExpandVolume", request)

    async def usage(self, handle: str, paths: tuple[Path | None, Path]) -> Mapping[str, Usage]:
        """Return how full a volume is, by unit: BYTES, INODES; raises CriError."""
        staged, target = paths
        request = {
            "volume_id": handle,
            "volume_path": str(target),
            "staging_target_path": "" if staged is None else str(staged),
        }
        found = await self._call("NodeGetVolumeStats", request)
        return {
            str(one.get("unit", "UNKNOWN")): Usage(
                int(one.get("total", 0)), int(one.get("available", 0)), int(one.get("used", 0))
            )
            for one in found.get("usage") or ()
        }

    async def _capability(self, use: Use) -> dict[str, Any]:
        modes = {**MODES, **MODES_OF_ONE} if await self.can(MANY_WRITERS) else MODES
        access = {"mode": modes.get(use.mode, "UNKNOWN")}
        if use.is_block:
            return {"block": {}, "access_mode": access}
        mount: dict[str, Any] = {"fs_type": use.fs_type, "mount_flags": list(use.mount_options)}
        if use.group is not None and await self.can(MOUNT_GROUP):
            mount["volume_mount_group"] = str(use.group)
        return {"mount": mount, "access_mode": access}

    async def aclose(self) -> None:
        """Close the connection."""
        await self._connection.aclose()
