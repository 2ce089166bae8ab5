"""Pods whose annotations say how much they may send and be sent are held to it by the kernel."""

import json

import pytest

from tests.e2e.cluster import Cluster
from tests.e2e.node.machine import wait_until

pytestmark = pytest.mark.e2e


def rates(cluster: Cluster) -> list[int]:
    """Return the limits of all links of the node, in bytes a second."""
    found = json.loads(cluster.machine.sh("tc", "-j", "qdisc", "show"))
    return sorted(one["options"]["rate"] for one in found if one["kind"] == "tbf")


def test_a_pods_bandwidth_is_limited_in_each_direction_while_it_lives(
    cluster: Cluster, namespace: str
) -> None:
    before = rates(cluster)
    annotations = {"kubernetes.io/ingress-bandwidth": "8M", "kubernetes.io/egress-bandwidth": "24M"}
    container = {"name": "c", "image": "kpy.local/busybox:1", "command": ["sleep", "10000"]}
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "slow", "annotations": annotations},
        "spec": {"terminationGracePeriodSeconds": 0, "containers": [container]},
    }
    cluster.apply(pod, namespace=namespace)
    ready = ("wait", "--for=condition=Ready", "pod/slow", "-n", namespace, "--timeout=120s")
    cluster.kubectl(*ready)
    assert rates(cluster) == sorted([*before, 1_000_000, 3_000_000])
    cluster.kubectl("delete", "pod", "slow", "-n", namespace)
    wait_until(lambda: rates(cluster) == before, 20, "nothing of the limits is left")
