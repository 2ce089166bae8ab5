"""Every folder of examples/ is applied, does what it says, and is deleted."""

import subprocess

import pytest

from tests.e2e.cluster import ROOT, Cluster
from tests.e2e.node.machine import wait_until

EXAMPLES = ROOT / "examples"


def test_hello_answers_through_its_service(cluster: Cluster, namespace: str) -> None:
    cluster.kubectl("apply", "-n", namespace, "-f", str(EXAMPLES / "hello"))
    cluster.kubectl("rollout", "status", "deployment/hello", "-n", namespace, "--timeout=120s")
    address = cluster.get("service", "hello", "-n", namespace)["spec"]["clusterIP"]
    pods = cluster.get("pods", "-n", namespace, "-l", "app=hello")["items"]
    names = {pod["metadata"]["name"] for pod in pods}
    assert len(names) == 2

    def answers() -> set[str]:
        line = cluster.inside(["busybox", "wget", "-q", "-O-", f"http://{address}"])
        done = subprocess.run(line, check=False, capture_output=True, text=True, timeout=10)
        return {done.stdout.split()[2].rstrip(",")} if done.returncode == 0 else set()

    seen: set[str] = set()
    wait_until(lambda: (seen.update(answers()), seen == names)[1], 20, "both replicas answer")


@pytest.mark.parametrize("folder", sorted(path.name for path in EXAMPLES.iterdir()))
def test_every_example_is_applied_and_deleted(
    cluster: Cluster, namespace: str, folder: str
) -> None:
    path = str(EXAMPLES / folder)
    cluster.kubectl("apply", "-n", namespace, "-f", path)
    cluster.kubectl("delete", "-n", namespace, "-f", path, "--timeout=120s")
    wait_until(lambda: not cluster.get("all", "-n", namespace)["items"], 60, "all is gone")
