"""The main job, as a user does it: the real kubectl against real containers."""

import contextlib
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.cluster import BIN, ROOT, Cluster
from tests.e2e.node.machine import wait_until

pytestmark = pytest.mark.e2e
HELLO = ROOT / "examples" / "hello"
WEB = "mkdir -p /www; echo hello from $(hostname) > /www/index.html; exec httpd -f -p 8080 -h /www"


def container(script: str, **more: Any) -> dict[str, Any]:
    return {"name": "c", "image": "kpy.local/busybox:1", "command": ["sh", "-c", script], **more}


def pod(name: str, script: str, **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": {"app": name}},
        "spec": {
            "terminationGracePeriodSeconds": 1,
            "containers": [container(script)],
            **spec,
        },
    }


def web(name: str, before: str = "") -> dict[str, Any]:
    """Return a pod that serves its name at port 8080; ready once it does, and for good."""
    made = pod(name, before + WEB)
    (only,) = made["spec"]["containers"]
    probe = {"tcpSocket": {"port": 8080}, "periodSeconds": 1, "failureThreshold": 1000}
    made["spec"]["containers"] = [{**only, "readinessProbe": probe}]
    return made


def wait_for_pod(cluster: Cluster, namespace: str, name: str) -> None:
    cluster.kubectl(
        "wait", "--for=condition=Ready", f"pod/{name}", "-n", namespace, "--timeout=120s"
    )


def fetch(cluster: Cluster, url: str) -> str:
    """Return what a URL answers, asked from the node."""
    done = subprocess.run(
        cluster.inside(["timeout", "3", "/bin/busybox", "wget", "-q", "-O-", url]),
        check=False,
        capture_output=True,
        text=True,
    )
    return done.stdout


@pytest.fixture
def hello(cluster: Cluster, namespace: str) -> str:
    """Apply examples/hello and wait for it."""
    cluster.kubectl("apply", "-n", namespace, "-f", str(HELLO))
    cluster.kubectl("rollout", "status", "deployment/hello", "-n", namespace, "--timeout=120s")
    return namespace


def test_a_deployment_is_applied_scaled_and_deleted(cluster: Cluster, hello: str) -> None:
    wide = cluster.kubectl("get", "deployment,pods", "-o", "wide", "-n", hello)
    assert "deployment.apps/hello   2/2     2            2" in wide
    assert wide.count("Running") == 2
    assert "kpy.local/busybox:1" in wide

    cluster.kubectl("scale", "deployment/hello", "--replicas=4", "-n", hello)
    cluster.kubectl("rollout", "status", "deployment/hello", "-n", hello, "--timeout=120s")
    pods = cluster.get("pods", "-n", hello)["items"]
    assert sum(p["status"]["phase"] == "Running" for p in pods) == 4
    assert len({p["status"]["podIP"] for p in pods}) == 4

    cluster.kubectl("delete", "-n", hello, "-f", str(HELLO))
    wait_until(lambda: not cluster.get("pods", "-n", hello)["items"], 60, "the pods are gone")
    kinds = "replicasets,endpointslices,endpoints"
    wait_until(lambda: cluster.get(kinds, "-n", hello)["items"] == [], 60, "nothing is left")


def template_hashes(cluster: Cluster, namespace: str) -> set[str]:
    """Return of which templates the pods are that are to stay."""
    return {
        p["metadata"]["labels"]["pod-template-hash"]
        for p in cluster.get("pods", "-n", namespace)["items"]
        if "deletionTimestamp" not in p["metadata"]
    }


def test_a_changed_template_is_rolled_out_and_undone(cluster: Cluster, hello: str) -> None:
    before = template_hashes(cluster, hello)
    cluster.kubectl("set", "env", "deployment/hello", "COLOUR=blue", "-n", hello)
    cluster.kubectl("rollout", "status", "deployment/hello", "-n", hello, "--timeout=120s")
    assert not template_hashes(cluster, hello) & before
    history = cluster.kubectl("rollout", "history", "deployment/hello", "-n", hello)
    assert history.split()[-4:] == ["1", "<none>", "2", "<none>"]
    cluster.kubectl("rollout", "undo", "deployment/hello", "-n", hello)
    cluster.kubectl("rollout", "status", "deployment/hello", "-n", hello, "--timeout=120s")
    template = cluster.get("deployment", "hello", "-n", hello)["spec"]["template"]
    assert "env" not in template["spec"]["containers"][0]
    assert template_hashes(cluster, hello) == before


def test_a_service_answers_at_its_address_its_node_port_and_its_name(
    cluster: Cluster, hello: str
) -> None:
    cluster.kubectl(
        "patch", "service", "hello", "-n", hello, "-p", json.dumps({"spec": {"type": "NodePort"}})
    )
    service = cluster.get("service", "hello", "-n", hello)["spec"]
    node_port = service["ports"][0]["nodePort"]
    node = cluster.machine.address
    for url in (f"http://{service['clusterIP']}", f"http://{node}:{node_port}"):
        wait_until(
            lambda url=url: fetch(cluster, url).startswith("hello from"), 20, f"{url} answers"
        )
    cluster.apply(pod("client", "exec sleep 3600"), namespace=hello)
    wait_for_pod(cluster, hello, "client")
    for name in ("hello", f"hello.{hello}", f"hello.{hello}.svc.cluster.local"):
        asked = ("wget", "-q", "-O-", f"http://{name}")
        cluster.says("hello from", "exec", "client", "-n", hello, "--", *asked)


def test_logs_exec_and_cp_reach_a_container(
    cluster: Cluster, namespace: str, tmp_path: Path
) -> None:
    cluster.apply(web("web", "echo started; "), namespace=namespace)
    wait_for_pod(cluster, namespace, "web")
    assert cluster.says("started", "logs", "web", "-n", namespace) == "started\n"

    shown = cluster.kubectl(
        "exec", "web", "-n", namespace, "--", "sh", "-c", "echo out; echo err >&2"
    )
    assert shown == "out\n"
    failed = cluster.run("exec", "web", "-n", namespace, "--", "sh", "-c", "exit 7")
    assert failed.returncode == 7
    echoed = cluster.kubectl("exec", "-i", "web", "-n", namespace, "--", "cat", stdin="through\n")
    assert echoed == "through\n"

    source = tmp_path / "file"
    source.write_bytes(bytes(range(256)) * 400)
    cluster.kubectl("cp", str(source), f"{namespace}/web:/tmp/file")
    cluster.kubectl("cp", f"{namespace}/web:/tmp/file", str(tmp_path / "back"))
    assert (tmp_path / "back").read_bytes() == source.read_bytes()


def test_a_port_is_forwarded(cluster: Cluster, namespace: str) -> None:
    cluster.apply(web("web"), namespace=namespace)
    wait_for_pod(cluster, namespace, "web")
    with forwarded(cluster, "pod/web", namespace, 8080) as port:
        for _ in range(3):
            assert fetch(cluster, f"http://127.0.0.1:{port}").startswith("hello from web")


@contextlib.contextmanager
def forwarded(cluster: Cluster, target: str, namespace: str, port: int) -> Iterator[int]:
    line = [str(BIN / "kubectl"), "--kubeconfig", str(cluster.kubeconfig), "port-forward"]
    process = subprocess.Popen(
        cluster.inside([*line, target, f":{port}", "-n", namespace]),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        assert process.stdout is not None
        first = process.stdout.readline()
        assert first.startswith("Forwarding from 127.0.0.1:"), first
        yield int(first.split(":")[1].split(" ")[0])
    finally:
        process.terminate()
        process.wait(timeout=60)
        if process.stdout is not None:
            process.stdout.close()


def test_describe_and_explain_tell_what_there_is(cluster: Cluster, hello: str) -> None:
    described = cluster.says(
        "Scaled up replica set", "describe", "deployment", "hello", "-n", hello
    )
    assert "2 desired | 2 updated | 2 total | 2 available | 0 unavailable" in described
    first = cluster.get("pods", "-n", hello)["items"][0]["metadata"]["name"]
    shown = cluster.says("Started", "describe", "pod", first, "-n", hello)
    assert f"Successfully assigned {hello}/{first} to {cluster.machine.name}" in shown
    assert "KIND:       Deployment" in cluster.kubectl("explain", "deployment.spec.replicas")
    node = cluster.kubectl("describe", "node", cluster.machine.name)
    assert "kubelet is posting ready status" in node


def test_a_crash_looping_pod_backs_off(cluster: Cluster, namespace: str) -> None:
    cluster.apply(pod("crash", "echo about to fail; exit 3"), namespace=namespace)

    def looping() -> Any:
        found = cluster.get("pod", "crash", "-n", namespace)["status"]["containerStatuses"][0]
        waiting = found["state"].get("waiting", {})
        return waiting.get("reason") == "CrashLoopBackOff" and found

    status = wait_until(looping, 60, "the pod waits before the next start")
    assert status["restartCount"] >= 1
    assert status["lastState"]["terminated"]["exitCode"] == 3
    message = status["state"]["waiting"]["message"]
    assert "restarting failed container=c pod=crash_" in message
    assert cluster.kubectl("logs", "crash", "-n", namespace, "--previous") == "about to fail\n"
    cluster.says("BackOff", "get", "events", "-n", namespace)


def test_a_job_completes(cluster: Cluster, namespace: str) -> None:
    job = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": "sum"},
        "spec": {
            "completions": 3,
            "parallelism": 2,
            "template": {
                "spec": {"restartPolicy": "Never", "containers": [container("echo $((40 + 2))")]}
            },
        },
    }
    cluster.apply(job, namespace=namespace)
    cluster.kubectl(
        "wait", "--for=condition=Complete", "job/sum", "-n", namespace, "--timeout=120s"
    )
    status = cluster.get("job", "sum", "-n", namespace)["status"]
    assert status["succeeded"] == 3
    assert cluster.kubectl("logs", "job/sum", "-n", namespace).strip() == "42"


def test_configuration_secrets_and_a_token_reach_the_pod(cluster: Cluster, namespace: str) -> None:
    cluster.kubectl("create", "configmap", "conf", "-n", namespace, "--from-literal=colour=blue")
    cluster.kubectl(
        "create", "secret", "generic", "pass", "-n", namespace, "--from-literal=word=x7"
    )
    script = (
        "echo $COLOUR $(cat /etc/conf/colour) $(cat /etc/pass/word) "
        "$(test -s /var/run/secrets/kubernetes.io/serviceaccount/token && echo token); sleep 3600"
    )
    reader = pod("reader", script)
    reader["spec"]["containers"][0] |= {
        "env": [
            {
                "name": "COLOUR",
                "valueFrom": {"configMapKeyRef": {"name": "conf", "key": "colour"}},
            }
        ],
        "volumeMounts": [
            {"name": "conf", "mountPath": "/etc/conf"},
            {"name": "pass", "mountPath": "/etc/pass"},
        ],
    }
    reader["spec"]["volumes"] = [
        {"name": "conf", "configMap": {"name": "conf"}},
        {"name": "pass", "secret": {"secretName": "pass"}},
    ]
    cluster.apply(reader, namespace=namespace)
    wait_for_pod(cluster, namespace, "reader")
    wait_until(
        lambda: cluster.kubectl("logs", "reader", "-n", namespace) == "blue blue x7 token\n",
        20,
        "the pod has read everything",
    )


def test_the_token_in_a_pod_has_the_rights_of_its_account_and_no_more(
    cluster: Cluster, namespace: str, tmp_path: Path
) -> None:
    account = f"--serviceaccount={namespace}:default"
    cluster.kubectl("create", "rolebinding", "v", "-n", namespace, "--clusterrole=view", account)
    cluster.apply(pod("client", "exec sleep 3600"), namespace=namespace)
    wait_for_pod(cluster, namespace, "client")
    in_pod = ("exec", "client", "-n", namespace, "--")
    folder = "/var/run/secrets/kubernetes.io/serviceaccount"
    authority = tmp_path / "ca.crt"
    authority.write_text(cluster.kubectl(*in_pod, "cat", f"{folder}/ca.crt"))
    token = cluster.kubectl(*in_pod, "cat", f"{folder}/token")
    assert "KUBERNETES_SERVICE_HOST=" in cluster.kubectl(*in_pod, "env")

    def may(verb: str, kind: str) -> str:
        line = [str(BIN / "kubectl"), "--kubeconfig=/dev/null", "--server=https://127.0.0.1:6443"]
        line += [f"--certificate-authority={authority}", f"--token={token}"]
        asked = cluster.inside([*line, "auth", "can-i", verb, kind, "-n", namespace])
        done = subprocess.run(asked, check=False, capture_output=True, text=True)
        return done.stdout.strip() or done.stderr

    assert may("list", "pods") == "yes"
    assert may("create", "pods") == "no"
    assert may("list", "secrets") == "no"


def test_a_deleted_namespace_takes_everything_with_it(cluster: Cluster) -> None:
    cluster.kubectl("create", "namespace", "short-lived")
    cluster.kubectl(
        "wait", "--for=create", "serviceaccount/default", "--timeout=120s", "-n", "short-lived"
    )
    cluster.apply(pod("p", "exec sleep 3600"), namespace="short-lived")
    wait_for_pod(cluster, "short-lived", "p")
    cluster.kubectl("delete", "namespace", "short-lived", "--timeout=120s")
    assert cluster.run("get", "namespace", "short-lived").returncode != 0
