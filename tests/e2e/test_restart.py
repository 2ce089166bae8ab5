"""kpy ends and starts again: what runs goes on running, what was acknowledged is there."""

import signal

import pytest

from tests.e2e.cluster import STOP_SECONDS_MAX, Cluster
from tests.e2e.node.machine import wait_until
from tests.e2e.test_main_job import fetch, pod, wait_for_pod, web

pytestmark = pytest.mark.e2e


def containers_of(cluster: Cluster, namespace: str) -> dict[str, tuple[str, int]]:
    """Return id and restarts of each pod's container."""
    pods = cluster.get("pods", "-n", namespace)["items"]
    return {
        p["metadata"]["name"]: (status["containerID"], status["restartCount"])
        for p in pods
        for status in p["status"]["containerStatuses"]
    }


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM], ids=["killed", "stopped"])
def test_pods_run_on_and_nothing_is_lost(
    cluster: Cluster, namespace: str, number: signal.Signals
) -> None:
    cluster.apply(web("web"), namespace=namespace)
    cluster.kubectl("expose", "pod", "web", "-n", namespace, "--port=80", "--target-port=8080")
    wait_for_pod(cluster, namespace, "web")
    before = containers_of(cluster, namespace)
    address = cluster.get("service", "web", "-n", namespace)["spec"]["clusterIP"]
    wait_until(lambda: fetch(cluster, f"http://{address}") != "", 20, "the service answers")
    written = [f"kept-{n}" for n in range(20)]
    for name in written:
        cluster.kubectl("create", "configmap", name, "-n", namespace)

    took = cluster.server.stop(number)
    assert took < STOP_SECONDS_MAX
    hello = "hello from web"
    wait_until(lambda: hello in fetch(cluster, f"http://{address}"), 20, "it answers without kpy")

    cluster.start()
    wait_for_pod(cluster, namespace, "web")
    assert containers_of(cluster, namespace) == before
    names = {c["metadata"]["name"] for c in cluster.get("configmaps", "-n", namespace)["items"]}
    assert names >= set(written)
    cluster.apply(pod("late", "exec sleep 3600"), namespace=namespace)
    wait_for_pod(cluster, namespace, "late")
    assert cluster.kubectl("exec", "web", "-n", namespace, "--", "echo", "alive") == "alive\n"
