"""Images: the ImageService of CRI v1 as thin typed functions."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from minikube_py.agent.cri.connection import CALL_TIMEOUT_SECONDS, Connection

SERVICE = "runtime.v1.ImageService"
PULL_TIMEOUT_SECONDS = 3600.0
"""containerd gives up by itself when a pull makes no progress; this bounds a slow one."""


@dataclass(frozen=True, kw_only=True)
class Image:
    """An image on this node."""

    id: str
    tags: tuple[str, ...] = ()
    digests: tuple[str, ...] = ()
    size_bytes: int = 0
    uid: int | None = None
    """The numeric user of the image, where it has one."""
    username: str = ""
    pinned: bool = False


def _image(message: Mapping[str, Any]) -> Image:
    uid = message.get("uid")
    return Image(
        id=message.get("id", ""),
        tags=tuple(message.get("repo_tags") or ()),
        digests=tuple(message.get("repo_digests") or ()),
        size_bytes=message.get("size", 0),
        uid=None if uid is None else uid.get("value", 0),
        username=message.get("username", ""),
        pinned=message.get("pinned", False),
    )


class Images:
    """The calls; every one raises a child of CriError."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def _call(
        self,
        method: str,
        request: Mapping[str, Any],
        timeout_seconds: float = CALL_TIMEOUT_SECONDS,
    ) -> dict[str, Any]:
        return await self._connection.call(
            SERVICE, method, request, timeout_seconds=timeout_seconds
        )

    async def status(self, image: str) -> Image | None:
        """Return an image by name or id, or None where it is not here."""
        answer = await self._call("ImageStatus", {"image": {"image": image}})
        message = answer.get("image")
        return _image(message) if message else None

    async def list_all(self) -> list[Image]:
        """Return all images."""
        answer = await self._call("ListImages", {})
        return [_image(message) for message in answer.get("images") or ()]

    async def pull(
        self,
        image: str,
        auth: Mapping[str, str] | None = None,
        sandbox_config: Mapping[str, Any] | None = None,
    ) -> str:
        """Fetch an image from its registry; return its reference on this node."""
        request = {"image": {"image": image}, "auth": auth, "sandbox_config": sandbox_config}
        return str((await self._call("PullImage", request, PULL_TIMEOUT_SECONDS))["image_ref"])

    async def remove(self, image: str) -> None:
        """Remove an image with all its tags; may be repeated."""
        await self._call("RemoveImage", {"image": {"image": image}})

    async def filesystems(self) -> list[tuple[str, int]]:
        """Return the mount points that images lie on, with the bytes that they use."""
        answer = await self._call("ImageFsInfo", {})
        return [
            (
                (usage.get("fs_id") or {}).get("mountpoint", ""),
                (usage.get("used_bytes") or {}).get("value", 0),
            )
            for usage in answer.get("image_filesystems") or ()
        ]
