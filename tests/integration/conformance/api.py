"""Requests as tests of conformance make them: each must succeed, unless the test asks for more."""

import asyncio
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp
import orjson

from tests.integration.conftest import Answer, Server
from tests.integration.patience import SECONDS_MAX, eventually

KUBECTL = Path(sys.executable).with_name("kubectl")
MERGE = "application/merge-patch+json"


class Event(NamedTuple):
    """What a watcher is told."""

    type: str
    object: Any


class Watcher:
    """One open watch."""

    def __init__(self, lines: aiohttp.StreamReader) -> None:
        self._lines = lines

    async def next(self) -> Event:
        """Wait for the next event."""
        async with asyncio.timeout(SECONDS_MAX):
            line = await self._lines.readline()
        assert line, "the watch has ended"
        told = orjson.loads(line)
        return Event(told["type"], told["object"])

    async def take(self, count: int) -> list[Event]:
        """Wait for some events."""
        return [await self.next() for _ in range(count)]


class Api:
    """The API as its administrator uses it."""

    def __init__(self, server: Server, kubeconfig: Path) -> None:
        self.server = server
        self.kubeconfig = kubeconfig

    async def call(self, method: str, path: str, body: Any = None, **headers: str) -> Answer:
        """Send a request; whatever the answer is, return it."""
        return await self.server.call(method, path, body, **headers)

    async def get(self, path: str, **headers: str) -> Any:
        """Read an object, a list or a document."""
        return self._good(await self.call("GET", path, **headers))

    async def create(self, path: str, body: Any) -> Any:
        """Create an object; return it as it is stored."""
        return self._good(await self.call("POST", path, body))

    async def put(self, path: str, body: Any) -> Any:
        """Replace an object."""
        return self._good(await self.call("PUT", path, body))

    async def patch(self, path: str, body: Any, content_type: str = MERGE) -> Any:
        """Change a part of an object."""
        return self._good(await self.call("PATCH", path, body, content_type=content_type))

    async def delete(self, path: str, policy: str = "") -> Any:
        """Delete an object or a collection."""
        body = {"propagationPolicy": policy} if policy else None
        return self._good(await self.call("DELETE", path, body))

    def _good(self, answer: Answer) -> Any:
        assert answer.status in (200, 201, 202), answer.raw
        return answer.body

    async def names(self, path: str) -> list[str]:
        """Return the names of what a collection holds."""
        return [item["metadata"]["name"] for item in (await self.get(path))["items"]]

    async def until(self, path: str, good: Callable[[Any], bool] = lambda _: True) -> Any:
        """Return a document as soon as it is there and good."""

        def is_good(answer: Answer) -> bool:
            return answer.status == 200 and good(answer.body)

        return (await eventually(lambda: self.call("GET", path), is_good)).body

    async def until_gone(self, path: str) -> None:
        """Wait until there is no such object."""
        await eventually(lambda: self.call("GET", path), lambda answer: answer.status == 404)

    @asynccontextmanager
    async def watch(self, path: str, **query: str) -> AsyncIterator[Watcher]:
        """Watch a collection for the length of the block."""
        url = self.server.url + path
        async with self.server.session.get(url, params={"watch": "true", **query}) as answer:
            assert answer.status == 200, await answer.read()
            yield Watcher(answer.content)

    async def kubectl(self, *arguments: str, stdin: Any = None) -> tuple[int, str, str]:
        """Run kubectl; return its exit status, what it printed and what it complained of."""
        data = b"" if stdin is None else orjson.dumps(stdin)
        home = f"HOME={self.kubeconfig.parent}"
        line = ["env", home, str(KUBECTL), f"--kubeconfig={self.kubeconfig}", *arguments]
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(*line, stdin=pipe, stdout=pipe, stderr=pipe)
        async with asyncio.timeout(SECONDS_MAX):
            out, err = await process.communicate(data)
        assert process.returncode is not None
        return process.returncode, out.decode(), err.decode()
