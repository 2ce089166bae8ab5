"""Whatever is done in whatever order, a backend answers as the model does.

Hypothesis makes up the orders, closings and compactions included.
"""

import asyncio
import tempfile
from collections.abc import Awaitable, Coroutine
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from minikube_py.datastore.kv import Backend, Change, DatastoreError, Event, Unchanged
from minikube_py.datastore.memory import MemoryBackend
from minikube_py.datastore.open import open_backend
from tests.datastore.conftest import DATABASES
from tests.datastore.counted import CountedBackend
from tests.datastore.etcd_server import Member
from tests.datastore.servers import Server

KEYS = st.sampled_from(["/a/1", "/a/2", "/a/é", "/b/1", "/b", "/lazy/1", "/lazy/2"])
PREFIXES = st.sampled_from(["", "/a/", "/b", "/lazy/", "/x/"])
VALUES = st.binary(max_size=12)
BACK = st.integers(0, 12)


async def outcome(work: Awaitable[object]) -> object:
    """Return the answer, or the error as something that can be compared."""
    try:
        return await work
    except DatastoreError as error:
        return type(error).__name__, str(error)


class Comparison(RuleBasedStateMachine):
    """The same commands to the model and to a backend."""

    def __init__(self, endpoint: str = "") -> None:
        super().__init__()
        self.endpoint = endpoint
        self.runner = asyncio.Runner()
        self.folder = tempfile.TemporaryDirectory()
        self.model = MemoryBackend()
        self.real: Backend

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return self.runner.run(work)

    @initialize()
    def start(self) -> None:
        self.real = self.run(self.opened())

    async def opened(self) -> Backend:
        return await open_backend(self.endpoint, data_dir=Path(self.folder.name))

    def both(self, verb: str, *arguments: object, **options: object) -> object:
        expected = self.run(outcome(getattr(self.model, verb)(*arguments, **options)))
        answered = self.run(outcome(getattr(self.real, verb)(*arguments, **options)))
        assert answered == expected
        return expected

    def revision_of(self, key: str, back: int) -> int:
        """Return the key's revision for small `back`, so that most writes succeed."""
        found = self.run(self.model.get(key))
        return found.revision if found and back < 10 else back

    @rule(key=KEYS, value=VALUES, lease=st.integers(0, 3))
    def create(self, key: str, value: bytes, lease: int) -> None:
        self.both("create", key, value, lease=lease)

    @rule(key=KEYS, value=VALUES, back=BACK)
    def update(self, key: str, value: bytes, back: int) -> None:
        self.both("update", key, value, revision=self.revision_of(key, back))

    @rule(key=KEYS, back=BACK)
    def delete(self, key: str, back: int) -> None:
        self.both("delete", key, revision=self.revision_of(key, back))

    @rule(
        keys=st.lists(KEYS, min_size=1, max_size=3, unique=True),
        value=VALUES | st.none(),
        back=BACK,
        span=st.tuples(PREFIXES, PREFIXES),
    )
    def write(self, keys: list[str], value: bytes | None, back: int, span: tuple[str, str]) -> None:
        found = {key: self.run(self.model.get(key)) for key in keys}
        changes = [
            Change(key, value if kv is None or value else None, kv.revision if kv else 0)
            for key, kv in found.items()
        ]
        if back == 11:
            changes[-1] = changes[-1]._replace(revision=1)
        since = max(self.run(self.model.revision()) - back // 2, 0)
        self.both("write", changes, unchanged=(Unchanged(*span, since),))

    @rule(key=KEYS)
    def get(self, key: str) -> None:
        self.both("get", key)

    @rule(prefix=PREFIXES, after=KEYS | st.just(""), limit=st.integers(0, 3), back=BACK)
    def page(self, prefix: str, after: str, limit: int, back: int) -> None:
        revision = max(self.run(self.model.revision()) - back, 0)
        self.both("list", prefix, after=after, limit=limit, revision=revision)

    @rule(back=BACK)
    def compact(self, back: int) -> None:
        self.both("compact", max(self.run(self.model.revision()) - back, 0))

    @rule()
    def compact_the_future(self) -> None:
        self.both("compact", self.run(self.model.revision()) + 1)

    @rule()
    def reopen(self) -> None:
        self.run(self.real.close())
        self.real = self.run(self.opened())

    @rule(prefix=PREFIXES, back=BACK)
    def replay(self, prefix: str, back: int) -> None:
        after = max(self.run(self.model.revision()) - back, 0)
        known = [e.revision for e in self.model._events if e.key.startswith(prefix)]
        until = max(known, default=0)
        expected = self.run(outcome(history(self.model, prefix, after, until)))
        assert self.run(outcome(history(self.real, prefix, after, until))) == expected

    @invariant()
    def the_listings_are_equal(self) -> None:
        if hasattr(self, "real"):
            self.both("list", "")
            self.both("revision")

    def teardown(self) -> None:
        if hasattr(self, "real"):
            self.run(self.real.close())
        self.runner.close()
        self.folder.cleanup()


async def history(backend: Backend, prefix: str, after: int, until: int) -> list[Event]:
    """Return what a watch yields up to a revision."""
    events: list[Event] = []
    if after < until:
        async with asyncio.timeout(60):
            async for batch in backend.watch(prefix, after=after):
                events += batch
                if events[-1].revision >= until:
                    break
    return events


def bounded(examples: int) -> settings:
    return settings(
        max_examples=examples,
        stateful_step_count=30,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )


def test_sqlite_answers_as_the_model_does() -> None:
    run_state_machine_as_test(Comparison, settings=bounded(40))  # type: ignore[no-untyped-call]


class EtcdComparison(Comparison):
    """The same to a cluster of etcd, which may have been used before."""

    def __init__(self, member: Member) -> None:
        super().__init__()
        self.member = member
        self.run(member.grant())
        self.base = member.empty()

    async def opened(self) -> Backend:
        backend = await open_backend(self.member.client, data_dir=Path(self.folder.name))
        return CountedBackend(backend, self.base)

    write = None
    """What changes together shares a revision there, so that the numbers differ from then on."""


def test_etcd_answers_as_the_model_does(etcd: Member) -> None:
    run_state_machine_as_test(  # type: ignore[no-untyped-call]
        lambda: EtcdComparison(etcd), settings=bounded(5)
    )


@pytest.mark.parametrize("name", DATABASES)
def test_a_database_server_answers_as_the_model_does(
    name: str, request: pytest.FixtureRequest
) -> None:
    server: Server = request.getfixturevalue(name)
    run_state_machine_as_test(  # type: ignore[no-untyped-call]
        lambda: Comparison(server.endpoint()), settings=bounded(10)
    )
