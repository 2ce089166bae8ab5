"""Removes what a containerd that was killed left half made.

The order makes it safe while pods come and go: first what there is, then the books. What is made in
between is not looked at, and what is unmade in between may be removed twice.
"""

import asyncio
import logging
import time
from collections.abc import Collection
from pathlib import Path

from minikube_py.agent.cri.connection import Connection
from minikube_py.agent.cri.errors import CriError
from minikube_py.agent.cri.records import Records
from minikube_py.agent.orphans import namespaces, sockets, tasks

log = logging.getLogger(__name__)


class Orphans:
    """The orphans of the containerd that keeps its files in `folder`."""

    def __init__(self, folder: Path, socket: Path) -> None:
        self._folder = folder
        self._socket = socket

    async def prepare(self) -> Collection[Path]:
        """Before a start: remove tasks that are half made; return what is to be looked at after."""
        for task in await asyncio.to_thread(tasks.half_made, self._folder):
            await asyncio.to_thread(tasks.remove, self._folder, self._socket, task)
        return namespaces.listed(self._folder / "state")

    def removed(self, sandbox: str) -> None:
        """Take note that a sandbox was removed: its shim may have been killed before."""
        sockets.forget(self._socket, sandbox)

    async def remove(self, before: Collection[Path] = ()) -> None:
        """Remove what is in no book: tasks, those of the namespaces from before a start, sockets.

        Raises:
            CriError: containerd does not tell; nothing was removed.

        """
        seen = await asyncio.to_thread(tasks.seen, self._folder, self._socket)
        await asyncio.to_thread(sockets.sweep, self._socket, seen, time.time())
        if not (seen or before):
            return
        connection = Connection(f"unix://{self._socket}")
        try:
            books = await Records(connection).containers()
        finally:
            await connection.aclose()
        try:
            unowned = namespaces.orphans(before, books.values())
        except ValueError:
            raise CriError("containerd does not tell of namespaces") from None
        for path in unowned:
            namespaces.remove(path)
        for task in sorted(seen - books.keys()):
            await asyncio.to_thread(tasks.remove, self._folder, self._socket, task)
