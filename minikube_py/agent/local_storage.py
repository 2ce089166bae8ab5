"""The volumes on this node's disk: says how much room there is, removes what nobody wants.

A folder is made by the kubelet when a pod first mounts it. It is removed when the Node says so:
renamed first, so that no mount can find half of it, then emptied. What was removed is only said of
volumes that are still listed as unwanted, so both lists end empty; a crash at any point leads to
the same look again. See api/local_storage.py for what the two sides tell each other.
"""

import asyncio
import logging
import os
import shutil
from collections.abc import Iterable
from pathlib import Path

from minikube_py.agent.kubelet.volumes.mounts import points_below, unmount
from minikube_py.api.core import NODES
from minikube_py.api.errors import StatusError
from minikube_py.api.item import Item
from minikube_py.api.local_storage import OFFER, Offer, offer_of, unwanted_of
from minikube_py.api.object import Key
from minikube_py.client.informer import Informers
from minikube_py.client.protocol import Client
from minikube_py.client.watcher import Selection
from minikube_py.lib.clock import Clock
from minikube_py.lib.fsutil import make_dir

log = logging.getLogger(__name__)
LOOK_SECONDS = 60.0
"""No file system tells of the room it has left; it has to be asked."""
COARSE = 100
"""Room is told anew when it has changed by a part of this many of the whole."""
GOING = ".going-"
"""Begins the names of folders that are being removed."""


class LocalStorage:
    """One node's folder of volumes."""

    def __init__(
        self, root: Path, node: str, client: Client, informers: Informers, clock: Clock
    ) -> None:
        self.root = root
        self._node = node
        self._client = client
        self._informers = informers
        self._clock = clock
        self._changed = asyncio.Event()

    async def run(self) -> None:
        """Keep the offer true and the folder clean, for ever."""
        nodes = self._informers.get(NODES, Selection(field_selector=f"metadata.name={self._node}"))
        await nodes.wait_synced()
        await asyncio.to_thread(self.prepare)

        def notice(old: Item | None, new: Item | None) -> None:
            if new is not None and new.key.name == self._node and _asked(old) != _asked(new):
                self._changed.set()

        unsubscribe = nodes.subscribe(notice)
        try:
            while True:
                self._changed.clear()
                node = nodes.get(Key("", self._node))
                if node is not None:
                    await self._look(unwanted_of(node), offer_of(node))
                await self._rest()
        finally:
            unsubscribe()

    async def _rest(self) -> None:
        timer = self._clock.call_later(LOOK_SECONDS, self._changed.set)
        try:
            await self._changed.wait()
        finally:
            timer.cancel()

    async def _look(self, unwanted: frozenset[str], told: Offer | None) -> None:
        removed = await asyncio.to_thread(self.remove, unwanted)
        offer = self.offer(removed)
        if told is not None and not _differs(told, offer):
            return
        patch = {"metadata": {"annotations": {OFFER: offer.text()}}}
        try:
            await self._client.patch(NODES, self._node, patch)
        except StatusError as error:
            log.warning("local storage not told, trying again later error=%s", error)

    def prepare(self) -> None:
        """Make the folder, and finish removals that a crash interrupted."""
        make_dir(self.root, 0o711)
        for entry in os.scandir(self.root):
            if entry.name.startswith(GOING):
                _empty(Path(entry.path))

    def offer(self, removed: Iterable[str] = ()) -> Offer:
        """Return what there is for volumes now."""
        found = os.statvfs(self.root)
        return Offer(
            path=str(self.root),
            total=found.f_frsize * found.f_blocks,
            available=found.f_frsize * found.f_bavail,
            removed=tuple(sorted(removed)),
        )

    def remove(self, names: Iterable[str]) -> list[str]:
        """Remove the data of volumes; return those of which nothing is left."""
        return [name for name in names if self._remove(name)]

    def _remove(self, name: str) -> bool:
        if not name or name.startswith(".") or "/" in name:
            return False  # no name of a volume
        folder, going = self.root / name, self.root / f"{GOING}{name}"
        try:
            for point in points_below(folder):
                unmount(point)
            if not going.exists() and folder.exists():
                folder.rename(going)
        except OSError as error:
            log.warning("volume not removed volume=%s error=%s", name, error.strerror)
            return False
        gone = _empty(going) and not folder.exists()
        if gone:
            log.info("volume removed volume=%s", name)
        return gone


def _empty(folder: Path) -> bool:
    """Remove a folder with all in it; tell whether it is gone. Links are not followed."""
    shutil.rmtree(folder, ignore_errors=True)
    return not folder.exists()


def _asked(item: Item | None) -> object:
    return None if item is None else (unwanted_of(item.obj), offer_of(item.obj) is None)


def _differs(told: Offer, offer: Offer) -> bool:
    """Tell whether the cluster should know of the difference."""
    before = (told.path, told.total, told.removed)
    if before != (offer.path, offer.total, offer.removed):
        return True
    return abs(told.available - offer.available) > offer.total // COARSE
