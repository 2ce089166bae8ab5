"""Whatever is killed at whatever moment, a node ends with what is wanted and leaves nothing.

Each round changes something (a pod comes or goes, an image or a configMap changes) and kills
something with -9 while the change is under way: kpy, containerd, a shim, or a process of a
container. Nobody waits for the node between rounds, so damage piles up. At the end the runtime
must have exactly the containers of the pods that the API has, and when all pods are deleted
nothing may be left of them on the machine.

KPY_CHAOS_ROUNDS says how many rounds there are (6; `make chaos` runs 200), KPY_CHAOS_SEED with
which numbers they are drawn (1; `make chaos` draws another each time). A failure tells the seed and
the rounds as they went; moments are those of a real machine, so the same seed gives the same
rounds, but not the same race.
"""

import asyncio
import os
import random
import re
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from minikube_py.agent.cri.connection import Connection
from minikube_py.agent.cri.errors import CriError
from minikube_py.agent.cri.runtime import Container, Runtime, Sandbox
from minikube_py.agent.orphans.tasks import BUNDLES
from tests.e2e.node.conftest import Node, make
from tests.e2e.node.machine import wait_until

pytestmark = pytest.mark.e2e
ROUNDS = int(os.environ.get("KPY_CHAOS_ROUNDS", "6"))
SEED = int(os.environ.get("KPY_CHAOS_SEED", "1"))
PODS_MAX = 6
LATEST_SECONDS = 1.2
"""After a change; by then a pod has started or is gone, on a machine that is not too busy."""
SETTLE_SECONDS = 420.0
"""At most: a container that was killed again and again rests for up to five minutes."""
CLEAN_SECONDS = 150.0
"""At most: what was half made when its maker died is found by the garbage collection."""
IMAGES = ("kpy.local/busybox:1", "kpy.local/busybox:2")
PROCESSES = "^(sleep 7[0-9]{5}|/pause)"
LEFT = {
    "processes": f"pgrep -af '{PROCESSES}|^[^ ]*containerd-shim'",
    "mounts of pods": "grep -E '/agent/kubelet/|/containerd/state/' /proc/self/mountinfo",
    "network namespaces": "grep nsfs /proc/self/mountinfo | grep /containerd/state/",
    "cgroups": "find /sys/fs/cgroup -type d -path '*kubepods*' -name 'pod*'",
    "cables": "ip -o link show type veth",
    "records of CNI": "ls /var/lib/cni/results",
    "sockets of shims": "ls /run/containerd/s",
    "records of the OCI runtime": "ls /run/containerd/runc/k8s.io",
    "host ports": "iptables -w -t nat -S | grep CNI-DN-",
}
SEEN = ("sandboxes", "containers", "pods", "folders", "bundles", "addresses")
"""What is looked for elsewhere than on the machine."""


class Chaos:
    """A node and the pods that it is to have; every choice comes from one source of chance."""

    def __init__(self, node: Node, chance: random.Random) -> None:
        self.node = node
        self.chance = chance
        self.count = 0
        self.names: list[str] = []
        self.told: list[str] = []
        """What was done, for a failure to tell."""

    # --- changes ---

    def create(self) -> None:
        """Have one more pod; each of its containers has a command line of its own."""
        if len(self.names) >= PODS_MAX:
            self.delete()
        number, self.count = self.count, self.count + 1
        self.node.apply(chaotic(number))
        self.names.append(f"chaos-{number}")

    def delete(self) -> None:
        if self.names:
            name = self.names.pop(self.chance.randrange(len(self.names)))
            self.node.kubectl("delete", "pod", name, "--wait=false")

    def change_image(self) -> None:
        if self.names:
            name, image = self.chance.choice(self.names), self.chance.choice(IMAGES)
            self.node.kubectl("set", "image", f"pod/{name}", f"c={image}")

    def change_config(self) -> None:
        self.node.apply(config(str(self.chance.randrange(1 << 30))))

    # --- kills ---

    def kill_kpy(self) -> None:
        self.node.kill()
        self.node.start()

    def kill_containerd(self) -> None:
        self._kill_one("-x", "containerd")

    def kill_shim(self) -> None:
        self._kill_one("-x", "containerd-shim")

    def kill_process(self) -> None:
        self._kill_one("-f", PROCESSES)

    def _kill_one(self, *which: str) -> None:
        found = self.node.machine.sh("pgrep", *which, check=False).split()
        if found:
            self.node.machine.sh("kill", "-9", self.chance.choice(found), check=False)

    # --- rounds ---

    def run(self, rounds: int) -> None:
        changes = (self.create, self.create, self.delete, self.change_image, self.change_config)
        victims = self._turns(
            self.kill_kpy, self.kill_containerd, self.kill_shim, self.kill_process
        )
        for number in range(rounds):
            change = self.create if number == 0 else self.chance.choice(changes)
            kill, moment = next(victims), self.chance.uniform(0, LATEST_SECONDS)
            self.told.append(f"{number}: {change.__name__}, {moment:.2f} s, {kill.__name__}")
            change()
            time.sleep(moment)
            kill()

    def _turns(self, *of: Callable[[], None]) -> Iterator[Callable[[], None]]:
        """Yield each in turn, each turn in another order."""
        while True:
            yield from self.chance.sample(of, len(of))


def chaotic(number: int) -> dict[str, Any]:
    """Return a pod with something of all that a node has to give back."""
    second = {
        "name": "d",
        "image": IMAGES[0],
        "command": ["sleep", f"7{number:04}1"],
        "volumeMounts": [{"name": "memory", "mountPath": "/memory"}],
    }
    container = {
        "command": ["sleep", f"7{number:04}0"],
        "ports": [{"containerPort": 80, "hostPort": 31000 + number}],
        "resources": {"requests": {"cpu": "1m", "memory": "4Mi"}},
        "volumeMounts": [
            {"name": "memory", "mountPath": "/memory"},
            {"name": "config", "mountPath": "/config"},
            {"name": "config", "mountPath": "/one", "subPath": "text"},
            {"name": "disk", "mountPath": "/disk"},
            {"name": "token", "mountPath": "/token"},
        ],
    }
    token = [
        {"serviceAccountToken": {"path": "token"}},
        {"configMap": {"name": "chaos"}},
        {"downwardAPI": {"items": [{"path": "me", "fieldRef": {"fieldPath": "metadata.name"}}]}},
    ]
    volumes = [
        {"name": "memory", "emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}},
        {"name": "disk", "emptyDir": {}},
        {"name": "config", "configMap": {"name": "chaos"}},
        {"name": "token", "projected": {"sources": token}},
    ]
    return make(f"chaos-{number}", container=container, others=[second], volumes=volumes)


def config(text: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "chaos"},
        "data": {"text": text},
    }


def runtime_has(node: Node) -> tuple[list[Sandbox], list[Container]] | None:
    """Return all that the runtime has; None where it does not answer."""

    async def ask() -> tuple[list[Sandbox], list[Container]]:
        socket = node.folder / "agent" / "containerd" / "containerd.sock"
        connection = Connection(f"unix://{socket}")
        try:
            runtime = Runtime(connection)
            return await runtime.list_sandboxes({}), await runtime.list_containers({})
        finally:
            await connection.aclose()

    try:
        return asyncio.run(ask())
    except CriError:
        return None


def processes(node: Node) -> Counter[str]:
    """Return the command lines of all processes of pods."""
    lines = node.machine.sh("pgrep", "-af", PROCESSES, check=False).splitlines()
    return Counter(line.partition(" ")[2] for line in lines)


def differences(node: Node) -> dict[str, Any]:
    """Return how the runtime, the processes and the API differ about what runs."""
    has = runtime_has(node)
    if has is None:
        return {"runtime": "does not answer"}
    pods = [pod for pod in node.pods() if "deletionTimestamp" not in pod["metadata"]]
    wanted = Counter(
        (pod["metadata"]["uid"], container["name"], container["image"])
        for pod in pods
        for container in pod["spec"]["containers"]
    )
    commands = Counter(
        " ".join(container["command"]) for pod in pods for container in pod["spec"]["containers"]
    )
    uids = Counter(pod["metadata"]["uid"] for pod in pods)
    running = [c for c in has[1] if c.state == "running"]
    found = {
        "sandboxes": _apart(uids, Counter(s.uid for s in has[0] if s.ready)),
        "containers": _apart(
            Counter({(uid, name): n for (uid, name, _), n in wanted.items()}),
            Counter((c.labels["io.kubernetes.pod.uid"], c.name) for c in running),
        ),
        "processes": _apart(commands + Counter({"/pause": len(pods)}), processes(node)),
        "of pods that are gone": [s.id for s in has[0] if s.uid not in uids],
        "not ready": [pod["metadata"]["name"] for pod in pods if not is_well(pod)],
    }
    return {name: what for name, what in found.items() if what}


def is_well(pod: Any) -> bool:
    """Tell whether the API says that all containers run with their images."""
    images = {c["name"]: c["image"] for c in pod["spec"]["containers"]}
    told = {s["name"]: s["image"] for s in pod["status"].get("containerStatuses", ()) if s["ready"]}
    return pod["status"].get("phase") == "Running" and images.keys() == told.keys()


def _apart(wanted: Counter[Any], there: Counter[Any]) -> list[str]:
    missing = [f"missing {what} {n} times" for what, n in (wanted - there).items()]
    return missing + [f"too many {what}: {n}" for what, n in (there - wanted).items()]


def left(node: Node) -> dict[str, Any]:
    """Return what is left on the machine of pods."""
    has = runtime_has(node)
    if has is None:
        return {"runtime": "does not answer"}
    agent = node.folder / "agent"
    found: dict[str, Any] = {
        name: node.machine.sh("sh", "-c", look, check=False).strip() for name, look in LEFT.items()
    }
    pods = [pod["metadata"]["name"] for pod in node.pods()]
    folders = [path.name for path in (agent / "kubelet" / "pods").glob("*")]
    bundles = [path.name for path in (agent / "containerd" / "state" / BUNDLES).glob("*")]
    addresses = [path.name for path in (agent / "cni" / "state").rglob("10.42.*")]
    what = ([s.id for s in has[0]], [c.id for c in has[1]], pods, folders, bundles, addresses)
    found |= dict(zip(SEEN, what, strict=True))
    return {name: what for name, what in found.items() if what}


def settle(look: Callable[[], dict[str, Any]], seconds: float, chaos: Chaos) -> None:
    """Wait until a look finds nothing; fail with what it finds to the last."""
    last: dict[str, Any] = {}

    def nothing() -> bool:
        nonlocal last
        last = look()
        return not last

    try:
        wait_until(nothing, seconds, "the node is as it should be")
    except AssertionError:
        story = "\n".join(chaos.told)
        log = chaos.node.log.read_text()[-6000:]
        told = "\n".join(of_runtime(chaos.node, str(last)))
        pytest.fail(f"KPY_CHAOS_SEED={SEED}: {last}\n{story}\n{log}\n{told}")


def of_runtime(node: Node, text: str) -> list[str]:
    """Return what containerd said of the sandboxes and containers that a text names."""
    ids = re.findall("[0-9a-f]{64}", text)
    lines = (node.folder / "agent" / "containerd" / "containerd.log").read_text().splitlines()
    return [line[:300] for line in lines if any(one in line for one in ids)][-60:]


def test_a_node_ends_with_what_is_wanted_and_leaves_nothing(node: Node) -> None:
    node.ctr("images", "tag", *IMAGES)
    node.apply(config("first"))
    chaos = Chaos(node, random.Random(SEED))  # noqa: S311 -- it keeps no secret
    try:
        chaos.run(ROUNDS)
    except BaseException:
        print(f"KPY_CHAOS_SEED={SEED}", *chaos.told, sep="\n")  # noqa: T201 -- pytest shows it
        raise
    chaos.create()
    settle(lambda: differences(node), SETTLE_SECONDS, chaos)
    assert left(node).keys() == {*LEFT, *SEEN}, "nothing is left, or nothing is seen?"
    node.kubectl("delete", "pod", *chaos.names, "--wait=false")
    settle(lambda: left(node), CLEAN_SECONDS, chaos)
