"""`kpy reset` leaves a machine as it was before kpy."""

import re
import shutil
import subprocess
import tempfile
from collections import Counter
from pathlib import Path

import pytest

from tests.e2e.node.conftest import PROGRAM, Node, make
from tests.e2e.node.machine import Machine, wait_until

pytestmark = pytest.mark.e2e
LOOKS = {
    "links": "ip -o link | sed 's/^[0-9]*: //' | sort",
    "addresses": "ip -o -4 addr | sed 's/^[0-9]*: //; s/valid_lft.*//' | sort",
    "routes": "ip -4 route show table all | sort",
    "rules": "nft list ruleset | grep -E 'table inet|CNI|kpy|10[.]4[23][.]'",
    "mounts": "sed 's/^[0-9]* [0-9]* [^ ]* //' /proc/self/mountinfo | grep -v /run/netns | sort",
    "groups": "find /sys/fs/cgroup -type d -path '*kubepods*' | sort",
    "logs": "ls /var/log/pods 2>/dev/null | grep default_reset- | sort",
    "processes": "ps -eo args= | grep -E 'containerd|kpy server|sleep 8[0-9]{4}' | grep -v grep",
}


def seen(machine: Machine) -> dict[str, str]:
    """Return all that a node might leave, as the machine shows it."""
    return {name: machine.sh("sh", "-c", look, check=False) for name, look in LOOKS.items()}


def reset(node: Node, *flags: str) -> subprocess.CompletedProcess[str]:
    line = [str(PROGRAM), "reset", "--data-dir", str(node.folder), *flags]
    return subprocess.run(
        node.machine.inside(line), check=False, capture_output=True, text=True, timeout=120
    )


def test_nothing_is_left_of_a_node_that_was_killed_with_its_pods(images: Path) -> None:
    folder = Path(tempfile.mkdtemp(prefix="kpy-", dir="/tmp"))
    archives = folder / "agent" / "images"
    archives.mkdir(parents=True)
    for archive in images.glob("*.tar"):
        shutil.copy(archive, archives)
    machine = Machine("reset", folder.with_name(f"{folder.name}-log"))
    try:
        node = Node(machine, folder)
        before = seen(machine)
        node.start()
        memory = [{"name": "v", "emptyDir": {"medium": "Memory"}}]
        container = {
            "volumeMounts": [{"name": "v", "mountPath": "/v"}],
            "ports": [{"containerPort": 80, "hostPort": 31999}],
        }
        node.apply(make("reset-one", "sleep 80001", container=container, volumes=memory))
        node.apply(make("reset-two", "sleep 80002"))
        for name in ("reset-one", "reset-two"):
            node.wait(name, "Running")
        during = seen(machine)
        for name in ("links", "rules", "mounts", "groups", "logs", "processes"):
            assert during[name] != before[name], f"kpy has {name}, or the look sees nothing"

        networks = own_networks(folder, machine)
        assert len(networks) == 2
        refused = reset(node, "--yes")
        assert refused.returncode != 0
        assert "is in use by process" in refused.stderr
        node.kill()
        listed = reset(node, "--dry-run")
        assert listed.returncode == 0, listed.stderr
        assert re.search(r"^bridge +cni0$", listed.stdout, re.MULTILINE)
        assert seen(machine)["groups"] == during["groups"], "a dry run changes nothing"
        done = reset(node, "--yes")
        assert done.returncode == 0, done.stdout + done.stderr
        assert done.stdout.rstrip().endswith("traces removed, none is left")
        wait_until(
            lambda: difference(machine, before) == {},
            20,
            lambda: f"the machine is as before, but: {difference(machine, before)}",
        )
        assert not folder.exists()
        assert not [path for path in networks if path.exists()]
        assert reset(node, "--yes").stdout == "nothing of kpy is on this machine\n"
    finally:
        machine.close()
        shutil.rmtree(folder, ignore_errors=True)


def own_networks(folder: Path, machine: Machine) -> list[Path]:
    """Return CNI's records of the pods that have an address of this node."""
    records = machine.folder / "cni-records" / "results"
    pool = (folder / "agent" / "cni" / "state").rglob("10.42.*")
    ids = [path.read_text().split()[0] for path in pool]
    return [path for one in ids for path in records.glob(f"kpy-{one}-*")]


def difference(machine: Machine, before: dict[str, str]) -> dict[str, set[str]]:
    """Return the lines that are there more or less often than before."""
    found = {}
    for name, after in seen(machine).items():
        was, now = Counter(before[name].splitlines()), Counter(after.splitlines())
        if was != now:
            found[name] = set((was - now) + (now - was))
    return found
