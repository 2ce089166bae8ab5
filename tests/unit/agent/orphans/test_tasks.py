"""Which tasks belong to nobody, and that nothing of them lives on."""

import contextlib
import hashlib
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from minikube_py.agent.cri.errors import CriError
from minikube_py.agent.orphans import run, sockets, tasks
from minikube_py.agent.orphans.run import Orphans
from minikube_py.agent.orphans.tasks import Process

ID, OTHER = "a1" * 32, "b2" * 32
SOCKET = Path("/data/containerd.sock")
CHILD = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'input()'])"
PROGRAM = b"/usr/bin/containerd-shim-runc-v2"


def shim(
    socket: str = str(SOCKET), *more: bytes, program: bytes = PROGRAM, space: bytes = b"k8s.io"
) -> Process:
    flags = (b"-namespace", space, b"-id", ID.encode(), b"-address", socket.encode(), *more)
    return Process(7, 1, (program, *flags))


@pytest.mark.parametrize(
    "other",
    [
        shim("/data2/containerd.sock"),
        shim(program=b"/usr/bin/vi"),
        shim(space=b"default"),
        Process(2, 0, ()),
        Process(2, 0, (b"containerd-shim",)),
    ],
)
def test_only_shims_of_our_pods_are_ours(other):
    assert list(tasks.shims([other, shim()], SOCKET)) == [(7, ID)]
    assert not list(tasks.shims([other], SOCKET))


def test_a_shim_with_all_below_it_and_what_is_in_the_group_belongs_to_a_task():
    running = [
        Process(1, 0, (b"grep", ID.encode())),
        shim(),
        Process(6, 7, (b"runc", b"create", OTHER.encode())),
        Process(8, 7, (b"runc",)),
        Process(9, 8, (b"init",)),
        Process(10, 1, (b"sleep",), frozenset({ID, "system"})),
        Process(11, 10, (b"child",)),
        Process(12, 1, (b"sleep",), frozenset({OTHER})),
    ]
    assert tasks.belongings(running, SOCKET, ID) == {6, 7, 8, 9, 10, 11}
    assert tasks.belongings(running, SOCKET, OTHER) == {6, 12}
    assert tasks.belongings(running, SOCKET, "c3" * 32) == set()


def test_what_runs_is_seen_with_parent_command_and_groups(tmp_path):
    own = next(process for process in tasks.processes() if process.pid == os.getpid())
    assert own.parent == os.getppid()
    assert own.command
    folder = tmp_path / "5"
    folder.mkdir()
    (folder / "stat").write_text("5 (a) b (c)) S 3 5 5 0")
    (folder / "cmdline").write_bytes(b"a\0-b\0")
    (folder / "cgroup").write_text(f"2:cpu:/kubepods/pod1/{ID}\n1:name=systemd:/\n0::/x/{OTHER}\n")
    (tmp_path / "meminfo").touch()
    (tmp_path / "6").mkdir()
    assert list(tasks.processes(tmp_path)) == [Process(5, 3, (b"a", b"-b"), frozenset({ID, OTHER}))]


@pytest.fixture
def lost(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Have a shim with a child, as far as its command line tells."""
    program = tmp_path / "containerd-shim-test"
    program.symlink_to(sys.executable)
    flags = ["-namespace", "k8s.io", "-id", ID, "-address", str(tmp_path / "socket"), "-"]
    process = subprocess.Popen(
        [program, "-c", CHILD, *flags], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    yield process
    process.kill()
    process.communicate()


def books(monkeypatch: pytest.MonkeyPatch, found: Mapping[str, bytes] | None) -> None:
    """Have a containerd that has these books, or none."""

    async def containers(_: object) -> Mapping[str, bytes]:
        if found is None:
            raise CriError("away", "UNAVAILABLE")
        return found

    monkeypatch.setattr(run.Records, "containers", containers)


async def test_what_stands_in_no_book_goes_with_its_processes_and_files(
    tmp_path, monkeypatch, lost
):
    socket = tmp_path / "socket"
    made = [tmp_path / kind / tasks.BUNDLES / name for kind in ("state", "root") for name in
            (ID, OTHER, "mine")]  # fmt: skip
    for path in made:
        (path / "rootfs").mkdir(parents=True)
    while len(family := tasks.belongings(list(tasks.processes()), socket, ID)) < 2:
        assert lost.poll() is None
    for answer in (None, {ID: b"", OTHER: b""}):
        books(monkeypatch, answer)
        try:
            await Orphans(tmp_path, socket).remove()
        except CriError:
            assert answer is None
        assert lost.poll() is None
        assert all(path.exists() for path in made)
    books(monkeypatch, {OTHER: b""})
    await Orphans(tmp_path, socket).remove()
    assert lost.wait(10) < 0
    lost.communicate(timeout=10)  # its pipe is closed when the last of them has ended
    assert not family & {process.pid for process in tasks.processes() if process.command}
    assert [path.name for path in made if path.exists()] == [OTHER, "mine"] * 2


async def test_a_task_without_a_first_process_is_half_made(tmp_path, lost):
    bundles = tmp_path / "state" / tasks.BUNDLES
    for name in (ID, OTHER, f".{OTHER}", "mine"):
        (bundles / name).mkdir(parents=True)
    (bundles / ID / tasks.FIRST).touch()
    orphans = Orphans(tmp_path, tmp_path / "socket")
    await orphans.prepare()
    assert sorted(path.name for path in bundles.iterdir()) == [ID, "mine"]
    assert lost.poll() is None
    (bundles / ID / tasks.FIRST).unlink()
    await orphans.prepare()
    assert [path.name for path in bundles.iterdir()] == ["mine"]
    assert lost.wait(10) < 0


async def test_a_machine_on_which_nothing_was_made_is_not_asked(tmp_path, monkeypatch):
    books(monkeypatch, None)
    await Orphans(tmp_path, tmp_path / "socket").remove(before=())


async def test_namespaces_from_before_a_start_go_where_they_stand_in_no_book(tmp_path, monkeypatch):
    folder = tmp_path / "state" / "io.containerd.grpc.v1.cri" / "netns"
    folder.mkdir(parents=True)
    (folder / "cni-1").touch()
    orphans = Orphans(tmp_path, tmp_path / "socket")
    before = await orphans.prepare()
    (folder / "cni-2").touch()
    books(monkeypatch, {ID: b"{"})
    with pytest.raises(CriError, match="does not tell of namespaces"):
        await orphans.remove(before)
    books(monkeypatch, {ID: b"{}"})
    await orphans.remove(before)
    assert [path.name for path in folder.iterdir()] == ["cni-2"]


def test_the_socket_of_a_shim_that_was_killed_goes_with_its_sandbox(tmp_path, monkeypatch):
    monkeypatch.setattr(sockets, "SOCKETS", tmp_path)
    names = [
        hashlib.sha256(f"{path}/k8s.io/{ID}".encode()).hexdigest()
        for path in ("/data/containerd.sock", "/other/containerd.sock")
    ]
    for name in names:
        (tmp_path / name).touch()
    orphans = Orphans(tmp_path, SOCKET)
    orphans.removed(OTHER)
    assert len(list(tmp_path.iterdir())) == 2
    orphans.removed(ID)
    orphans.removed(ID)
    assert [path.name for path in tmp_path.iterdir()] == names[1:]


def test_sockets_on_which_nobody_listens_go_after_a_while(monkeypatch):
    with tempfile.TemporaryDirectory(dir="/tmp") as name:  # paths of sockets are short
        monkeypatch.setattr(sockets, "SOCKETS", Path(name))
        check_sweep(Path(name))


def check_sweep(folder: Path) -> None:
    now = folder.stat().st_ctime
    sockets.sweep(SOCKET, (), now + 1000)  # there are none
    ours = sockets.path_of(SOCKET, ID)
    listening, dead = folder / "listening", folder / "dead"
    with contextlib.ExitStack() as stack:
        for path in (ours, listening, dead):
            made = stack.enter_context(socket.socket(socket.AF_UNIX))
            made.bind(os.fspath(path))
            if path is listening:
                made.listen(0)
        (folder / "file").touch()
        sockets.sweep(SOCKET, {ID}, now + 20)
        assert dead.exists()
        for _ in range(3):  # also one that has no room for another connection
            sockets.sweep(SOCKET, {ID}, now + 1000)
        assert {path.name for path in folder.iterdir()} == {ours.name, "listening", "file"}
        sockets.sweep(SOCKET, (), now + 1000)
        assert {path.name for path in folder.iterdir()} == {"listening", "file"}
