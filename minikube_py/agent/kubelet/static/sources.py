"""Where static pods come from: a folder of manifests, or a URL that is asked now and then.

A source hands over the whole set of its pods each time. A manifest that cannot be read takes
nothing away from the others; while it cannot, the pod that it stood for goes on as it was.
"""

import asyncio
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import aiohttp

from minikube_py.agent.kubelet.static.manifest import SIZE_MAX, ManifestError, static_pods
from minikube_py.api.object import Obj, uid_of
from minikube_py.lib import inotify
from minikube_py.lib.clock import Clock

log = logging.getLogger(__name__)
Pods = Mapping[str, Obj]
"""Static pods by uid."""
Take = Callable[[Pods], None]
HTTP_SECONDS = 20.0
"""Between two looks at a URL, and how long one may take."""
FILES_MAX = 500


class Folder:
    """A folder of manifests, one or several pods in each file; hidden files are not looked at."""

    def __init__(self, path: Path, node_name: str, take: Take) -> None:
        self._path = path
        self._node_name = node_name
        self._take = take
        self._last: dict[Path, Sequence[Obj]] = {}
        self._told: dict[Path, str] = {}

    async def look(self) -> None:
        """Read all manifests and hand over what they say."""
        found = await asyncio.to_thread(self._read)
        self._take({uid_of(pod): pod for pods in found.values() for pod in pods})
        self._last = found

    async def run(self) -> None:
        """Follow the folder for ever.

        Raises:
            OSError: it cannot be watched.

        """
        await inotify.follow([self._path], self.look)

    def _read(self) -> dict[Path, Sequence[Obj]]:
        files = sorted(self._files())
        if len(files) > FILES_MAX:
            log.warning("too many manifests, the last are left out max=%d", FILES_MAX)
        found = {path: self._pods(path) for path in files[:FILES_MAX]}
        self._told = {path: why for path, why in self._told.items() if path in found}
        return found

    def _files(self) -> Iterator[Path]:
        for path in self._path.iterdir():
            if not path.name.startswith(".") and path.is_file():
                yield path

    def _pods(self, path: Path) -> Sequence[Obj]:
        try:
            with path.open("rb") as file:
                data = file.read(SIZE_MAX + 1)
            pods = static_pods(data, "file", str(path), self._node_name)
        except (OSError, ManifestError) as error:
            if self._told.get(path) != str(error):
                log.error("static pod not read file=%s error=%s", path, error)  # noqa: TRY400
                self._told[path] = str(error)
            return self._last.get(path, ())
        self._told.pop(path, None)
        return pods


class Url:
    """A URL that answers with a Pod or a PodList."""

    def __init__(
        self, url: str, headers: Mapping[str, str], node_name: str, take: Take, clock: Clock
    ) -> None:
        self._url = url
        self._headers = headers
        self._node_name = node_name
        self._take = take
        self._clock = clock
        self._last = b""

    async def run(self) -> None:
        """Ask for ever; what is no answer changes nothing."""
        timeout = aiohttp.ClientTimeout(total=HTTP_SECONDS)
        async with aiohttp.ClientSession(timeout=timeout, headers=self._headers) as session:
            while True:
                try:
                    await self._look(session)
                except (aiohttp.ClientError, TimeoutError, ManifestError) as error:
                    log.warning("static pods not read url=%s error=%s", self._url, error)
                await self._clock.sleep(HTTP_SECONDS)

    async def _look(self, session: aiohttp.ClientSession) -> None:
        async with session.get(self._url) as answer:
            answer.raise_for_status()
            data = await answer.content.read(SIZE_MAX + 1)
            while len(data) <= SIZE_MAX and (more := await answer.content.read(SIZE_MAX)):
                data += more
        if not data:
            raise ManifestError("the answer is empty")
        if data != self._last:
            pods = static_pods(data, "http", self._url, self._node_name)
            self._take({uid_of(pod): pod for pod in pods})
            self._last = data
