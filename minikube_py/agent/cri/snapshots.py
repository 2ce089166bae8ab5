"""Read-only views of images, from containerd's own snapshot and lease services.

CRI cannot show an image to anybody but a container before its version of Kubernetes 1.31, and
containerd 1.6 speaks an older one. Its own services listen on the same socket: a view is a snapshot
on top of an image's layers, and a lease of the same name keeps it from being collected. Both are
made again without harm, so a start that was cut short is simply repeated.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from minikube_py.agent.cri.connection import Connection
from minikube_py.agent.cri.errors import CriError, CriNotFoundError

SNAPSHOTS = "/containerd.services.snapshots.v1.Snapshots"
LEASES = "/containerd.services.leases.v1.Leases"
NAMESPACE = ("containerd-namespace", "k8s.io")
PREFIX = "kpy-volume-"
EXISTS = "ALREADY_EXISTS"
PLUGIN = "io.containerd.snapshotter.v1."


class Layers(NamedTuple):
    """One mount that shows a view."""

    kind: str
    """overlay or bind."""
    source: str
    options: Sequence[str]


def chain_id(diff_ids: Sequence[str]) -> str:
    """Return the name of an image's topmost layer (OCI image-spec, config.md, Layer ChainID)."""
    chain = diff_ids[0]
    for one in diff_ids[1:]:
        chain = f"sha256:{hashlib.sha256(f'{chain} {one}'.encode()).hexdigest()}"
    return chain


def layers_of(info: Mapping[str, str]) -> Sequence[str]:
    """Return the layers of an image from the runtime's own words on it; raises CriError."""
    try:
        found = json.loads(info["info"])["imageSpec"]["rootfs"]["diff_ids"]
    except (KeyError, TypeError, ValueError):
        found = ()
    if not found:
        raise CriError("the container runtime does not tell which layers the image has")
    return [str(one) for one in found]


class Snapshots:
    """The views of this node; every call raises a child of CriError."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._snapshotter = ""

    async def view(self, key: str, image: str) -> list[Layers]:
        """Have a view of an image that is here, under a key of its own; return how to mount it."""
        snapshotter = await self._find_snapshotter()
        parent = chain_id(layers_of(await self._info(image)))
        lease = {"id": PREFIX + key}
        await self._call(f"{LEASES}/Create", ("LeaseCreateRequest", lease), again=True)
        request = {"snapshotter": snapshotter, "key": PREFIX + key}
        wanted = ("ViewSnapshotRequest", {**request, "parent": parent})
        lease_of = ("containerd-lease", PREFIX + key)
        await self._call(f"{SNAPSHOTS}/View", wanted, metadata=(lease_of,), again=True)
        answer = await self._call(
            f"{SNAPSHOTS}/Mounts", ("SnapshotRequest", request), "SnapshotMountsResponse"
        )
        return [
            Layers(one.get("type", ""), one.get("source", ""), tuple(one.get("options") or ()))
            for one in answer.get("mounts") or ()
        ]

    async def remove(self, key: str) -> None:
        """Remove a view; may be repeated."""
        request = {"snapshotter": await self._find_snapshotter(), "key": PREFIX + key}
        for path, wanted in (
            (f"{SNAPSHOTS}/Remove", ("SnapshotRequest", request)),
            (f"{LEASES}/Delete", ("LeaseDeleteRequest", {"id": PREFIX + key})),
        ):
            try:
                await self._call(path, wanted)
            except CriNotFoundError:
                continue

    async def keys(self) -> list[str]:
        """Return the keys of all views."""
        wanted = ("LeaseListRequest", {"filters": [f'id~="^{PREFIX}"']})
        answer = await self._call(f"{LEASES}/List", wanted, "LeaseListResponse")
        ids = (str(one.get("id", "")) for one in answer.get("leases") or ())
        return [one.removeprefix(PREFIX) for one in ids if one.startswith(PREFIX)]

    async def _call(
        self,
        path: str,
        request: tuple[str, Mapping[str, Any]],
        answer: str = "EmptyResponse",
        *,
        metadata: tuple[tuple[str, str], ...] = (),
        again: bool = False,
    ) -> dict[str, Any]:
        """Call; `again` means that what is there already is as good as made."""
        try:
            return await self._connection.ask(path, request, answer, (NAMESPACE, *metadata))
        except CriError as error:
            if again and error.code == EXISTS:
                return {}
            raise

    async def _info(self, image: str) -> Mapping[str, str]:
        request = {"image": {"image": image}, "verbose": True}
        answer = await self._connection.call("runtime.v1.ImageService", "ImageStatus", request)
        found: Mapping[str, str] = answer.get("info") or {}
        return found

    async def _find_snapshotter(self) -> str:
        """Return the snapshotter that images lie in, as the folder of images is named after it."""
        if not self._snapshotter:
            answer = await self._connection.call("runtime.v1.ImageService", "ImageFsInfo", {})
            self._snapshotter = next(_snapshotters(answer), "")
        if not self._snapshotter:
            raise CriError("volumes of images need containerd as container runtime")
        return self._snapshotter


def _snapshotters(answer: Mapping[str, Any]) -> Iterator[str]:
    for usage in answer.get("image_filesystems") or ():
        name = Path((usage.get("fs_id") or {}).get("mountpoint", "")).name
        if name.startswith(PLUGIN):
            yield name.removeprefix(PLUGIN)
