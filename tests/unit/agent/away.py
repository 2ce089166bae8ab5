"""A server that goes away and comes back, for who reaches the model cluster through a client."""

from collections.abc import AsyncGenerator, Sequence
from typing import Any

from minikube_py.api.errors import ServiceUnavailableError
from minikube_py.api.resource import Resource
from minikube_py.client.protocol import Client, ItemList, WatchEvent

CALLS = ("get", "read", "create", "update", "patch", "delete")


class Line:
    """The way to a server; where it is cut nothing answers, and no watch goes on."""

    def __init__(self) -> None:
        self.is_cut = False
        self.calls: list[str] = []
        """What was asked while it was cut."""

    def through(self, client: Client) -> Any:
        """Return a client at the end of the line."""
        return _Client(self, client)

    def check(self, what: str) -> None:
        if self.is_cut:
            self.calls.append(what)
            raise ServiceUnavailableError(f"{what}: connection refused")


class _Client:
    def __init__(self, line: Line, client: Client) -> None:
        self._line, self._client = line, client

    def __getattr__(self, name: str) -> Any:
        assert name in CALLS, name

        async def call(*given: Any, **more: Any) -> Any:
            self._line.check(name)
            return await getattr(self._client, name)(*given, **more)

        return call

    async def list(self, resource: Resource, *given: Any, **more: Any) -> ItemList:
        self._line.check(f"list {resource.plural}")
        return await self._client.list(resource, *given, **more)

    async def watch(
        self, resource: Resource, *given: Any, **more: Any
    ) -> AsyncGenerator[Sequence[WatchEvent], None]:
        self._line.check(f"watch {resource.plural}")
        async for batch in self._client.watch(resource, *given, **more):
            self._line.check(f"watch {resource.plural}")
            yield batch
