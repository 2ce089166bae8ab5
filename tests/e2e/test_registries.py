"""Images from registries: with pull secrets, without, and through mirrors."""

import base64
import json
from typing import Any

import pytest

from tests.e2e.cluster import Cluster
from tests.e2e.node.machine import wait_until
from tests.e2e.registry import PASSWORD, USER

pytestmark = pytest.mark.e2e


def pod(name: str, image: str, **spec: Any) -> dict[str, Any]:
    command = ["busybox", "sleep", "3600"]
    container = {"name": "c", "image": image, "imagePullPolicy": "Always", "command": command}
    spec = {"terminationGracePeriodSeconds": 0, "containers": [container], **spec}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}


def secret(registry: str, password: str) -> dict[str, Any]:
    auth = base64.b64encode(f"{USER}:{password}".encode()).decode()
    config = json.dumps({"auths": {registry: {"auth": auth}}})
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": f"pull-{password}"},
        "type": "kubernetes.io/dockerconfigjson",
        "stringData": {".dockerconfigjson": config},
    }


def waiting(cluster: Cluster, namespace: str, name: str) -> str:
    """Return why the container waits, "" where it does not."""
    status = cluster.get("pod", name, "-n", namespace)["status"]
    states = [one["state"] for one in status.get("containerStatuses", ())]
    return states[0].get("waiting", {}).get("reason", "") if states else ""


def test_a_private_image_is_pulled_with_the_secret_that_opens_it(
    cluster: Cluster, namespace: str, registry: str
) -> None:
    image = f"{registry}/private/busybox:1"
    names = [{"name": f"pull-{password}"} for password in ("wrong", PASSWORD)]
    cluster.apply(
        secret(registry, "wrong"),
        secret(registry, PASSWORD),
        pod("without", image),
        pod("wrong", image, imagePullSecrets=names[:1]),
        pod("right", image, imagePullSecrets=names[1:]),
        pod("both", image, imagePullSecrets=names),
        namespace=namespace,
    )
    ready = ("wait", "--for=condition=Ready", "pod/right", "pod/both", "--timeout=120s")
    cluster.kubectl(*ready, "-n", namespace)
    failed = ("ErrImagePull", "ImagePullBackOff")
    for name in ("without", "wrong"):
        wait_until(
            lambda name=name: waiting(cluster, namespace, name) in failed, 60, f"{name} waits"
        )
    assert PASSWORD not in cluster.logs()


def test_a_mirror_stands_in_for_the_registry_that_an_image_names(
    cluster: Cluster, namespace: str, registry: str
) -> None:
    path = cluster.registries
    mirrors = {
        "docker.io": {"endpoint": [f"http://{registry}"]},
        "private.example.com": {"endpoint": [f"http://{registry}"]},
    }
    configs = {registry: {"auth": {"username": USER, "password": PASSWORD}}}
    path.write_text(json.dumps({"mirrors": mirrors, "configs": configs}))  # JSON is YAML
    hosts = cluster.server.data_dir / "agent" / "containerd" / "certs.d" / "docker.io"
    wait_until((hosts / "hosts.toml").exists, 20, "kpy has seen the file")
    try:
        cluster.apply(
            pod("hub", "mirrored:1"),
            pod("private", "private.example.com/private/busybox:1"),
            namespace=namespace,
        )
        ready = ("wait", "--for=condition=Ready", "pod/hub", "pod/private", "--timeout=120s")
        cluster.kubectl(*ready, "-n", namespace)
    finally:
        path.unlink()
    wait_until(lambda: not hosts.exists(), 20, "mirrors are gone with the file")
