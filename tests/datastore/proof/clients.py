"""Clients that fight over a few keys of a store, and tell everything that they do and see."""

import asyncio
import itertools
import random
from collections.abc import Awaitable, Iterable, Mapping
from typing import Any

from minikube_py.datastore.kv import (
    Backend,
    CompactedError,
    DatastoreError,
    KeyExistsError,
    KeyValue,
    RevisionMismatchError,
    UnavailableError,
)
from tests.datastore.proof.history import Line, Tell

PREFIX = "/r/"
KEYS = tuple(f"{PREFIX}{n}" for n in range(5))
AGAIN_SECONDS = 0.01
"""Between two attempts at a store that is away."""
CHOICES = ("update",) * 8 + ("create",) * 4 + ("delete",) * 3 + ("get",) * 4 + ("list",)


class Client:
    """Does one thing after the other."""

    def __init__(self, name: str, backend: Backend, tell: Tell, choose: random.Random) -> None:
        self._name = name
        self._backend = backend
        self._tell = tell
        self._choose = choose
        self._calls = (f"{name}-{n}" for n in itertools.count())
        self._known: dict[str, int] = {}
        """The last revision of each key that it heard of, which may be old by now."""
        self._size = 0

    async def work(self, steps: int | None = None, *, size: int = 0) -> None:
        """Do so many things, or go on for ever; each value is at least `size` long."""
        self._size = size
        for _ in range(steps) if steps is not None else itertools.count():
            kind, key = self._choose.choice(CHOICES), self._choose.choice(KEYS)
            if kind == "update" and key not in self._known:
                kind = "get"
            await self._call(kind, key)

    async def _call(self, kind: str, key: str) -> None:
        call = next(self._calls)
        line: dict[str, Any] = {"call": call, "kind": kind, "key": key}
        if kind in ("create", "update"):
            line["value"] = call.ljust(self._size, ".")
        if kind == "update" or (kind == "delete" and key in self._known):
            line["expected"] = self._known.get(key, 0) if self._choose.random() < 0.9 else 1
        self._tell(line)
        ended = await self._ended(key, self._start(line))
        self._tell({"end": call, **ended})
        if ended["how"] == "unknown":
            await asyncio.sleep(AGAIN_SECONDS)

    def _start(self, line: Line) -> Awaitable[dict[str, Any]]:
        kind, key, expected = line["kind"], line["key"], line.get("expected", 0)
        value = line.get("value", "").encode()
        if kind == "get":
            return self._shown(key)
        if kind == "list":
            return self._listed()
        if kind == "create":
            return self._written(self._backend.create(key, value))
        if kind == "update":
            return self._written(self._backend.update(key, value, revision=expected))
        return self._written(self._backend.delete(key, revision=expected))

    async def _ended(self, key: str, work: Awaitable[dict[str, Any]]) -> dict[str, Any]:
        try:
            ended = await work
        except KeyExistsError:
            return {"how": "refused"}
        except RevisionMismatchError as error:
            shown = _shown((error.current,))
            self._learn(shown)
            return {"how": "refused", "shown": shown}
        except UnavailableError:
            return {"how": "unknown"}
        self._learn(ended.get("shown", {}))
        if ended.get("revision"):
            self._known[key] = ended["revision"]
        return ended

    def _learn(self, shown: Mapping[str, tuple[int, str]]) -> None:
        self._known.update((key, revision) for key, (revision, _) in shown.items())

    async def _shown(self, key: str) -> dict[str, Any]:
        return {"how": "done", "shown": _shown((await self._backend.get(key),))}

    async def _listed(self) -> dict[str, Any]:
        page = await self._backend.list(PREFIX)
        return {"how": "done", "revision": page.revision, "shown": _shown(page.items)}

    async def _written(self, write: Awaitable[int]) -> dict[str, Any]:
        return {"how": "done", "revision": await write}


def _shown(items: Iterable[KeyValue | None]) -> dict[str, tuple[int, str]]:
    return {item.key: (item.revision, item.value.decode()) for item in items if item}


async def finish(backend: Backend, tell: Tell) -> int:
    """Write once more, and again where nobody says that it is done; return its revision."""
    for number in itertools.count():
        call, key = f"last {number}", f"{PREFIX}last {number}"
        tell({"call": call, "kind": "create", "key": key, "value": call})
        try:
            revision = await backend.create(key, call.encode())
        except UnavailableError:
            tell({"end": call, "how": "unknown"})
            await asyncio.sleep(AGAIN_SECONDS)
        else:
            tell({"end": call, "how": "done", "revision": revision})
            break
    return revision


async def follow(backend: Backend, tell: Tell, name: str, *, after: int = 0) -> None:
    """Watch, and tell what comes; resume where it broke, or at what is left; never returns."""
    while True:
        tell({"watch": name, "prefix": PREFIX, "after": after})
        try:
            async for events in backend.watch(PREFIX, after=after):
                told = [(e.key, e.value.decode(), *e[2:]) for e in events]
                tell({"watch": name, "events": told})
                after = events[-1].revision
        except CompactedError as error:
            tell({"watch": name, "compacted": error.oldest})
            after = error.oldest
        except DatastoreError:
            await asyncio.sleep(AGAIN_SECONDS)


async def compact_now_and_then(backend: Backend, behind: int, choose: random.Random) -> None:
    """Drop all history but the last revisions, again and again; never returns."""
    while True:
        await asyncio.sleep(choose.random() * 0.02)
        try:
            await backend.compact(max(await backend.revision() - behind, 0))
        except UnavailableError:
            await asyncio.sleep(AGAIN_SECONDS)


async def crowd(
    backends: tuple[Backend, ...],
    tell: Tell,
    *,
    clients: int,
    steps: int | None,
    seed: object,
    size: int = 0,
) -> None:
    """Let clients work side by side; the n-th uses the n-th of the backends, in turns."""
    async with asyncio.TaskGroup() as group:
        for n in range(clients):
            choose = random.Random(f"{seed} {n}")  # noqa: S311
            client = Client(f"{seed}-{n}", backends[n % len(backends)], tell, choose)
            group.create_task(client.work(steps, size=size))
