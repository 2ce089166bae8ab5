"""Volumes that show an image, pulled from a registry or here already."""

from typing import Any

import pytest

from tests.e2e.cluster import Cluster
from tests.e2e.conformance.net import Net, pod
from tests.e2e.node.machine import wait_until

pytestmark = pytest.mark.e2e
PULLED = "127.0.0.1:5009/tests/busybox:1"


def showing(name: str, reference: str, policy: str, **more: Any) -> dict[str, Any]:
    volume = {"name": "v", "image": {"reference": reference, "pullPolicy": policy}}
    mounts = [{"name": "v", "mountPath": "/volume", **more}]
    return pod(name, container={"volumeMounts": mounts}, volumes=[volume])


def mounted(cluster: Cluster) -> int:
    """Return how many image volumes are mounted on the node."""
    table = cluster.machine.sh("cat", "/proc/self/mountinfo")
    return table.count("kubernetes.io~image")


@pytest.mark.conformance("ImageVolume should succeed with pod and pull policy of Always")
@pytest.mark.usefixtures("registry")
def test_a_pod_reads_the_files_of_an_image(net: Net) -> None:
    before = mounted(net.cluster)
    net.make(showing("pulled", PULLED, "Always"))
    said = net.do("exec", "pulled", "--", "ls", "-l", "/volume/bin/busybox")
    assert "/volume/bin/busybox" in said
    refused = net.cluster.run("-n", net.namespace, "exec", "pulled", "--", "touch", "/volume/x")
    assert "Read-only file system" in refused.stderr
    net.do("delete", "pod", "pulled", "--timeout=120s")
    wait_until(lambda: mounted(net.cluster) == before, 30, "nothing is left mounted")
    socket = f"{net.cluster.server.data_dir}/agent/containerd/containerd.sock"
    ask = ("ctr", "-a", socket, "-n", "k8s.io", "leases", "ls")
    wait_until(lambda: "kpy-volume-" not in net.cluster.machine.sh(*ask), 30, "no view is left")


def test_a_part_of_an_image_that_is_here_is_shown_without_a_pull(net: Net) -> None:
    net.make(showing("here", "kpy.local/busybox:1", "Never", subPath="bin"))
    assert "busybox" in net.do("exec", "here", "--", "ls", "/volume")
    net.do("delete", "pod", "here", "--timeout=120s")


def test_an_image_that_cannot_be_had_keeps_its_container_waiting(net: Net) -> None:
    made = showing("waits", "127.0.0.1:1/nothing:1", "IfNotPresent")
    net.cluster.apply(made, namespace=net.namespace)

    def reason() -> str:
        statuses = net.get("pod", "waits")["status"].get("containerStatuses", ())
        return statuses[0]["state"].get("waiting", {}).get("reason", "") if statuses else ""

    wait_until(lambda: reason() in ("ErrImagePull", "ImagePullBackOff"), 60, "it waits")
    net.do("delete", "pod", "waits", "--timeout=120s")
