"""What pods ask for in the kernel's units, their class, and the groups that hold them."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minikube_py.agent.kubelet.cgroups import Cgroups, cpu_weight, pod_group
from minikube_py.agent.kubelet.qos import oom_score, qos_class
from minikube_py.agent.kubelet.resources import (
    Limits,
    container_resources,
    cpu_quota,
    cpu_shares,
    pod_amounts,
    pod_limits,
)
from tests.unit.agent.kubelet.builders import container, pod, sidecar

GIB = 1 << 30


def sized(name="c", *, kind=container, **resources):
    return kind(name, resources=resources)


def both(cpu="1", memory="1Gi"):
    return {"requests": {"cpu": cpu, "memory": memory}, "limits": {"cpu": cpu, "memory": memory}}


@pytest.mark.parametrize(
    ("a_pod", "expected"),
    [
        (pod(), "BestEffort"),
        (pod([sized(**both())]), "Guaranteed"),
        (pod([sized(limits={"cpu": "1", "memory": "1Gi"})]), "Guaranteed"),
        (pod([sized(**both()), sized("d")]), "Burstable"),
        (pod([sized(requests={"cpu": "1"})]), "Burstable"),
        (pod([sized(limits={"cpu": "1"})]), "Burstable"),
        (pod([sized(**both())], init=[sized("i", requests={"cpu": "1"})]), "Burstable"),
        (pod([sized(requests={"example.com/gpu": "1"})]), "BestEffort"),
        (pod(resources=both()), "Guaranteed"),
        (pod(status={"qosClass": "Burstable"}), "Burstable"),
    ],
)
def test_the_class_follows_from_requests_and_limits(a_pod, expected):
    assert qos_class(a_pod) == expected


@pytest.mark.parametrize(
    ("a_pod", "expected"),
    [
        (pod(), 1000),
        (pod([sized(**both())]), -997),
        (pod([sized(requests={"memory": "512Mi"})]), 500),
        (pod([sized(requests={"memory": "1Mi"})]), 999),
        (pod([sized(requests={"memory": "2Gi"})]), 3),
        (pod(priority=2_000_000_000), -997),
    ],
)
def test_the_score_rises_with_what_was_not_asked_for(a_pod, expected):
    assert oom_score(a_pod, a_pod["spec"]["containers"][0], GIB) == expected


@pytest.mark.parametrize(
    ("milli", "shares", "quota"), [(0, 2, 0), (1, 2, 1000), (500, 512, 50000), (2000, 2048, 200000)]
)
def test_processors_become_shares_and_quota(milli, shares, quota):
    assert (cpu_shares(milli), cpu_quota(milli)) == (shares, quota)


@given(st.integers(0, 300_000))
def test_weights_stay_in_the_kernel_s_range(milli):
    assert 1 <= cpu_weight(cpu_shares(milli)) <= 10000


def test_a_pod_needs_what_its_containers_need_or_its_hungriest_init_container():
    init = [
        sized("side", kind=sidecar, requests={"cpu": "1"}),
        sized("i", requests={"cpu": "4", "memory": "1Gi"}),
    ]
    a_pod = pod([sized(requests={"cpu": "2", "memory": "2Gi"})], init=init)
    found = {name: str(amount) for name, amount in pod_amounts(a_pod, "requests").items()}
    assert found == {"cpu": "5", "memory": "2Gi"}


def test_an_overhead_is_added_and_the_pod_s_own_word_goes_before():
    a_pod = pod(
        [sized(requests={"cpu": "1"})],
        overhead={"cpu": "500m"},
        resources={"requests": {"cpu": "3"}},
    )
    assert str(pod_amounts(a_pod, "requests")["cpu"]) == "3500m"


def test_a_pod_has_a_limit_only_where_all_its_containers_have_one():
    full = sized(**both("500m", "64Mi"))
    assert pod_limits(pod([full])) == Limits(512, 50000, 64 << 20)
    assert pod_limits(pod([full, sized("d")])) == Limits(512)
    by_pod = pod([sized()], resources={"limits": {"memory": "1Gi"}})
    assert pod_limits(by_pod).memory_bytes == GIB


def test_a_container_without_request_has_its_limit_as_request():
    one = sized(limits={"cpu": "500m", "memory": "64Mi"})
    found = container_resources(pod([one]), one, GIB, unified=False)
    assert found["cpu_shares"] == 512
    assert found["cpu_quota"] == 50000
    assert found["memory_limit_in_bytes"] == 64 << 20
    assert "unified" not in found
    assert "unified" in container_resources(pod([one]), one, GIB, unified=True)


# --- groups, in folders that look like the kernel's ---------------------------------------------


def test_groups_are_named_by_class():
    assert pod_group(pod()) == "/kubepods/besteffort/podu"
    assert pod_group(pod([sized(**both())])) == "/kubepods/podu"
    assert pod_group(pod([sized(requests={"cpu": "1"})])) == "/kubepods/burstable/podu"


@pytest.fixture
def v1(tmp_path: Path) -> Cgroups:
    for name in ("cpu", "memory", "cpuset", "pids"):
        (tmp_path / name).mkdir()
    for name, value in (("cpuset.cpus", "0-3"), ("cpuset.mems", "0")):
        (tmp_path / "cpuset" / name).write_text(value)
    return Cgroups({name: tmp_path / name for name in ("cpu", "memory", "cpuset", "pids")})


def test_version_1_sets_limits_in_each_tree(v1, tmp_path, monkeypatch):
    made = tmp_path / "cpuset" / "kubepods"

    real = Path.mkdir

    def mkdir(self, *args, **more):  # the kernel fills a new folder with files
        real(self, *args, **more)
        if self.is_relative_to(made):
            for name in ("cpuset.cpus", "cpuset.mems"):
                if not (self / name).exists():
                    (self / name).write_text("\n")

    monkeypatch.setattr(Path, "mkdir", mkdir)
    v1.create("/kubepods/podu", Limits(512, 50000, GIB, 100))
    read = {
        str(path.relative_to(tmp_path)): path.read_text()
        for path in tmp_path.rglob("kubepods/podu/*")
    }
    assert read == {
        "cpu/kubepods/podu/cpu.shares": "512",
        "cpu/kubepods/podu/cpu.cfs_period_us": "100000",
        "cpu/kubepods/podu/cpu.cfs_quota_us": "50000",
        "memory/kubepods/podu/memory.limit_in_bytes": str(GIB),
        "pids/kubepods/podu/pids.max": "100",
        "cpuset/kubepods/podu/cpuset.cpus": "0-3",
        "cpuset/kubepods/podu/cpuset.mems": "0",
    }


@pytest.fixture
def v2(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cgroups:
    real = Path.mkdir

    def mkdir(self, *args, **more):
        real(self, *args, **more)
        (self / "cgroup.controllers").write_text("cpu memory pids")

    (tmp_path / "cgroup.controllers").write_text("cpu memory pids misc")
    monkeypatch.setattr(Path, "mkdir", mkdir)
    return Cgroups({}, tmp_path)


def test_version_2_hands_controllers_down_and_sets_limits(v2, tmp_path):
    v2.create("/kubepods/podu", Limits(1024, None, None, None))
    folder = tmp_path / "kubepods" / "podu"
    assert (folder / "cpu.weight").read_text() == "39"
    assert (folder / "cpu.max").read_text() == "max 100000"
    assert (folder / "memory.max").read_text() == "max"
    assert (tmp_path / "cgroup.subtree_control").exists()
    assert (tmp_path / "kubepods" / "cgroup.subtree_control").exists()
    assert not (folder / "cgroup.subtree_control").exists()


def test_groups_of_pods_are_found_and_removed(tmp_path):
    groups = Cgroups({"cpu": tmp_path})
    for path in ("kubepods/podx/inner", "kubepods/burstable/pody", "kubepods/besteffort"):
        (tmp_path / path).mkdir(parents=True)
    assert groups.pods() == {"x": "/kubepods/podx", "y": "/kubepods/burstable/pody"}
    assert groups.remove("/kubepods/podx")
    assert not (tmp_path / "kubepods/podx").exists()
    assert groups.remove("/kubepods/podx")


def test_processes_of_a_group_are_found_in_all_trees_and_below(tmp_path):
    trees = {name: tmp_path / name for name in ("cpu", "memory")}
    groups = Cgroups(trees)
    below = trees["cpu"] / "kubepods" / "podu" / "container"
    other = trees["memory"] / "kubepods" / "podu"
    for folder, text in ((below, "12\n13\n"), (below.parent, ""), (other, "13\n14\n")):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "cgroup.procs").write_text(text)
    assert groups.processes("/kubepods/podu") == {12, 13, 14}
    assert groups.processes("/kubepods/podv") == set()
