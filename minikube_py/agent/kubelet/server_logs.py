"""The part of the kubelet's server that shows logs: of containers and of the node."""

import asyncio
import contextlib
from collections.abc import Iterator, Sequence
from html import escape
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

from aiohttp import hdrs, web

from minikube_py.agent.cri.errors import CriError
from minikube_py.agent.cri.runtime import Container
from minikube_py.agent.kubelet import logs
from minikube_py.agent.kubelet.pod import find_spec
from minikube_py.agent.kubelet.server_host import Host, Target
from minikube_py.api.errors import BadRequestError, InvalidError, NotFoundError
from minikube_py.api.object import Key, Obj, get
from minikube_py.lib.clock import Clock
from minikube_py.lib.inotify import Inotify

LOG_ROOT = Path("/var/log")


class Logs:
    """Container logs, whole or followed, and the files below /var/log."""

    def __init__(self, host: Host, clock: Clock) -> None:
        self._host = host
        self._clock = clock
        self._inotify: Inotify | None = None
        self._following: dict[str, set[asyncio.Event]] = {}

    def container_changed(self, container_id: str) -> None:
        """Make those who follow this container's log look at its state again, at once."""
        for event in self._following.get(container_id, ()):
            event.set()

    async def container(self, request: web.BaseRequest, rest: Sequence[str]) -> web.StreamResponse:
        """Answer with the log of a container."""
        if len(rest) != 3:
            raise NotFoundError("404 page not found")
        namespace, name, container = rest
        try:
            options = logs.parse_options(request.query, self._clock.now())
        except ValueError:
            raise InvalidError('{"message": "Invalid request."}') from None
        pod = self._host.pods.get(Key(namespace, name))
        if pod is None:
            raise NotFoundError(f'pod "{name}" does not exist')
        if find_spec(pod, container) is None:
            raise NotFoundError(f'container "{container}" not found in pod "{name}"')
        previous = request.query.get("previous") in ("true", "1")
        found = await self._logged_container(Target(pod, container), previous=previous)
        return await self._send_log(request, found, options)

    async def _logged_container(self, target: Target, *, previous: bool) -> Container:
        containers = await self._host.runtime.list_containers(target.labels)
        containers.sort(key=lambda c: (c.attempt, c.created_at), reverse=True)
        # One that was created and never started has no log; the one before it has.
        begun = [c for c in containers if c.state != "created"]
        name = target.pod["metadata"]["name"]
        if previous:
            ended = [c for c in begun if c.state == "exited"]
            # While a container waits for its next start, the last one is the previous one.
            if ended and ended[0] is begun[0] and not _is_waiting(target):
                ended = ended[1:]
            if not ended:
                raise BadRequestError(
                    f'previous terminated container "{target.container}" in pod "{name}" not found'
                )
            return await self._host.runtime.container_status(ended[0].id)
        if not begun:
            raise BadRequestError(_why_no_log(target))
        return await self._host.runtime.container_status(begun[0].id)

    async def _send_log(
        self, request: web.BaseRequest, container: Container, options: logs.LogOptions
    ) -> web.StreamResponse:
        path = Path(container.log_path)
        try:
            await asyncio.to_thread(path.stat)
        except OSError as error:
            why = (error.strerror or "").lower()
            raise BadRequestError(f'failed to open log file "{path}": {why}') from error
        follower = _Follower(self, container.id) if options.follow else None
        answer = web.StreamResponse(headers={hdrs.CONTENT_TYPE: "text/plain"})
        await answer.prepare(request)
        try:
            async for part in logs.read_log(path, options, follower):
                await answer.write(part)
            await answer.write_eof()
        except OSError:
            # The status line is out: ending the connection says "incomplete".
            if request.transport is not None:
                request.transport.close()
        return answer

    async def node(self, request: web.BaseRequest, rest: Sequence[str]) -> web.StreamResponse:
        """Answer with a file below /var/log, or with the names in a folder."""
        path = await asyncio.to_thread(LOG_ROOT.joinpath(*rest).resolve)
        if not path.is_relative_to(LOG_ROOT) or not await asyncio.to_thread(path.exists):
            raise NotFoundError("404 page not found")
        if await asyncio.to_thread(path.is_file):
            file = web.FileResponse(path)
            await file.prepare(request)
            return file
        names = await asyncio.to_thread(lambda: sorted(_names(path)))
        links = "".join(f'<a href="{quote(name)}">{escape(name)}</a>\n' for name in names)
        return web.Response(text=f"<pre>\n{links}</pre>\n", content_type="text/html")

    @contextlib.contextmanager
    def follow(self, container_id: str, folder: Path) -> Iterator[asyncio.Event]:
        """Return an event that is set when the folder or the container changes."""
        if self._inotify is None:
            self._inotify = Inotify()
        with self._inotify.folder(folder) as changed:
            followers = self._following.setdefault(container_id, set())
            followers.add(changed)
            try:
                yield changed
            finally:
                followers.discard(changed)
                if not followers:
                    self._following.pop(container_id, None)

    async def is_running(self, container_id: str) -> bool:
        """Tell whether the runtime still runs a container."""
        try:
            return (await self._host.runtime.container_status(container_id)).state == "running"
        except CriError:
            return False

    def close(self) -> None:
        """Give back what following logs took."""
        if self._inotify is not None:
            self._inotify.close()
            self._inotify = None


class _Follower(NamedTuple):
    """One container's log as read_log follows it."""

    logs: Logs
    container_id: str

    def changes(self, folder: Path) -> contextlib.AbstractContextManager[asyncio.Event]:
        return self.logs.follow(self.container_id, folder)

    async def running(self) -> bool:
        return await self.logs.is_running(self.container_id)


def _status(target: Target) -> Obj | None:
    """Return the container's status as the cluster knows it, or None."""
    lists = ("containerStatuses", "initContainerStatuses", "ephemeralContainerStatuses")
    statuses = (s for kind in lists for s in get(target.pod, f"status.{kind}") or ())
    return next((s for s in statuses if s["name"] == target.container), None)


def _is_waiting(target: Target) -> bool:
    return get(_status(target), "state.waiting") is not None


def _why_no_log(target: Target) -> str:
    """Say why a container has no log, by its status; upstream's validateContainerLogStatus."""
    name = target.pod["metadata"]["name"]
    subject = f'container "{target.container}" in pod "{name}"'
    status = _status(target)
    if status is None:
        return f"{subject} is not available"
    reason = get(status, "state.waiting.reason")
    if reason is None:
        return f"{subject} is terminated"
    words = {
        "ErrImagePull": "image can't be pulled",
        "ImagePullBackOff": "trying and failing to pull image",
    }
    return f"{subject} is waiting to start: {words.get(reason, reason)}"


def _names(folder: Path) -> Iterator[str]:
    for entry in folder.iterdir():
        yield f"{entry.name}/" if entry.is_dir() else entry.name
