"""What is read from the kernel's trees, of both versions."""

import os
from pathlib import Path

import pytest

from minikube_py.agent.kubelet.cgroups import Cgroups
from minikube_py.agent.kubelet.stats import disk, network, usage
from minikube_py.agent.kubelet.stats.provider import threads

V1 = {
    "cpuacct/g/cpuacct.usage": "5000000000\n",
    "cpuacct/g/cpuacct.stat": "user 300\nsystem 200\n",
    "cpu/g/cpu.stat": "nr_periods 10\nnr_throttled 4\nthrottled_time 70\n",
    "cpu/g/cpu.cfs_quota_us": "20000\n",
    "cpu/g/cpu.cfs_period_us": "100000\n",
    "cpu/g/cpu.shares": "512\n",
    "memory/g/memory.usage_in_bytes": "1000\n",
    "memory/g/memory.stat": "total_inactive_file 300\ntotal_rss 600\ntotal_pgfault 7\n",
    "memory/g/memory.limit_in_bytes": "4096\n",
    "pids/g/cgroup.procs": "12\n13\n",
}
V2 = {
    "g/cpu.stat": "usage_usec 5000000\nuser_usec 3000000\nsystem_usec 2000000\n"
    "nr_periods 10\nnr_throttled 4\nthrottled_usec 0\n",
    "g/cpu.max": "20000 100000\n",
    "g/cpu.weight": "20\n",
    "g/memory.current": "1000\n",
    "g/memory.stat": "anon 600\nfile 400\ninactive_file 300\npgfault 7\n",
    "g/memory.max": "4096\n",
    "g/cgroup.procs": "12\n13\n",
    "g/memory.events": "oom 2\noom_kill 1\n",
}


def written(folder: Path, files: dict[str, str]) -> Path:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content)
    return folder


def trees(version: int, folder: Path) -> Cgroups:
    if version == 2:
        return Cgroups(unified=written(folder, V2))
    written(folder, V1)
    return Cgroups({name: folder / name for name in ("cpu", "cpuacct", "memory", "pids")})


@pytest.mark.parametrize("version", [1, 2])
def test_both_versions_say_the_same(version: int, tmp_path: Path) -> None:
    found = usage.read(trees(version, tmp_path), "/g")
    assert found.cpu is not None
    assert found.memory is not None
    assert found.cpu.nanoseconds == 5_000_000_000
    assert found.cpu.user_nanoseconds == 3_000_000_000
    assert (found.cpu.periods, found.cpu.throttled_periods) == (10, 4)
    assert (found.cpu.quota_micros, found.cpu.period_micros) == (20_000, 100_000)
    assert (found.memory.usage, found.memory.working_set) == (1000, 700)
    assert (found.memory.rss, found.memory.page_faults) == (600, 7)
    assert found.memory.available == 4096 - 700
    assert found.processes == 2


def test_a_group_that_is_gone_uses_nothing_that_could_be_told(tmp_path: Path) -> None:
    for version in (1, 2):
        assert usage.read(trees(version, tmp_path / str(version)), "/h") == usage.Usage()


def test_a_limit_near_the_end_of_numbers_is_none(tmp_path: Path) -> None:
    found = trees(1, tmp_path)
    (tmp_path / "memory/g/memory.limit_in_bytes").write_text("9223372036854771712")
    memory = usage.read(found, "/g").memory
    assert memory is not None
    assert memory.limit is None
    assert memory.available is None


NET_DEV = """Inter-|   Receive                            |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes packets errs drop
    lo:     100      2    0    0    0     0          0         0      100      2    0    0    0
  eth0:    4242     21    1    2    0     0          0         0     2121     12    3    4    0
"""
ROUTES = """Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT
cni0\t00002A0A\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0
eth0\t00000000\t0101A8C0\t0003\t0\t0\t0\t00000000\t0\t0\t0
"""


def test_interfaces_are_read_without_the_loopback() -> None:
    assert network.parse(NET_DEV) == [network.Interface("eth0", 4242, 21, 1, 2, 2121, 12, 3, 4)]
    assert network.parse("") == []


def test_the_interface_of_the_default_route_is_found() -> None:
    assert network.default_interface(ROUTES) == "eth0"
    assert network.default_interface("") == ""


def test_threads_are_what_stands_behind_the_slash() -> None:
    assert threads("0.10 0.20 0.30 2/345 6789") == 345
    assert threads("") == 0


def test_a_folder_takes_the_blocks_of_its_files_each_once(tmp_path: Path) -> None:
    (tmp_path / "below").mkdir()
    (tmp_path / "below" / "a").write_bytes(b"x" * 100_000)
    os.link(tmp_path / "below" / "a", tmp_path / "b")
    (tmp_path / "c").symlink_to("/usr")
    took = disk.used(tmp_path)
    assert 100_000 <= took.bytes < 200_000
    assert took.inodes == 4
    assert disk.used(tmp_path / "nothing") == disk.Used(0, 0)


def test_a_walk_is_bounded(tmp_path: Path) -> None:
    for number in range(20):
        (tmp_path / str(number)).touch()
    assert disk.used(tmp_path, files_max=5).inodes == 5


def test_space_of_what_is_not_there_is_unknown(tmp_path: Path) -> None:
    assert disk.space(tmp_path / "nothing") is None
    found = disk.space(tmp_path)
    assert found is not None
    assert found.used == found.capacity - found.available
