"""Samples become rates, a summary and pages for Prometheus."""

import asyncio
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minikube_py.agent.cri.images import Images
from minikube_py.agent.cri.runtime import Container
from minikube_py.agent.kubelet.cgroups import Cgroups
from minikube_py.agent.kubelet.stats import cadvisor, resource_metrics, volume_metrics
from minikube_py.agent.kubelet.stats.disk import Space, Used
from minikube_py.agent.kubelet.stats.network import Interface
from minikube_py.agent.kubelet.stats.probe_metrics import ProbeCounts
from minikube_py.agent.kubelet.stats.provider import Node, Provider
from minikube_py.agent.kubelet.stats.sample import (
    ContainerSample,
    PodFacts,
    PodSample,
    Sample,
    Sampler,
    rates,
)
from minikube_py.agent.kubelet.stats.summary import (
    Disks,
    Measured,
    NodeWords,
    only_cpu_and_memory,
    summary,
)
from minikube_py.agent.kubelet.stats.usage import Cpu, Memory, Usage
from minikube_py.agent.kubelet.stats.volume_metrics import VolumeUse
from tests.unit.agent.kubelet.builders import BEGIN, SECOND, pod
from tests.virtual_time import VirtualClock

EMPTY_DIR = {"name": "scratch", "emptyDir": {}}
POD = pod(volumes=[EMPTY_DIR])
LABELS = '{container="c",namespace="default",pod="a"}'


def used(cpu: int, memory: int = 1000) -> Usage:
    return Usage(
        cpu=Cpu(nanoseconds=cpu, quota_micros=20_000, throttled_periods=3),
        memory=Memory(usage=memory, working_set=memory - 100, rss=memory - 200),
        processes=2,
    )


def sample(cpu: int = 5 * SECOND, at: int = BEGIN + 10 * SECOND) -> Sample:
    one = ContainerSample(
        container=Container(id="1", name="c", state="running", started_at=BEGIN),
        group="/kubepods/besteffort/podu/1",
        usage=used(cpu),
        at=at,
    )
    whole = PodSample(
        facts=PodFacts(pod=POD, containers=[one.container], sandbox_id="s"),
        group="/kubepods/besteffort/podu",
        usage=used(cpu + 1),
        at=at,
        containers=[one],
        interfaces=[Interface("eth0", 10, 1, 0, 0, 20, 2, 0, 0)],
    )
    return Sample(usage=used(9 * cpu, 9000), at=at, pods=[whole], all_pods=used(2 * cpu, 2000))


def measured(**more: Any) -> Measured:
    words = NodeWords(
        name="n1",
        booted=datetime(2026, 1, 1, tzinfo=UTC),
        memory_bytes=20_000,
        pids_max=1000,
        pids=50,
    )
    return Measured(words, sample(), more.pop("rates", {}), Disks(**more))


@given(spent=st.integers(0, 10**12), more=st.integers(0, 10**11), seconds=st.floats(0.01, 1000.0))
def test_a_rate_is_what_was_spent_over_the_time_between(
    spent: int, more: int, seconds: float
) -> None:
    nanos = int(seconds * SECOND)
    before, now = sample(spent), sample(spent + more, BEGIN + 10 * SECOND + nanos)
    found = rates(before, now)
    assert found["/kubepods/besteffort/podu/1"] == more * SECOND // nanos


def test_a_container_that_began_anew_has_no_rate() -> None:
    assert rates(sample(100), sample(50, BEGIN + 11 * SECOND)) == {}
    assert rates(None, sample()) == {}


def test_the_resource_page_has_upstreams_names() -> None:
    page = list(resource_metrics.lines(sample()))
    millis = (BEGIN + 10 * SECOND) // 1_000_000
    assert f"container_cpu_usage_seconds_total{LABELS} 5 {millis}" in page
    assert f"container_memory_working_set_bytes{LABELS} 900 {millis}" in page
    assert f"container_start_time_seconds{LABELS} {BEGIN // SECOND}" in page
    assert f"node_cpu_usage_seconds_total 45 {millis}" in page
    assert f"node_memory_working_set_bytes 8900 {millis}" in page
    assert 'pod_memory_working_set_bytes{namespace="default",pod="a"} 900 ' + str(millis) in page
    assert "resource_scrape_error 0" in page
    assert "scrape_error 0" in page


def test_a_page_that_could_not_be_made_says_so() -> None:
    assert "resource_scrape_error 1" in list(resource_metrics.lines(None))
    machine = cadvisor.Machine(2, 1000, "b", "m", "s")
    assert "container_scrape_error 1" in list(cadvisor.lines(None, machine))


def test_cadvisors_page_tells_every_group_and_opens_each_metric_once() -> None:
    page = list(cadvisor.lines(sample(), cadvisor.Machine(2, 1000, "b", "m", "s")))
    heads = [line for line in page if line.startswith("# TYPE")]
    assert len(heads) == len(set(heads))
    text = "\n".join(page)
    assert 'id="/kubepods/besteffort/podu/1",image="",name="1",namespace="default"' in text
    assert 'container_network_receive_bytes_total{container="",id="/kubepods/be' in text
    assert 'interface="eth0"} 10 ' in text
    assert "machine_cpu_cores{" in text


def test_a_summary_has_node_pods_and_containers() -> None:
    space = Space(1000, 400, 100, 50)
    document = summary(
        measured(
            rates={"/kubepods/besteffort/podu/1": 77},
            node=space,
            layers={"1": Used(10, 1)},
            logs={"1": Used(20, 2)},
            volumes={("u", "scratch"): (space, Used(30, 3))},
        )
    )
    node, (one,) = document["node"], document["pods"]
    assert node["nodeName"] == "n1"
    assert [one["name"] for one in node["systemContainers"]] == ["pods"]
    assert node["systemContainers"][0]["memory"]["workingSetBytes"] == 1900
    assert node["memory"]["availableBytes"] == 20_000 - 8900
    assert node["fs"]["usedBytes"] == 600
    assert node["rlimit"]["curproc"] == 50
    assert one["podRef"] == {"name": "a", "namespace": "default", "uid": "u"}
    assert one["ephemeral-storage"]["usedBytes"] == 60
    assert one["volume"][0]["name"] == "scratch"
    assert one["containers"][0]["cpu"]["usageNanoCores"] == 77
    assert one["containers"][0]["startTime"] == "2026-01-01T00:00:00Z"
    assert one["network"]["interfaces"][0]["txBytes"] == 20


def test_the_short_summary_has_processor_and_memory_only() -> None:
    document = only_cpu_and_memory(summary(measured(node=Space(1000, 400, 100, 50))))
    assert set(document["node"]) == {"nodeName", "startTime", "cpu", "memory"}
    assert set(document["pods"][0]) == {"podRef", "startTime", "cpu", "memory", "containers"}


def test_probes_are_counted_until_their_pod_is_gone() -> None:
    counts = ProbeCounts()
    for ok in (True, True, False, None):
        counts.add(POD, "c", "liveness", ok)
    found = [line.rpartition(",")[2] for line in counts.lines() if line[0] != "#"]
    assert found == ['result="failed"} 1', 'result="successful"} 2', 'result="unknown"} 1']
    counts.forget("u")
    assert list(counts.lines()) == []


class NoImages:
    async def filesystems(self) -> list[tuple[str, int]]:
        return []


async def provider(folder: Path, taken: list[int]) -> tuple[Provider, VirtualClock]:
    clock = VirtualClock()

    def facts() -> list[PodFacts]:
        taken.append(1)
        return []

    node = Node(name="n1", memory_bytes=1000, folder=folder)
    sampler = Sampler(Cgroups(unified=folder), facts)
    return Provider(node, sampler, cast("Images", NoImages()), clock), clock


async def test_who_asks_at_the_same_moment_gets_the_same_sample(tmp_path: Path) -> None:
    taken: list[int] = []
    made, _ = await provider(tmp_path, taken)
    one, other = await asyncio.gather(made.sample(), made.sample())
    assert one is other
    assert taken == [1]


async def test_who_asks_all_the_time_gets_rates_of_the_last_moments(tmp_path: Path) -> None:
    made, clock = await provider(tmp_path, [])
    stamps = []
    for _ in range(4):
        found = await made.measured(with_disks=False)
        stamps.append(found.sample.at)
        await clock.sleep(0.6)
    kept = made.kept()
    assert len(kept) <= 3
    assert kept[0].at >= stamps[0]


@pytest.mark.parametrize("disks", [True, False])
async def test_the_first_summary_is_made_of_two_samples(tmp_path: Path, *, disks: bool) -> None:
    taken: list[int] = []
    made, clock = await provider(tmp_path, taken)
    before = clock.monotonic()
    found = await made.measured(with_disks=disks)
    assert clock.monotonic() >= before + 1.0
    assert len(taken) == 2
    assert (found.disks.node is not None) == disks


async def test_volumes_of_claims_tell_how_full_they_are(tmp_path: Path) -> None:
    clock = VirtualClock()
    volumes = [
        {"name": "v", "persistentVolumeClaim": {"claimName": "c"}},
        {"name": "w", "ephemeral": {}},
        {"name": "x", "emptyDir": {}},
    ]
    metadata = {"name": "p", "namespace": "d", "uid": "u"}
    pod = {"metadata": metadata, "spec": {"containers": [], "volumes": volumes}}
    facts = PodFacts(pod=pod, folder=tmp_path, volumes={"v": tmp_path})

    async def driven(uid: str) -> dict[str, VolumeUse]:
        assert uid == "u"
        return {"w": VolumeUse(Space(100, 60, 10, 9), Used(40, 1))}

    node = Node(name="n1", memory_bytes=1000, folder=tmp_path, driven=driven)
    sampler = Sampler(Cgroups(unified=tmp_path), lambda: [facts])
    made = Provider(node, sampler, cast("Images", NoImages()), clock)
    found = [line for line in volume_metrics.lines(await made.claims()) if line[0] != "#"]
    whole = '{namespace="d",persistentvolumeclaim="p-w"}'
    assert f"kubelet_volume_stats_capacity_bytes{whole} 100" in found
    assert f"kubelet_volume_stats_inodes_used{whole} 1" in found
    measured = 'kubelet_volume_stats_used_bytes{namespace="d",persistentvolumeclaim="c"} '
    assert any(line.startswith(measured) for line in found)
    assert len(found) == 12
