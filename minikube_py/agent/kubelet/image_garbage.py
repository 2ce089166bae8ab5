"""Images that no container uses go when their disk is nearly full, the longest unused first.

Above the high mark images are removed until the low mark is reached. An image that has only just
come stays for a while, for somebody may be about to use it; pinned ones stay for ever. When an
image was used last is remembered from look to look only: after a restart all are as old as that.
"""

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from minikube_py.agent.cri.errors import CriError
from minikube_py.agent.cri.images import Image, Images
from minikube_py.agent.cri.runtime import Container
from minikube_py.agent.kubelet.stats.disk import Space
from minikube_py.lib.clock import Clock

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class ImagePolicy:
    """When images are removed."""

    high_percent: int = 85
    low_percent: int = 80
    age_seconds: float = 120.0
    """An image that has been here for less stays."""
    kept: frozenset[str] = frozenset()
    """Names of images that stay for ever: that of the sandboxes."""


@dataclass(frozen=True)
class ImageRecord:
    """What is known of an image."""

    image: Image
    found: float
    """When it was first seen."""
    used: float
    """When it was last seen in use; 0 for never."""


Records = Mapping[str, ImageRecord]


def noted(
    records: Records, images: Iterable[Image], in_use: frozenset[str], now: float
) -> dict[str, ImageRecord]:
    """Return the records of the images that are there now."""
    made = {}
    for image in images:
        before = records.get(image.id)
        found = before.found if before is not None else now
        used = now if is_used(image, in_use) else before.used if before is not None else 0.0
        made[image.id] = ImageRecord(image, found, used)
    return made


def is_used(image: Image, in_use: frozenset[str]) -> bool:
    """Tell whether a container is made of an image, by any of its names."""
    return not in_use.isdisjoint((image.id, *image.tags, *image.digests))


def removable(
    records: Records, in_use: frozenset[str], now: float, age_seconds: float
) -> Iterator[ImageRecord]:
    """Yield the images that may go, the longest unused first."""
    order = sorted(records.values(), key=lambda one: (one.used, one.found, one.image.id))
    for one in order:
        young = now - one.found < age_seconds
        if not one.image.pinned and not young and not is_used(one.image, in_use):
            yield one


def bytes_to_free(space: Space, policy: ImagePolicy) -> int:
    """Return how much has to go; 0 where the disk is not too full."""
    if not space.capacity or space.used * 100 < policy.high_percent * space.capacity:
        return 0
    return space.used - space.capacity * policy.low_percent // 100


class ImageGarbage:
    """Removes images."""

    def __init__(self, images: Images, clock: Clock, policy: ImagePolicy) -> None:
        self._images = images
        self._clock = clock
        self._policy = policy
        self._records: dict[str, ImageRecord] = {}

    async def note(self, containers: Sequence[Container]) -> frozenset[str]:
        """Take note of what is there and what is used; raises CriError."""
        names = (name for one in containers for name in (one.image, one.image_ref))
        in_use = self._policy.kept | {name for name in names if name}
        now = self._clock.monotonic()
        self._records = noted(self._records, await self._images.list_all(), in_use, now)
        return in_use

    async def collect(self, containers: Sequence[Container], space: Space | None) -> str:
        """Remove images where the disk is too full; return what is wrong where that was not enough.

        Raises CriError.
        """
        in_use = await self.note(containers)
        wanted = bytes_to_free(space, self._policy) if space is not None else 0
        if wanted <= 0 or space is None:
            return ""
        freed = await self._remove(in_use, wanted, self._policy.age_seconds)
        if freed >= wanted:
            return ""
        return (
            f"Failed to garbage collect required amount of images. Attempted to free {wanted} "
            f"bytes, but only found {freed} bytes eligible to free."
        )

    async def remove_unused(self, containers: Sequence[Container]) -> int:
        """Remove every image that is not used, but young ones; return how many bytes that gave."""
        in_use = await self.note(containers)
        return await self._remove(in_use, None, self._policy.age_seconds)

    async def _remove(self, in_use: frozenset[str], wanted: int | None, age: float) -> int:
        freed = 0
        for one in list(removable(self._records, in_use, self._clock.monotonic(), age)):
            if wanted is not None and freed >= wanted:
                break
            try:
                await self._images.remove(one.image.id)
            except CriError as error:
                log.warning("image not removed image=%s error=%s", one.image.id, error)
                continue
            log.info("image removed, nobody uses it image=%s bytes=%d", one.image.tags or
                     one.image.id, one.image.size_bytes)  # fmt: skip
            self._records.pop(one.image.id, None)
            freed += one.image.size_bytes
        return freed
