"""Plugins register themselves: a socket in a folder that the kubelet follows.

Behind the socket somebody answers what is offered under which name and where; a `Kind` takes up
what is of its type: drivers of CSI and of DRA, device plugins. A socket that goes takes its plugin
along. The protocol is k8s.io/kubelet/pkg/apis/pluginregistration/v1.
"""

import contextlib
import logging
import stat
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

from minikube_py.agent.cri.connection import Connection
from minikube_py.agent.cri.errors import CriError
from minikube_py.agent.kubelet.plugins.messages import codec
from minikube_py.lib.backoff import Backoff
from minikube_py.lib.clock import Clock
from minikube_py.lib.fsutil import make_dir
from minikube_py.lib.inotify import Inotify

log = logging.getLogger(__name__)
SERVICE = "/pluginregistration.Registration/"
RETRY = Backoff(first_seconds=0.5, max_seconds=120.0)
"""As upstream's plugin manager waits."""


class Socket(NamedTuple):
    """A socket in the folder; one that was made anew under its name is another."""

    path: Path
    inode: int
    made: int


class Plugin(NamedTuple):
    """A plugin as it presents itself."""

    name: str
    endpoint: str
    """The path of the socket that it serves."""
    versions: Sequence[str]
    socket: Socket
    """The one that it registered by."""


class Kind(Protocol):
    """Who takes up plugins of one type."""

    async def accept(self, plugin: Plugin) -> str:
        """Take a plugin up; return why it cannot be used, "" where it can."""

    async def forget(self, plugin: Plugin) -> bool:
        """Let a plugin go; tell whether that was done, or is to be tried again."""


class Registration:
    """The plugins of this node."""

    def __init__(self, folder: Path, kinds: Mapping[str, Kind], clock: Clock) -> None:
        """Take the folder of sockets, and who takes up which type."""
        self._folder = folder
        self._kinds = kinds
        self._clock = clock
        self._plugins: dict[Socket, tuple[Kind, Plugin]] = {}
        self._others: set[Socket] = set()
        """Plugins of types that nobody takes up."""
        self._failures = 0

    async def run(self) -> None:
        """Follow the folder, for ever; what failed is tried again, later each time."""
        make_dir(self._folder, 0o750)
        with contextlib.closing(Inotify()) as notify, notify.folder(self._folder) as changed:
            while True:
                changed.clear()  # before the look: what changes during it is looked at, too
                done = await self.look()
                self._failures = 0 if done else self._failures + 1
                timer = None
                if not done:
                    wait = RETRY.wait_seconds(self._failures)
                    timer = self._clock.call_later(wait, changed.set)
                await changed.wait()
                if timer is not None:
                    timer.cancel()

    async def look(self) -> bool:
        """Take up plugins that came, forget those that went; tell whether all went well."""
        there = set(_sockets(self._folder))
        done = True
        for socket, (kind, plugin) in tuple(self._plugins.items()):
            if socket in there:
                continue
            if await kind.forget(plugin):
                del self._plugins[socket]
            else:
                done = False
        self._others &= there
        for socket in sorted(there - self._plugins.keys() - self._others):
            done = await self._register(socket) and done
        return done

    async def _register(self, socket: Socket) -> bool:
        connection = Connection(str(socket.path), codec)
        try:
            found = await connection.ask(SERVICE + "GetInfo", ("InfoRequest", {}), "PluginInfo")
            kind = self._kinds.get(found.get("type", ""))
            if kind is None:
                self._others.add(socket)
                return True
            plugin = Plugin(
                str(found.get("name", "")),
                str(found.get("endpoint") or socket.path),
                tuple(found.get("supported_versions") or ()),
                socket,
            )
            error = await kind.accept(plugin)
            if not error:
                self._plugins[socket] = (kind, plugin)
            status = {"plugin_registered": not error, "error": error}
            request = ("RegistrationStatus", status)
            answer = "RegistrationStatusResponse"
            await connection.ask(SERVICE + "NotifyRegistrationStatus", request, answer)
        except CriError as error:
            log.warning("plugin not registered socket=%s error=%s", socket.path.name, error)
            return False
        finally:
            await connection.aclose()
        return not error


def _sockets(folder: Path) -> Iterator[Socket]:
    for path in folder.iterdir():
        try:
            found = path.stat()
        except FileNotFoundError:
            continue
        if stat.S_ISSOCK(found.st_mode):
            yield Socket(path, found.st_ino, found.st_ctime_ns)
