"""The recipes of docs/operations.md, each run as it stands there.

A section has machines of its own: `one` with a server and something in it, and `two`, blank. What
is a place in the recipes (the data dir, the database, the bucket) is another here; `systemctl`
is the test, which starts and stops `kpy server`.
"""

import os
import re
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.datastore.conftest import postgres
from tests.datastore.servers import Server as DatabaseServer
from tests.integration.amazon import CREDENTIALS, Amazon
from tests.ports import free_port
from tests.program import KPY, Server

__all__ = ["postgres"]

DOCUMENT = Path(__file__).parents[2] / "docs/operations.md"
FENCE = re.compile(r"^```(\w+)(?: (\w+))?\n(.*?)^```", re.MULTILINE | re.DOTALL)
DATABASE = "postgres://kpy:secret@db.example.com/kubernetes"
FIRST_SERVER = "https://10.0.0.1:6443"
WITH_ETCD = "Servers that run etcd themselves"
RECIPE_SECONDS_MAX = 120
END_SECONDS_MAX = 60


class Block(NamedTuple):
    """A fenced block: `sh` or `yaml`, and whose machine it is for."""

    language: str
    machine: str
    text: str


def sections() -> dict[str, list[Block]]:
    """Return the blocks of each section that has any."""
    parts = re.split(r"^## (.*)\n", DOCUMENT.read_text(), flags=re.MULTILINE)[1:]
    found = {
        title: [Block(kind, machine or "one", body) for kind, machine, body in FENCE.findall(text)]
        for title, text in zip(parts[::2], parts[1::2], strict=True)
    }
    return {title: blocks for title, blocks in found.items() if blocks}


SECTIONS = sections()


class Machine:
    """A machine of its own, as far as kpy can tell."""

    def __init__(self, folder: Path, places: dict[str, str]) -> None:
        folder.mkdir()
        self.folder = folder
        self.etc = folder / "etc"
        self.etc.mkdir()
        self.flags = (
            "--disable-controller-manager",
            "--disable-scheduler",
            f"--config={self.etc / 'config.yaml'}",
            f"--etcd-client-port={free_port()}",
            f"--etcd-peer-port={free_port()}",
        )
        self.server = Server(folder)
        self.places = {"/etc/kpy": str(self.etc), "/var/lib/kpy": str(folder / "data"), **places}
        self.environment = {
            **os.environ,
            **CREDENTIALS,
            "PATH": f"{folder.parent / 'bin'}:{KPY.parent}:{os.environ['PATH']}",
            "KPY_CONFIG": str(self.etc / "config.yaml"),
            "KPY_DATA_DIR": str(folder / "data"),
            "KUBECONFIG": str(folder / "kubeconfig"),
        }
        (self.etc / "config.yaml").write_text("")

    def local(self, text: str) -> str:
        """Return a text of the recipe with the places of this machine."""
        for there, here in self.places.items():
            text = text.replace(there, here)
        return text

    def run(self, block: Block) -> None:
        if block.language == "yaml":
            (self.etc / "config.yaml").write_text(self.local(block.text))
            return
        for line in block.text.splitlines():
            verb = re.fullmatch(r"systemctl (start|stop|restart) kpy", line)
            if verb is None:
                self.shell(line)
                continue
            if verb[1] != "start":
                assert self.server.stop()[0] == 0
            if verb[1] != "stop":
                self.start()

    def start(self) -> None:
        self.server.flags = self.flags
        self.server.start()

    def shell(self, line: str) -> str:
        done = subprocess.run(
            ["bash", "-c", self.local(line)],
            env=self.environment,
            cwd=self.folder,
            check=False,
            capture_output=True,
            text=True,
            timeout=RECIPE_SECONDS_MAX,
        )
        assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"
        return done.stdout

    def end(self) -> None:
        process = self.server.process
        if process is None or process.poll() is not None:
            return
        process.terminate()  # so that what it runs ends with it
        try:
            process.wait(END_SECONDS_MAX)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


class World(NamedTuple):
    """Two machines."""

    one: Machine
    two: Machine

    def uid(self, machine: Machine, name: str) -> str:
        return machine.shell(f"kubectl get configmap {name} -o jsonpath={{.metadata.uid}}")


@pytest.fixture(scope="module")
def amazon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Amazon]:
    made = Amazon(tmp_path_factory.mktemp("amazon") / "log")
    yield made
    made.close()


@pytest.fixture(params=SECTIONS)
def title(request: pytest.FixtureRequest) -> str:
    """Return the section that is followed."""
    return str(request.param)


@pytest.fixture
def places(title: str, request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, str]:
    """Return what stands for the recipe's places outside of the machines."""
    (tmp_path / "backup").mkdir()
    found = {"/mnt/backup": str(tmp_path / "backup")}
    text = "".join(block.text for block in SECTIONS[title])
    if DATABASE in text:
        database: DatabaseServer = request.getfixturevalue("postgres")
        found[DATABASE] = database.endpoint()
    if "https://s3.example.com" in text:
        store: Amazon = request.getfixturevalue("amazon")
        store.client("s3").create_bucket(Bucket="backups")
        found["https://s3.example.com"] = store.url
    return found


@pytest.fixture
def world(title: str, tmp_path: Path, places: dict[str, str]) -> Iterator[World]:
    made = World(*(Machine(tmp_path / name, places) for name in ("one", "two")))
    made.two.places[FIRST_SERVER] = f"https://127.0.0.1:{made.one.server.port}"
    program(tmp_path / "bin/ssh", remote(made))
    try:
        if title != WITH_ETCD:
            made.one.start()
            made.one.shell("kubectl create configmap kept --from-literal=a=b")
        yield made
    finally:
        made.two.end()
        made.one.end()


def remote(world: World) -> str:
    """Return a program that runs its words on the first machine."""
    own = {name: world.one.environment[name] for name in ("KPY_CONFIG", "KPY_DATA_DIR")}
    lines = (
        f"#!{sys.executable}",
        "import os, sys",
        f"os.environ.update({own!r})",
        "os.execvp(sys.argv[2], sys.argv[2:])",
    )
    return "\n".join(lines)


def program(path: Path, text: str) -> None:
    path.parent.mkdir()
    path.write_text(text)
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


def listed(world: World) -> None:
    rows = world.one.shell("kpy snapshot ls").splitlines()
    assert [row.split()[0].partition("-vm")[0].split("-")[0] for row in rows[:1]] == ["NAME"]
    assert any(row.startswith("elsewhere-") and "s3://backups" in row for row in rows)
    assert any(row.startswith("before-upgrade-") and " no " in row for row in rows)


def gone_back(world: World) -> None:
    assert world.uid(world.one, "kept")
    names = world.one.shell("kubectl get configmaps -o name").split()
    assert "configmap/later" not in names


def moved(world: World) -> None:
    kubeconfig = (world.two.folder / "kubeconfig").read_text()
    assert "certificate-authority-data" in kubeconfig
    assert world.uid(world.two, "kept")
    (one, two) = (machine.folder / "data/server/token" for machine in world)
    assert one.read_text() == two.read_text()


def in_the_database(world: World) -> None:
    assert world.uid(world.one, "kept")
    assert "postgres" in (world.one.etc / "config.yaml").read_text()


def two_servers(world: World) -> None:
    world.two.shell("kubectl create configmap shared")
    assert world.uid(world.one, "shared") == world.uid(world.two, "shared")


def rotated(world: World) -> None:
    assert "after-rotation-" in world.one.shell("kpy snapshot ls")


def nothing_recovered(world: World) -> None:
    assert world.uid(world.one, "kept")


CHECKS: dict[str, Callable[[World], None]] = {
    "Back up": listed,
    "Go back to a snapshot": gone_back,
    "Move to another machine": moved,
    "Move to PostgreSQL": in_the_database,
    "Several servers": two_servers,
    WITH_ETCD: two_servers,
    "Change keys": rotated,
    "When something is broken": nothing_recovered,
}
"""What is to be true when the recipe of a section was followed."""


def test_every_section_with_commands_is_checked() -> None:
    assert list(CHECKS) == list(SECTIONS)


def test_a_recipe_does_what_it_says(title: str, world: World) -> None:
    if title == "Go back to a snapshot":
        world.one.shell("kpy snapshot save")
        world.one.shell("kubectl create configmap later")
    for block in SECTIONS[title]:
        machine: Machine = getattr(world, block.machine)
        machine.run(block)
    CHECKS[title](world)
