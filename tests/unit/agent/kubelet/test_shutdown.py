"""The end of a machine: which pods end when, who is told, and what logind is asked."""

import asyncio
import os
import select
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from minikube_py.agent.kubelet.configz import configuration
from minikube_py.agent.kubelet.container_status import Failure
from minikube_py.agent.kubelet.kubelet import KubeletConfig
from minikube_py.agent.kubelet.node_object import MachineFacts, NodeFacts
from minikube_py.agent.kubelet.shutdown.logind import Logind
from minikube_py.agent.kubelet.shutdown.manager import FAILURE, Around, NodeShutdown
from minikube_py.agent.kubelet.shutdown.plan import Group, ShutdownPolicy, parse, turns
from minikube_py.lib.dbus import connected
from minikube_py.lib.dbus_wire import DbusError, Message
from minikube_py.lib.tasks import Nursery
from tests.unit.agent.kubelet.builders import pod
from tests.unit.lib.test_dbus import FakeBus
from tests.virtual_time import VirtualClock

CRITICAL = 2_000_000_000


@pytest.fixture
def path() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="bus") as folder:
        yield Path(folder) / "s"


def important(name: str, priority: int) -> Any:
    return pod(metadata={"name": name, "uid": name}, priority=priority)


# --- who ends when ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("total", "critical", "groups", "found"),
    [
        ("0s", "0s", (), []),
        ("30s", "10s", (), [Group(0, 20), Group(CRITICAL, 10)]),
        ("30s", "0s", (), [Group(0, 30), Group(CRITICAL, 0)]),
        ("", "", ("1000=1m", "0=5s"), [Group(0, 5), Group(1000, 60)]),
    ],
)
def test_options_become_groups(total, critical, groups, found):
    policy = parse(total, critical, groups)
    assert list(policy.groups) == found
    assert policy.seconds == sum(group.seconds for group in found)


@pytest.mark.parametrize(
    ("total", "critical", "groups", "why"),
    [
        ("5s", "6s", (), "must be <="),
        ("5s", "0s", ("0=5s",), "cannot specify both"),
        ("", "", ("0=5s", "0=6s"), "twice"),
        ("", "", ("5s",), "not priority=duration"),
    ],
)
def test_options_that_make_no_sense_are_refused(total, critical, groups, why):
    with pytest.raises(ValueError, match=why):
        parse(total, critical, groups)


def test_a_group_begins_at_its_priority_and_the_lowest_takes_what_is_below():
    pods = [important("low", -5), important("web", 0), important("dns", CRITICAL + 1)]
    policy = ShutdownPolicy([Group(0, 5), Group(1000, 6), Group(CRITICAL, 7)])
    found = [
        (g.seconds, [p["metadata"]["name"] for p in chosen]) for g, chosen in turns(policy, pods)
    ]
    assert found == [(5, ["low", "web"]), (7, ["dns"])]


# --- the end ------------------------------------------------------------------------------------


class Worker:
    """A pod that ends when it is told to."""

    def __init__(self, one: Any, log: list[str]) -> None:
        self.pod = one
        self._log = log
        self._ended = asyncio.Event()

    def evict(self, failure: Failure, grace: int) -> bool:
        assert failure is FAILURE
        self._log.append(f"{self.pod['metadata']['name']} has {grace} s")
        self._ended.set()
        return True

    async def gone(self) -> None:
        await self._ended.wait()
        self._log.append(f"{self.pod['metadata']['name']} is gone")


def shutdown(log: list[str], path: Path, *pods: Any) -> NodeShutdown:
    workers = [Worker(one, log) for one in pods]
    around = Around(
        lambda: workers,
        lambda why: log.append(why or "ready again"),
        lambda reason, message: log.append(f"{reason}: {message}"),
        VirtualClock(),
    )
    return NodeShutdown(parse("30s", "10s", ()), around, path)


async def test_pods_end_in_order_and_no_new_ones_are_taken(path):
    log: list[str] = []
    made = shutdown(log, path, important("dns", CRITICAL), important("web", 0))
    assert made.refusal() is None
    await made.end()
    assert log == [
        "node is shutting down",
        "Shutdown: Shutdown manager detected shutdown event",
        *("web has 20 s", "web is gone"),
        *("dns has 10 s", "dns is gone"),
    ]
    refused = made.refusal()
    assert refused is not None
    assert refused.reason == "NodeShutdown"


class LogindBus:
    """The answers of logind and systemd; a lock is the end of a pipe."""

    def __init__(self, delay_seconds: int, reloads_to: int) -> None:
        self.delay = delay_seconds
        self._reloads_to = reloads_to
        self.locks: list[int] = []

    def __call__(self, message: Message) -> tuple[dict[str, Any], tuple[Any, ...], list[int]]:
        member = message.fields["member"]
        if member == "Get":
            assert message.body == [
                "org.freedesktop.login1.Manager",
                "InhibitDelayMaxUSec",
            ]
            return {"signature": "v"}, (("t", self.delay * 1_000_000),), []
        if member == "KillUnit":
            assert message.body == ["systemd-logind.service", "all", 1]
            self.delay = self._reloads_to
        if member == "Inhibit":
            assert (message.body[0], message.body[3]) == ("shutdown", "delay")
            reading, writing = os.pipe()
            self.locks.append(reading)
            return {"signature": "h", "unix_fds": 1}, (0,), [writing]
        return {}, (), []

    def close(self) -> None:
        for lock in self.locks:
            os.close(lock)


def is_released(lock: int) -> bool:
    """Tell whether nobody holds the other end any more."""
    return bool(select.select([lock], [], [], 0)[0])


async def until(true: Any) -> None:
    for _ in range(2000):
        if true():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it did not come true")


async def test_logind_waits_for_the_pods_and_no_longer(path):
    log: list[str] = []
    answers = LogindBus(60, 60)
    fake = FakeBus(path, answers)
    made = shutdown(log, path, important("web", 0))
    async with Nursery("test") as nursery:
        nursery.start("bus", fake.run())
        nursery.start("shutdown", made.run())
        await until(lambda: answers.locks)
        assert not is_released(answers.locks[0])
        fake.emit("PrepareForShutdown", "b", True)  # noqa: FBT003
        await until(lambda: is_released(answers.locks[0]))
        assert "web is gone" in log
        fake.emit("PrepareForShutdown", "b", False)  # noqa: FBT003
        await until(lambda: "ready again" in log)
        await until(lambda: len(answers.locks) == 2)
        assert made.refusal() is None
    fake.close()
    answers.close()


async def test_a_limit_that_is_too_short_is_raised_by_a_file(path):
    answers = LogindBus(5, 30)
    fake = FakeBus(path, answers)
    drop_in = path.parent / "logind.conf.d" / "99-kpy.conf"
    async with Nursery("test") as nursery:
        nursery.start("bus", fake.run())
        async with connected(path) as bus:
            await Logind(bus, drop_in).allow(30)
            assert "InhibitDelayMaxSec=30" in drop_in.read_text()
            with pytest.raises(DbusError, match="less than requested ShutdownGracePeriod"):
                await Logind(bus, drop_in).allow(31)
    fake.close()


def test_configz_tells_the_groups(tmp_path):
    machine = MachineFacts(cpus=1, memory_bytes=1, disk_bytes=1)
    facts = NodeFacts(name="n1", hostname="n1", ips=("10.0.0.1",), machine=machine)
    config = KubeletConfig(node=facts, root=tmp_path, shutdown=parse("30s", "10s", ()))
    told = configuration(config)
    assert told["shutdownGracePeriodByPodPriority"] == [
        {"priority": 0, "shutdownGracePeriodSeconds": 20},
        {"priority": CRITICAL, "shutdownGracePeriodSeconds": 10},
    ]
    assert told["imagePullCredentialsVerificationPolicy"] == "NeverVerifyPreloadedImages"
