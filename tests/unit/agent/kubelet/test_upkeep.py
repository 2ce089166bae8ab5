"""What a kubelet keeps in order: references, tokens, logs, last words, garbage."""

import asyncio
import gzip
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from minikube_py.agent.cri.errors import CriError
from minikube_py.agent.kubelet.garbage import Garbage
from minikube_py.agent.kubelet.last_words import LastWords, last_words, log_tail
from minikube_py.agent.kubelet.log_rotation import USUAL, LogRotation, too_many
from minikube_py.agent.kubelet.observed import MESSAGE_PATH, MESSAGE_POLICY
from minikube_py.agent.kubelet.references import Ref, References, ReferencesTimeoutError
from minikube_py.agent.kubelet.tokens import TokenError, Tokens
from minikube_py.api import times
from minikube_py.api.core import CONFIGMAPS
from minikube_py.api.errors import ForbiddenError, ServiceUnavailableError
from minikube_py.lib.tasks import Nursery
from tests.model_cluster import ModelCluster
from tests.unit.agent.kubelet.builders import exited, pod, running, sandbox, seen
from tests.unit.agent.kubelet.model_node import ModelRuntime, Script, model_node
from tests.unit.agent.kubelet.pods_in_time import new, until
from tests.unit.agent.kubelet.strategic import StrategicClient
from tests.virtual_time import VirtualClock, virtual

CONF = Ref("configmaps", "default", "conf")


def conf(value: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "conf", "namespace": "default"},
        "data": {"key": value},
    }


class World:
    def __init__(self, nursery: Nursery) -> None:
        self.clock = VirtualClock()
        self.cluster = ModelCluster(self.clock)
        self.client = StrategicClient(self.cluster, "kubelet")
        self.woken: list[str] = []
        self.references = References(self.client, self.clock, nursery, self.woken.append)


# --- references ---------------------------------------------------------------------------------


@virtual
async def test_a_held_object_is_there_and_its_changes_wake_those_who_hold_it():
    async with Nursery("test") as nursery:
        world = World(nursery)
        await world.client.create(CONFIGMAPS, conf("1"))
        await world.references.hold("u1", frozenset({CONF}))
        await world.references.hold("u2", frozenset({CONF}))
        assert world.references.get(CONF)["data"] == {"key": "1"}
        world.woken.clear()
        await world.client.patch(CONFIGMAPS, "conf", {"data": {"key": "2"}}, "default")
        await asyncio.sleep(0.1)
        assert sorted(world.woken) == ["u1", "u2"]
        assert world.references.get(CONF)["data"] == {"key": "2"}


@virtual
async def test_an_object_is_followed_only_while_somebody_holds_it():
    async with Nursery("test") as nursery:
        world = World(nursery)
        await world.references.hold("u1", frozenset({CONF}))
        await world.references.hold("u2", frozenset({CONF}))
        world.references.release("u1")
        assert len(world.references) == 1
        await world.references.hold("u2", frozenset())
        assert len(world.references) == 0
        assert world.references.get(CONF) is None
        world.woken.clear()
        await world.client.create(CONFIGMAPS, conf("1"))
        await asyncio.sleep(1)
        assert world.woken == []


@virtual
async def test_an_object_that_does_not_exist_is_known_not_to():
    async with Nursery("test") as nursery:
        world = World(nursery)
        await world.references.hold("u1", frozenset({CONF}))
        assert world.references.get(CONF) is None
        await world.client.create(CONFIGMAPS, conf("1"))
        await asyncio.sleep(0.1)
        assert world.woken == ["u1"]


@virtual
async def test_a_server_that_does_not_tell_is_not_waited_for_for_ever():
    async with Nursery("test") as nursery:
        world = World(nursery)

        async def away(*_: Any, **__: Any) -> Any:
            raise ServiceUnavailableError("away")

        world.client.list = away
        with pytest.raises(ReferencesTimeoutError, match="failed to sync configmap cache"):
            await world.references.hold("u1", frozenset({CONF}))


# --- tokens -------------------------------------------------------------------------------------


class TokenClient:
    """A server that gives numbered tokens of an hour, while it is there."""

    def __init__(self, clock: VirtualClock) -> None:
        self.clock = clock
        self.count = 0
        self.away = False
        self.seen: list[Any] = []

    async def create(self, _: Any, obj: Any, *, subresource: str = "", name: str = "") -> Any:
        if self.away:
            raise ForbiddenError("no")
        self.seen.append((name, obj["spec"]))
        self.count += 1
        seconds = obj["spec"]["expirationSeconds"]
        expires = self.clock.now().timestamp() + seconds
        stamp = times.format_seconds(
            self.clock.now().fromtimestamp(expires, self.clock.now().tzinfo)
        )
        return {"status": {"token": f"t{self.count}", "expirationTimestamp": stamp}}


SOURCE = {"path": "token", "expirationSeconds": 3600, "audience": "vault"}
WITH_TOKEN = pod(
    volumes=[{"name": "v", "projected": {"sources": [{"serviceAccountToken": SOURCE}]}}],
    serviceAccountName="robot",
)


@virtual
async def test_a_token_is_bound_to_its_pod_and_renewed_in_time():
    clock = VirtualClock()
    client = TokenClient(clock)
    tokens = Tokens(client, clock)
    due = await tokens.prepare(WITH_TOKEN)
    name, spec = client.seen[0]
    assert name == "robot"
    assert spec["audiences"] == ["vault"]
    assert spec["boundObjectRef"]["uid"] == "u"
    assert due is not None
    assert (due - clock.now()).total_seconds() == 2880
    await clock.sleep(2879)
    await tokens.prepare(WITH_TOKEN)
    assert tokens.token(WITH_TOKEN, SOURCE) == "t1"
    await clock.sleep(2)
    await tokens.prepare(WITH_TOKEN)
    assert tokens.token(WITH_TOKEN, SOURCE) == "t2"


@virtual
async def test_an_old_token_serves_while_no_new_one_can_be_had():
    clock = VirtualClock()
    client = TokenClient(clock)
    tokens = Tokens(client, clock)
    await tokens.prepare(WITH_TOKEN)
    client.away = True
    await clock.sleep(3000)
    due = await tokens.prepare(WITH_TOKEN)
    assert tokens.token(WITH_TOKEN, SOURCE) == "t1"
    assert due is not None
    assert (due - clock.now()).total_seconds() == 60
    await clock.sleep(700)
    with pytest.raises(TokenError, match="failed to fetch token: no"):
        await tokens.prepare(WITH_TOKEN)


@virtual
async def test_a_pod_without_tokens_asks_for_none():
    clock = VirtualClock()
    client = TokenClient(clock)
    assert await Tokens(client, clock).prepare(pod()) is None
    assert client.count == 0


# --- last words ---------------------------------------------------------------------------------


def log_line(text: str, kind: str = "F") -> str:
    return f"2026-01-01T00:00:00.000000000Z stdout {kind} {text}\n"


def ended(tmp_path: Path, code: int = 1, policy: str = "File", words: str | None = None) -> Any:
    file = tmp_path / "words"
    if words is not None:
        file.write_text(words)
    log = tmp_path / "0.log"
    log.write_text(log_line("one") + log_line("t", "P") + log_line("wo"))
    one = exited(code=code)
    return replace(
        one,
        annotations=dict(one.annotations) | {MESSAGE_PATH: "/w", MESSAGE_POLICY: policy},
        mounts={"/w": str(file)},
        log_path=str(log),
        message="the runtime's words",
    )


def test_last_words_are_those_of_the_file(tmp_path):
    assert last_words(ended(tmp_path, words="bye")) == "bye"
    assert last_words(ended(tmp_path, words="x" * 9000)) == "x" * 4096


def test_else_those_of_the_runtime(tmp_path):
    assert last_words(ended(tmp_path)) == "the runtime's words"


def test_or_the_end_of_the_log_where_that_is_wanted(tmp_path):
    assert last_words(ended(tmp_path, policy="FallbackToLogsOnError")) == "one\ntwo\n"
    fine = ended(tmp_path, code=0, policy="FallbackToLogsOnError")
    assert last_words(fine) == "the runtime's words"


def test_the_end_of_a_log_is_bounded(tmp_path):
    path = tmp_path / "long.log"
    path.write_text("".join(log_line(f"{n:03} " + "x" * 20) for n in range(500)))
    tail = log_tail(path)
    assert len(tail) <= 2048
    assert tail.endswith("499 " + "x" * 20 + "\n")
    path.write_text("".join(log_line(str(n)) for n in range(500)))
    assert log_tail(path).split() == [str(n) for n in range(420, 500)]


def test_what_was_said_is_read_once(tmp_path):
    words = LastWords()
    one = ended(tmp_path, words="bye")
    assert words.add_to(seen(one)).containers[0].message == "bye"
    (tmp_path / "words").write_text("changed")
    assert words.add_to(seen(one)).containers[0].message == "bye"
    assert words.add_to(seen(running())).containers[0].message == ""


# --- logs ---------------------------------------------------------------------------------------


class Reopening:
    def __init__(self, path: Path) -> None:
        self.path = path
        self.broken = False

    async def reopen_log(self, container_id: str) -> None:
        if self.broken:
            raise CriError("no such container")
        self.path.write_text("new\n")


class Stepping:
    """A clock that is a second later each time it is asked."""

    def __init__(self) -> None:
        self.seconds = 0

    def now(self) -> Any:
        self.seconds += 1
        return times.parse(f"2026-01-01T00:00:{self.seconds:02}Z")


async def test_a_log_is_moved_aside_compressed_and_dropped_in_turn(tmp_path):
    path = tmp_path / "0.log"
    runtime = Reopening(path)
    rotation = LogRotation(runtime, Stepping(), lambda: ())
    for number in range(8):
        path.write_text(f"old {number}\n")
        await rotation.rotate(replace(running(), log_path=str(path)))
    names = sorted(file.name for file in tmp_path.iterdir())
    assert names == [
        "0.log",
        "0.log.20260101-000005.gz",
        "0.log.20260101-000006.gz",
        "0.log.20260101-000007.gz",
        "0.log.20260101-000008",
    ]
    assert path.read_text() == "new\n"
    assert (tmp_path / names[-1]).read_text() == "old 7\n"
    assert gzip.decompress((tmp_path / names[1]).read_bytes()) == b"old 4\n"


async def test_a_log_that_cannot_be_opened_anew_stays(tmp_path):
    path = tmp_path / "0.log"
    path.write_text("old\n")
    runtime = Reopening(path)
    runtime.broken = True
    rotation = LogRotation(runtime, Stepping(), lambda: ())
    await rotation.rotate(replace(running(), log_path=str(path)))
    assert path.read_text() == "old\n"
    assert [file.name for file in tmp_path.iterdir()] == ["0.log"]


@virtual
async def test_a_log_that_was_moved_aside_and_not_opened_again_is_opened_when_it_is_missed(
    tmp_path,
):
    path = tmp_path / "0.log"
    runtime = Reopening(path)
    container = replace(running(), log_path=str(path))
    async with Nursery("test") as nursery:
        runtime.broken = True
        rotation = LogRotation(runtime, VirtualClock(), lambda: [container])
        nursery.start("rotation", rotation.run())
        await asyncio.sleep(11)
        assert not path.exists()
        runtime.broken = False
        await asyncio.sleep(10)
        assert path.read_text() == "new\n"
        path.write_text("kept\n")
        await asyncio.sleep(30)
        assert path.read_text() == "kept\n"


def test_the_newest_are_kept():
    assert too_many(["l.3", "l.1", "l.2", "l.4", "l.5"]) == ["l.1"]
    assert USUAL.bytes_max == 10 << 20


# --- garbage ------------------------------------------------------------------------------------


@virtual
async def test_a_pod_that_nobody_knows_is_stopped_and_removed(tmp_path):
    async with Nursery("test") as nursery:
        runtime = ModelRuntime(VirtualClock(), nursery)
        labels = {"io.kubernetes.pod.uid": "u"}
        runtime.sandboxes["s0"] = replace(sandbox(), labels=labels)
        runtime.sandboxes["other"] = replace(sandbox(), id="other", uid="v")
        runtime.containers["c-0"] = replace(running(), labels=labels)

        class NoFiles:
            def uids(self) -> list[str]:
                return []

        class NoGroups:
            def pods(self) -> dict[str, str]:
                return {}

        garbage = Garbage(runtime, NoFiles(), NoGroups(), VirtualClock(), lambda _: False)
        released: list[tuple[bool, list[str]]] = []

        async def release(is_here: Callable[[str], bool]) -> None:
            released.append((is_here("u"), list(runtime.sandboxes)))

        garbage.release = release
        await garbage.collect()
        assert list(runtime.sandboxes) == ["other"]  # what is not a pod's is not ours
        assert runtime.log[0] == "stop c 30"
        assert released == [(False, ["other"])]  # not before it has ended


@virtual
async def test_old_containers_of_a_living_pod_are_removed(tmp_path):
    async with model_node(tmp_path) as node:
        node.runtime.scripts["c"] = [Script(1, 0.2)] * 3
        await node.create(new())
        await asyncio.sleep(60)
        await until(node, "Running")
        assert len(node.runtime.containers) == 4

        class NoFiles:
            def uids(self) -> list[str]:
                return []

        class NoGroups:
            def pods(self) -> dict[str, str]:
                return {}

        known = lambda uid: node.workers.get(uid) is not None  # noqa: E731
        await Garbage(node.runtime, NoFiles(), NoGroups(), node.clock, known).collect()
        assert len(node.runtime.containers) == 2
        assert node.state()["restartCount"] == 3
