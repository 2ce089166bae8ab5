"""Python clients, as they are published: each has its checks in python/check_*.py.

They run in the network of the cluster and in a process of their own, because some of these clients
leave threads and sockets behind, and one of them blocks while it waits.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.cluster import ROOT, Cluster
from tests.e2e.test_main_job import wait_for_pod, web

pytestmark = pytest.mark.e2e
CHECKS = Path(__file__).with_name("python")
SECONDS_MAX = 600
CLIENTS = ("kubernetes", "kubernetes_asyncio", "lightkube", "kr8s", "kopf")


def test_every_client_has_its_checks() -> None:
    assert {path.stem for path in CHECKS.glob("check_*.py")} == {f"check_{c}" for c in CLIENTS}


@pytest.mark.parametrize("client", CLIENTS)
def test_a_client_passes_its_checks(cluster: Cluster, namespace: str, client: str) -> None:
    cluster.apply(web("web", "echo up; "), namespace=namespace)
    wait_for_pod(cluster, namespace, "web")
    line = [sys.executable, "-m", "pytest", "-c", str(CHECKS / "pytest.ini")]
    environment = {"KUBECONFIG": str(cluster.kubeconfig), "NAMESPACE": namespace}
    done = subprocess.run(
        cluster.inside([*line, f"--rootdir={CHECKS}", str(CHECKS / f"check_{client}.py")]),
        check=False,
        capture_output=True,
        text=True,
        timeout=SECONDS_MAX,
        cwd=ROOT,
        env={**os.environ, **environment},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert " passed" in done.stdout
