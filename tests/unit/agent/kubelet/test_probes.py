"""Probes in virtual time: thresholds, delays, and what each of their handlers finds."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minikube_py.agent.cri.errors import CriError, CriTimeoutError
from minikube_py.agent.cri.runtime import ExecResult
from minikube_py.agent.kubelet.handlers import (
    HandlerError,
    port_number,
    run_exec,
    run_http,
    run_tcp,
    target_of,
)
from minikube_py.agent.kubelet.hooks import HookError, run_hook
from minikube_py.agent.kubelet.http_get import Target
from minikube_py.agent.kubelet.probes import Count, Probes
from minikube_py.lib.tasks import Nursery
from tests.unit.agent.kubelet.builders import container, pod, running, seen
from tests.virtual_time import VirtualClock, virtual

EXEC = {"exec": {"command": ["check"]}}


class ModelRuntime:
    """Runs commands; `answers` gives the exit code at a time."""

    def __init__(self, answer: Callable[[float], int]) -> None:
        self.answer = answer
        self.asked: list[float] = []

    async def exec_sync(self, container_id: str, command: Any, timeout: int) -> ExecResult:
        now = asyncio.get_running_loop().time()
        self.asked.append(round(now, 3))
        code = self.answer(now)
        if code == 124:
            raise CriTimeoutError("too long")
        if code == 126:
            raise CriError("no such command")
        return ExecResult(code, b"out", b"err")


class World:
    """One container under probes, and what became known of it when."""

    def __init__(self, nursery: Nursery, answer: Callable[[float], int]) -> None:
        self.clock = VirtualClock()
        self.runtime = ModelRuntime(answer)
        self.told: list[str] = []
        self.woken: list[float] = []
        self.probes = Probes(
            self.runtime,
            self.clock,
            nursery,
            lambda _: self.woken.append(round(self.clock.monotonic(), 3)),
            lambda _pod, _spec, message: self.told.append(message),
        )

    def begin(self, **probes: Any) -> None:
        a_pod = pod([container(**probes)])
        self.probes.sync("u", a_pod, seen(running()), "10.0.0.2")

    def result(self, kind: str) -> bool | None:
        return self.probes.results.get(("c-0", kind))


@contextlib.asynccontextmanager
async def world(answer: Callable[[float], int]) -> AsyncIterator[World]:
    async with Nursery("test") as nursery:
        yield World(nursery, answer)


@virtual
async def test_readiness_comes_and_goes_by_its_thresholds():
    async with world(lambda now: int(20 <= now < 40)) as w:
        w.begin(readinessProbe=EXEC | {"periodSeconds": 5, "failureThreshold": 3})
        seen_results = []
        for _ in range(12):
            await asyncio.sleep(5)
            seen_results.append(w.result("readiness"))
    assert seen_results[:5] == [True] * 5
    assert seen_results[6:7] == [False]
    assert seen_results[-1] is True
    assert "Readiness probe failed: outerr" in w.told


@virtual
async def test_a_probe_waits_for_its_initial_delay():
    async with world(lambda _: 0) as w:
        await asyncio.sleep(3)  # the container started at the first second
        w.begin(readinessProbe=EXEC | {"initialDelaySeconds": 7, "periodSeconds": 10})
        await asyncio.sleep(27)
    assert w.runtime.asked == [8.0, 18.0, 28.0]


@virtual
async def test_liveness_ends_with_a_failure():
    async with world(lambda now: int(now > 10)) as w:
        w.begin(livenessProbe=EXEC | {"periodSeconds": 4, "failureThreshold": 2})
        await asyncio.sleep(60)
        assert w.result("liveness") is False
        count = len(w.runtime.asked)
        await asyncio.sleep(60)
        assert len(w.runtime.asked) == count


@virtual
async def test_a_pod_is_woken_by_what_is_news_of_it_alone():
    async with world(lambda now: int(now > 10)) as w:
        w.begin(livenessProbe=EXEC | {"periodSeconds": 4, "failureThreshold": 1})
        await asyncio.sleep(10)
        assert w.result("liveness") is True
        assert w.woken == []  # it counted as alive before
        await asyncio.sleep(10)
        assert w.woken == [12.0]


@virtual
async def test_a_pod_that_was_not_ready_from_the_start_is_woken_when_it_is():
    async with world(lambda now: int(now < 10)) as w:
        w.begin(readinessProbe=EXEC | {"periodSeconds": 4, "failureThreshold": 1})
        await asyncio.sleep(20)
        assert w.woken == [12.0]


@virtual
async def test_the_others_wait_until_the_container_is_started():
    async with world(lambda now: int(now < 12)) as w:
        every = {"periodSeconds": 5}
        w.begin(
            startupProbe=EXEC | every | {"failureThreshold": 10},
            livenessProbe=EXEC | every,
            readinessProbe=EXEC | every,
        )
        await asyncio.sleep(11)
        assert (w.result("startup"), w.result("readiness")) == (None, None)
        await asyncio.sleep(10)
        assert (w.result("startup"), w.result("liveness"), w.result("readiness")) == (
            True,
            True,
            True,
        )
    assert not any("Liveness" in message for message in w.told)


@virtual
async def test_a_start_that_takes_too_long_is_a_failure():
    async with world(lambda _: 1) as w:
        w.begin(startupProbe=EXEC | {"periodSeconds": 1, "failureThreshold": 3})
        await asyncio.sleep(10)
        assert w.result("startup") is False
        assert w.told.count("Startup probe failed: outerr") == 3


@virtual
async def test_a_probe_that_cannot_be_run_says_nothing_of_the_container():
    async with world(lambda _: 126) as w:
        w.begin(livenessProbe=EXEC | {"periodSeconds": 1, "failureThreshold": 1})
        await asyncio.sleep(5)
        assert w.result("liveness") is None
        assert "Liveness probe errored and resulted in unknown state: no such command" in w.told


@virtual
async def test_a_command_that_takes_too_long_has_failed():
    async with world(lambda _: 124) as w:
        w.begin(livenessProbe=EXEC | {"failureThreshold": 1})
        await asyncio.sleep(1)
        message = 'Liveness probe failed: command timed out: "check" timed out after 1s'
        assert w.told == [message]


@virtual
async def test_a_new_container_has_probes_of_its_own():
    async with world(lambda _: 0) as w:
        w.begin(readinessProbe=EXEC)
        await asyncio.sleep(1)
        assert w.result("readiness") is True
        a_pod = pod([container(readinessProbe=EXEC)])
        w.probes.sync("u", a_pod, seen(running(attempt=1)), "10.0.0.2")
        assert w.probes.results == {}
        await asyncio.sleep(1)
        assert w.probes.results == {("c-1", "readiness"): True}
        w.probes.forget("u")
        assert w.probes.results == {}


@virtual
async def test_what_the_cluster_knew_holds_until_a_probe_knows_better():
    async with world(lambda _: 1) as w:
        w.probes.seed("c-0", started=True, ready=True)
        w.begin(
            readinessProbe=EXEC | {"failureThreshold": 2, "periodSeconds": 1},
            startupProbe=EXEC,
        )
        await asyncio.sleep(0.5)
        assert w.result("readiness") is True
        assert w.result("startup") is True
        await asyncio.sleep(5)
        assert w.result("readiness") is False


@virtual
async def test_a_pod_that_ends_is_no_longer_asked_whether_it_lives():
    async with world(lambda _: 0) as w:
        w.begin(livenessProbe=EXEC | {"periodSeconds": 1}, readinessProbe=EXEC)
        await asyncio.sleep(1.5)
        w.probes.stop("u")
        before = len(w.runtime.asked)
        await asyncio.sleep(9)
        assert len(w.runtime.asked) == before + 1  # readiness goes on, every ten seconds


@given(st.lists(st.booleans()), st.integers(1, 4), st.integers(1, 4))
def test_a_result_is_the_last_run_of_equal_outcomes_that_was_long_enough(outcomes, up, down):
    count = Count(up, down)
    expected: bool | None = None
    for index, ok in enumerate(outcomes):
        before = count.result
        assert count.add(ok) == (count.result != before)
        needed = up if ok else down
        run = outcomes[max(index + 1 - needed, 0) : index + 1]
        if len(run) == needed and set(run) == {ok}:
            expected = ok
        assert count.result == expected


# --- handlers, on the loopback interface --------------------------------------------------------


@contextlib.asynccontextmanager
async def answering(*answers: bytes) -> AsyncIterator[tuple[int, list[str]]]:
    """Serve one answer after the other, and note what was asked."""
    asked: list[str] = []
    left = list(answers)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError):
            asked.append((await reader.readuntil(b"\r\n\r\n")).decode())
            writer.write(left.pop(0))
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1], asked


def at(port: int, **more: Any) -> Target:
    return Target(scheme="http", host="127.0.0.1", port=port, path="/healthz", **more)


@pytest.mark.parametrize(("status", "ok"), [(200, True), (204, True), (399, True), (400, False)])
async def test_an_answer_below_400_is_a_success(status, ok):
    async with answering(b"HTTP/1.1 %d X\r\n\r\n" % status) as (port, _):
        outcome = await run_http(at(port), 1)
    assert outcome.ok == ok
    assert outcome.output == ("" if ok else f"HTTP probe failed with statuscode: {status}")


async def test_a_request_looks_like_a_probe():
    headers = {"X-Own": "1", "user-agent": "mine", "Accept": ""}
    async with answering(b"HTTP/1.1 200 OK\r\n\r\n") as (port, asked):
        await run_http(at(port, headers=headers), 1)
    lines = asked[0].splitlines()
    assert lines[0] == "GET /healthz HTTP/1.1"
    assert f"Host: 127.0.0.1:{port}" in lines
    assert "X-Own: 1" in lines
    assert "user-agent: mine" in lines
    assert not any(line.startswith(("Accept", "User-Agent")) for line in lines)


async def test_a_redirect_on_the_same_host_is_followed_and_another_is_a_success():
    first = b"HTTP/1.1 302 Found\r\nLocation: /other\r\n\r\n"
    async with answering(first, b"HTTP/1.1 500 X\r\n\r\n") as (port, asked):
        outcome = await run_http(at(port), 1)
    assert outcome.output == "HTTP probe failed with statuscode: 500"
    assert asked[1].startswith("GET /other ")
    away = b"HTTP/1.1 302 Found\r\nLocation: http://example.test/\r\n\r\n"
    async with answering(away) as (port, _):
        assert (await run_http(at(port), 1)).ok


@pytest.mark.parametrize(
    ("answer", "message"),
    [(b"", "EOF"), (b"hello\r\n\r\n", 'malformed HTTP response "hello"')],
)
async def test_an_answer_that_is_none_is_a_failure(answer, message):
    async with answering(answer) as (port, _):
        outcome = await run_http(at(port), 1)
    assert outcome.output == f'Get "http://127.0.0.1:{port}/healthz": {message}'


async def test_nobody_there_is_a_failure_in_go_s_words():
    async with answering() as (port, _):
        pass
    refused = f"dial tcp 127.0.0.1:{port}: connect: connection refused"
    assert (await run_tcp("127.0.0.1", port, 1)).output == refused
    outcome = await run_http(at(port), 1)
    assert outcome.output == f'Get "http://127.0.0.1:{port}/healthz": {refused}'


async def test_somebody_there_is_enough_for_a_connection():
    async with answering(b"") as (port, _):
        assert (await run_tcp("127.0.0.1", port, 1)).ok


async def test_silence_is_a_failure():
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        outcome = await run_http(at(port), 0.05)
    assert "context deadline exceeded (Client.Timeout exceeded" in outcome.output


def test_ports_may_be_named():
    one = container(ports=[{"name": "web", "containerPort": 8080}])
    assert [port_number(one, port) for port in (80, "80", "web")] == [80, 80, 8080]
    with pytest.raises(HandlerError, match="couldn't find port: no"):
        port_number(one, "no")


def test_a_target_is_the_pod_unless_said_otherwise():
    action = {"port": 80, "path": "x", "scheme": "HTTPS"}
    assert target_of(action, container(), "10.0.0.2").url == "https://10.0.0.2:80/x"
    assert target_of(action | {"host": "fd00::1"}, container(), "").url == "https://[fd00::1]:80/x"


@virtual
async def test_hooks_run_commands_and_wait():
    runtime = ModelRuntime(lambda _: 0)
    await run_hook(runtime, container(), "id", EXEC, "")
    with pytest.raises(HookError, match="outerr"):
        await run_hook(ModelRuntime(lambda _: 3), container(), "id", EXEC, "")
    with pytest.raises(HookError, match="no such command"):
        await run_hook(ModelRuntime(lambda _: 126), container(), "id", EXEC, "")
    with pytest.raises(HookError, match="invalid handler"):
        await run_hook(runtime, container(), "id", {}, "")
    begun = asyncio.get_running_loop().time()
    await run_hook(runtime, container(), "id", {"sleep": {"seconds": 3}}, "")
    assert asyncio.get_running_loop().time() - begun == 3


@virtual
async def test_the_output_of_a_command_is_bounded():
    class Loud(ModelRuntime):
        async def exec_sync(self, *_: Any) -> ExecResult:
            return ExecResult(1, b"x" * 100_000, b"")

    outcome = await run_exec(Loud(lambda _: 1), "id", EXEC["exec"], 1)
    assert len(outcome.output) == 10 << 10
