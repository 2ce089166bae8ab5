"""Tokens of service accounts, in the files that containers read."""

import json

import pytest

from tests.e2e.cluster import Cluster
from tests.e2e.test_main_job import container, pod, wait_for_pod

pytestmark = pytest.mark.e2e
MOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"


@pytest.mark.conformance("ServiceAccounts should mount an API token into pods")
def test_every_container_finds_token_certificate_and_namespace(
    cluster: Cluster, namespace: str
) -> None:
    made = pod("three", "")
    made["spec"]["containers"] = [
        {**container("exec sleep 3600"), "name": name} for name in ("one", "two", "three")
    ]
    cluster.apply(made, namespace=namespace)
    wait_for_pod(cluster, namespace, "three")

    def read(name: str, file: str) -> str:
        on_pod = ("exec", "three", "-c", name, "-n", namespace, "--")
        return cluster.kubectl(*on_pod, "cat", f"{MOUNT}/{file}")

    token = read("one", "token")
    review = {
        "apiVersion": "authentication.k8s.io/v1",
        "kind": "TokenReview",
        "spec": {"token": token},
    }
    told = json.loads(cluster.kubectl("create", "-f", "-", "-o", "json", stdin=json.dumps(review)))
    assert told["status"]["authenticated"] is True
    assert told["status"]["user"]["username"] == f"system:serviceaccount:{namespace}:default"
    root = cluster.get("configmap", "kube-root-ca.crt", "-n", namespace)["data"]["ca.crt"]
    assert read("two", "ca.crt") == root
    assert read("three", "namespace") == namespace


@pytest.mark.conformance("ServiceAccounts should mount projected service account token")
def test_a_token_is_projected_with_the_rights_of_its_file(cluster: Cluster, namespace: str) -> None:
    source = {"serviceAccountToken": {"path": "token", "expirationSeconds": 3600}}
    volume = {"name": "t", "projected": {"sources": [source]}}
    mount = {"name": "t", "mountPath": "/projected"}
    made = pod("projected", "exec sleep 3600", volumes=[volume], automountServiceAccountToken=False)
    made["spec"]["securityContext"] = {"fsGroup": 10001}
    made["spec"]["containers"][0]["volumeMounts"] = [mount]
    cluster.apply(made, namespace=namespace)
    wait_for_pod(cluster, namespace, "projected")
    on_pod = ("exec", "projected", "-n", namespace, "--")
    shown = cluster.kubectl(*on_pod, "stat", "-L", "-c", "%a %g", "/projected/token")
    assert shown == "640 10001\n"
    token = cluster.kubectl(*on_pod, "cat", "/projected/token")
    assert token.count(".") == 2
