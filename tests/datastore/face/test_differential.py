"""Whatever is asked in whatever order, a face answers as etcd does.

Hypothesis makes up the requests, which go to a real etcd and to the face; the responses are
compared field by field, streams of watches included. Revisions are compared by the request that
made them:
a transaction of several writes has several in kpy, and so have leases.
"""

import asyncio
from bisect import bisect_left
from collections.abc import Coroutine, Iterator, Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule, run_state_machine_as_test

from minikube_py.datastore.face.serving import Listening, serving
from minikube_py.datastore.open import open_backend
from tests.datastore.etcd_server import Member
from tests.datastore.face.client import Client, Stream
from tests.ports import free_port

KEYS = (b"a", b"a/1", b"a/2", b"ab", b"b", "b/é".encode(), b"c\x7f")
SPANS = (
    *((key, b"") for key in KEYS),
    (b"a/", b"a0"),
    (b"a", b"b"),
    (b"b", b"\0"),
    (b"\0", b"\0"),
    (b"a/1", b"b\xff"),
    (b"a\0", b"b"),
    (b"c", b"a"),
    (b"nothing", b""),
)
WHOLE = (b"\0", b"\0")
LEASES = (0, 0, 0, 101, 102)
END = b"the end"
FUTURE = 1_000
TRUE = st.just(True)  # noqa: FBT003
BACK = st.integers(0, 8)
Message = Mapping[str, Any]

keys = st.sampled_from(KEYS)
spans = st.sampled_from(SPANS)
values = st.sampled_from([b"", b"1", b"2", b"long " * 20])
flags = st.booleans()


def put_requests() -> st.SearchStrategy[Message]:
    return st.fixed_dictionaries(
        {"key": keys, "value": values},
        optional={
            "lease": st.sampled_from(LEASES),
            "prev_kv": flags,
            "ignore_value": TRUE,
            "ignore_lease": TRUE,
        },
    )


def spanning(**optional: st.SearchStrategy[Any]) -> st.SearchStrategy[Message]:
    more = st.fixed_dictionaries({}, optional=optional)
    return st.builds(lambda at, rest: {"key": at[0], "range_end": at[1], **rest}, spans, more)


def range_requests() -> st.SearchStrategy[Message]:
    back = st.integers(-1, 8).map(lambda back: ("back", back))
    plain = spanning(
        limit=st.integers(1, 3),
        revision=back,
        keys_only=flags,
        count_only=flags,
        serializable=flags,
        sort_order=st.sampled_from(["ASCEND", "DESCEND"]),
        min_mod_revision=back,
        max_create_revision=back,
    )
    ordered = spanning(
        sort_order=st.sampled_from(["ASCEND", "DESCEND"]),
        sort_target=st.sampled_from(["VERSION", "CREATE", "MOD", "VALUE"]),
    )
    return plain | ordered


def compares() -> st.SearchStrategy[Message]:
    targets = st.one_of(
        st.builds(lambda n: {"target": "VERSION", "version": n}, st.integers(0, 2)),
        st.builds(lambda n: {"target": "CREATE", "create_revision": ("back", n)}, BACK),
        st.builds(lambda n: {"target": "MOD", "mod_revision": ("back", n)}, BACK),
        st.builds(lambda v: {"target": "VALUE", "value": v}, values),
        st.builds(lambda n: {"target": "LEASE", "lease": n}, st.sampled_from(LEASES)),
    )
    results = st.sampled_from(["EQUAL", "NOT_EQUAL", "GREATER", "LESS"])
    return st.builds(lambda a, t, r: {**a, **t, "result": r}, spanning(), targets, results)


def operations(inner: st.SearchStrategy[Message] | None = None) -> st.SearchStrategy[Message]:
    choices = [
        st.fixed_dictionaries({"request_put": put_requests()}),
        st.fixed_dictionaries({"request_range": range_requests()}),
    ]
    if inner is not None:
        # etcd lets some transactions delete and put a key; kpy never does.
        bounded = spanning(prev_kv=flags).filter(lambda at: at["range_end"] != b"\0")
        choices.append(st.fixed_dictionaries({"request_delete_range": bounded}))
        choices.append(st.fixed_dictionaries({"request_txn": inner}))
    return st.one_of(choices)


def txn_requests(*, nested: bool = True) -> st.SearchStrategy[Message]:
    inner = txn_requests(nested=False) if nested else None
    return st.fixed_dictionaries(
        {
            "compare": st.lists(compares(), max_size=2),
            "success": st.lists(operations(inner), max_size=3),
            "failure": st.lists(operations(inner), max_size=3),
        }
    )


class Side:
    """One of the two servers, and which revision it was at after each request.

    `writes` has for each request the last one until then that changed something in etcd.
    """

    def __init__(self, port: int, writes: list[int]) -> None:
        self.client = Client(port)
        self.marks = [0]
        self.writes = writes
        self.streams: list[Stream] = []

    def number(self, revision: int) -> int:
        """Return the request that made a revision."""
        return bisect_left(self.marks, revision)

    def filled(self, request: Any) -> Any:
        """Return a request with this side's revision where it says how far back."""
        if isinstance(request, tuple):
            back = request[1]
            if back < 0:
                return self.marks[-1] + FUTURE
            return self.marks[self.writes[max(-1 - back, -len(self.writes))]]
        if isinstance(request, list):
            return [self.filled(one) for one in request]
        if isinstance(request, dict):
            return {name: self.filled(value) for name, value in request.items()}
        return request


class Differences(RuleBasedStateMachine):
    """The same requests to etcd and to a face."""

    runner: asyncio.Runner
    ports: tuple[int, int]
    sides: tuple[Side, Side]

    def __init__(self) -> None:
        super().__init__()
        self.writes = [0]
        self.sides = (Side(self.ports[0], self.writes), Side(self.ports[1], self.writes))
        self.watches: list[tuple[int, Message]] = []
        self.compacted = 0
        """How far etcd's history is compacted."""
        self.catching_up = False
        """Whether a watch began in the past: etcd looks after those ten times a second only."""
        self.do(self.clean())

    def do(self, work: Coroutine[Any, Any, Any]) -> Any:
        return self.runner.run(work)

    async def clean(self) -> None:
        for side in self.sides:
            found = await side.client.call("LeaseLeases", {})
            for lease in found.get("leases", ()):
                await side.client.call("LeaseRevoke", {"ID": lease["ID"]})
            await side.client.call("Put", {"key": b"a", "value": b""})
            answer = await side.client.call("DeleteRange", {"key": b"\0", "range_end": b"\0"})
            side.marks = [answer["header"]["revision"]]

    def both(self, name: str, request: Message) -> None:
        self.do(self.asked(name, request))

    async def asked(self, name: str, request: Message) -> None:
        answers = []
        for side in self.sides:
            answer, error = await side.client.outcome(name, side.filled(request))
            side.marks.append(answer.get("header", {}).get("revision", side.marks[-1]))
            answers.append((answer, error))
        etcd = self.sides[0].marks
        self.writes.append(len(etcd) - 1 if etcd[-1] > etcd[-2] else self.writes[-1])
        ours, theirs = (
            (self.normal(side, answer, request), error)
            for side, (answer, error) in zip(reversed(self.sides), reversed(answers), strict=True)
        )
        assert ours == theirs, (name, request)

    def normal(self, side: Side, message: Any, request: Any = None) -> Any:
        """Return a response in which revisions are the numbers of requests."""
        if isinstance(message, list):
            return [self.normal(side, one) for one in message]
        if not isinstance(message, dict):
            return message
        kept = {name: self.normal(side, value) for name, value in message.items()}
        for name in ("cluster_id", "member_id", "raft_term"):
            kept.pop(name, None)
        for name in ("revision", "mod_revision", "create_revision", "compact_revision"):
            if kept.get(name):
                kept[name] = self.writes[min(side.number(kept[name]), len(self.writes) - 1)]
        if "kvs" in kept:
            # Of keys that are equal by what they are sorted by, etcd gives any order.
            kept["kvs"] = (
                sorted(kept["kvs"], key=lambda kv: kv["key"])
                if _is_sorted(kept["kvs"], request or {})
                else kept["kvs"]
            )
        return {name: value for name, value in kept.items() if value not in (0, b"", [], False)}

    @rule(request=put_requests())
    def put(self, request: Message) -> None:
        self.both("Put", request)

    @rule(name=st.sampled_from(["Put", "Range", "DeleteRange"]))
    def no_key(self, name: str) -> None:
        self.both(name, {"key": b""})

    @rule(request=range_requests())
    def range(self, request: Message) -> None:
        self.both("Range", request)

    @rule(request=spanning(prev_kv=flags))
    def delete(self, request: Message) -> None:
        self.both("DeleteRange", request)

    @rule(request=txn_requests())
    def txn(self, request: Message) -> None:
        self.both("Txn", request)

    @precondition(lambda self: not self.catching_up)
    @rule(back=BACK)
    def compact(self, back: int) -> None:
        revision = self.sides[0].filled(("back", back))
        self.both("Compact", {"revision": ("back", back)})
        self.compacted = max(self.compacted, revision)

    @rule(lease=st.sampled_from(LEASES[3:]), ttl=st.integers(500, 501))
    def grant(self, lease: int, ttl: int) -> None:
        self.both("LeaseGrant", {"ID": lease, "TTL": ttl})

    @rule(lease=st.sampled_from(LEASES[3:]))
    def revoke(self, lease: int) -> None:
        self.both("LeaseRevoke", {"ID": lease})

    @rule(lease=st.sampled_from(LEASES[3:]))
    def attached(self, lease: int) -> None:
        answers = [
            self.do(side.client.call("LeaseTimeToLive", {"ID": lease, "keys": True}))
            for side in self.sides
        ]
        left = [answer.pop("TTL", 0) for answer in answers]
        for answer in answers:
            answer.pop("header")
            answer["keys"] = sorted(answer.get("keys", ()))
        assert answers[0] == answers[1]
        assert abs(left[0] - left[1]) < 60

    @rule(
        at=spans.filter(lambda at: at[1] == b"\0" or at[1] == b"" or at[0] < at[1]),
        back=st.none() | BACK,
        prev_kv=flags,
        filters=st.sampled_from([[], [], ["NOPUT"], ["NODELETE"]]),
    )
    def watch(
        self, at: tuple[bytes, bytes], back: int | None, *, prev_kv: bool, filters: list[str]
    ) -> None:
        request = {"key": at[0], "range_end": at[1], "prev_kv": prev_kv, "filters": filters}
        self.do(self.watching(request, back))

    async def watching(self, request: Message, back: int | None) -> None:
        if back is not None:
            if self.sides[0].filled(("back", back)) + 1 == self.compacted:
                return  # etcd shows what is left of that revision, kpy calls it compacted
            self.catching_up = True
        for side in self.sides:
            stream = side.client.stream("Watch")
            start = side.filled(("back", back)) + 1 if back is not None else 0
            await stream.say(create_request={**request, "start_revision": start})
            created = await stream.hear()
            assert created["created"]
            assert not created.get("canceled")
            side.streams.append(stream)
        self.watches.append((len(self.watches), request))

    def teardown(self) -> None:
        try:
            self.do(self.compare_watches())
        finally:
            for side in self.sides:
                self.do(side.client.close())

    async def compare_watches(self) -> None:
        for number, request in self.watches:
            key = request["key"].replace(b"\0", b"!")
            await self.asked("Put", {"key": key, "value": END})
            await self.asked("DeleteRange", {"key": key})
            ends = -2 if "NODELETE" in request["filters"] else -1
            theirs, ours = [
                [
                    self.normal(side, event)
                    async for event in events(side.streams[number], side.marks[ends])
                ]
                for side in self.sides
            ]
            assert ours == theirs, request


async def events(stream: Stream, until: int) -> Any:
    """Yield the events of a watch up to a revision."""
    while True:
        message = await stream.hear()
        if message.get("canceled"):
            yield {"compact_revision": message["compact_revision"]}
            return
        for event in message.get("events", ()):
            if event["kv"]["key"].startswith(b"/kpy/etcd/"):
                continue  # a lease, which etcd does not count as a revision
            yield event
            if event["kv"]["mod_revision"] >= until:
                return


def _is_sorted(kvs: list[Message], request: Message) -> bool:
    return request.get("sort_target") is not None


def bounded(examples: int) -> settings:
    return settings(
        max_examples=examples,
        derandomize=True,  # what CI runs today it runs tomorrow
        stateful_step_count=20,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        phases=(Phase.explicit, Phase.generate),
    )


@pytest.fixture(scope="module")
def runner() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as one:
        yield one


@pytest.mark.parametrize(("endpoint", "examples"), [("memory://", 60), ("", 20)])
def test_a_face_answers_as_etcd_does(
    endpoint: str, examples: int, real_etcd: Member, runner: asyncio.Runner, tmp_path: Path
) -> None:
    port = free_port()

    async def start() -> AsyncExitStack:
        stack = AsyncExitStack()
        backend = await open_backend(endpoint, data_dir=tmp_path)
        stack.push_async_callback(backend.close)
        listening = Listening([f"http://127.0.0.1:{port}"])
        await stack.enter_async_context(serving(backend, listening))
        return stack

    stack = runner.run(start())

    class Machine(Differences):
        pass

    Machine.runner, Machine.ports = runner, (real_etcd.port, port)
    try:
        run_state_machine_as_test(Machine, settings=bounded(examples))  # type: ignore[no-untyped-call]
    finally:
        runner.run(stack.aclose())
