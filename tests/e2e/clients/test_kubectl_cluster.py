"""kubectl of every minor asks what a cluster is, and who one is and what one may in it."""

import json
import re
import socket
from base64 import b64encode
from pathlib import Path

import pytest
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.e2e.clients.conftest import BOX
from tests.e2e.clients.programs import Program
from tests.e2e.clients.test_kubectl_containers import fetch
from tests.e2e.clients.test_kubectl_objects import deployment
from tests.e2e.node.machine import wait_until

pytestmark = pytest.mark.e2e
SERVER = "https://127.0.0.1:6443"


@pytest.mark.conformance(
    "Kubectl client Kubectl api-versions should check if v1 is in available..."
)
def test_kinds_and_versions_are_listed(k: Program) -> None:
    versions = k("api-versions").split()
    assert {"v1", "apps/v1", "batch/v1", "rbac.authorization.k8s.io/v1"} <= set(versions)
    # Metrics have kinds of the same names; what comes first is what a name means.
    lines = reversed(k("api-resources").splitlines())
    rows = {line.split()[0]: line.split() for line in lines}
    assert rows["deployments"] == ["deployments", "deploy", "apps/v1", "true", "Deployment"]
    assert rows["nodes"] == ["nodes", "no", "v1", "false", "Node"]
    named = k("api-resources", "--namespaced=false", "--verbs=list,delete", "-o", "name").split()
    assert "namespaces" in named
    assert "pods" not in named
    shown = k("api-resources", "--api-group=apps", "-o", "wide")
    assert "create,delete,deletecollection,get,list,patch,update,watch" in shown
    assert all(line.split()[-1] == "all" for line in shown.splitlines() if " deploy " in line)


def test_fields_are_explained(k: Program) -> None:
    shown = k("explain", "deployment.spec.replicas")
    assert shown.startswith("GROUP:      apps\nKIND:       Deployment\nVERSION:    v1\n")
    assert "FIELD: replicas <integer>" in shown
    deep = k("explain", "pod.spec.containers", "--recursive")
    assert "containerPort\t<integer> -required-" in deep
    versioned = k("explain", "hpa", "--api-version=autoscaling/v1")
    assert "VERSION:    v1\n" in versioned
    assert 'field "nothing" does not exist' in k.fails("explain", "pod.spec.nothing")


@pytest.mark.conformance(
    "Kubectl client Kubectl version should check is all data is printed",
    "Kubectl client Kubectl cluster-info should check if Kubernetes control plane services...",
)
def test_the_cluster_says_what_it_is(k: Program, minor: tuple[int, ...], tmp_path: Path) -> None:
    version = k.json("version")
    assert (version["serverVersion"]["major"], version["serverVersion"]["minor"]) == ("1", "36")
    assert version["clientVersion"]["gitVersion"].startswith(f"v{minor[0]}.{minor[1]}.")
    assert "Server Version: v1.36." in k("version")
    info = re.sub(r"\x1b\[[0-9;]*m", "", k("cluster-info"))
    assert f"Kubernetes control plane is running at {SERVER}" in info
    dump = tmp_path / "dump"
    k("cluster-info", "dump", f"--output-directory={dump}")
    pods = json.loads((dump / k.flags[1] / "pods.json").read_text())["items"]
    assert BOX in {pod["metadata"]["name"] for pod in pods}
    assert (dump / k.flags[1] / BOX / "logs.txt").read_text().count("started") == 1


def test_one_learns_who_one_is_and_what_one_may(k: Program) -> None:
    me = k.json("auth", "whoami")["status"]["userInfo"]
    assert me["username"] == "kubernetes-admin"
    assert k("auth", "can-i", "delete", "nodes") == "yes\n"
    other = ("--as=jane", "--as-group=readers")
    done = k.run("auth", "can-i", "list", "secrets", *other)
    assert (done.returncode, done.stdout) == (1, "no\n")
    assert "selfsubjectreviews.authentication.k8s.io" in k("auth", "can-i", "--list", *other)
    rules = [{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["list"]}]
    version = "rbac.authorization.k8s.io/v1"
    metadata = {"name": "reconciled", "namespace": k.flags[1]}
    role = {"apiVersion": version, "kind": "Role", "metadata": metadata, "rules": rules}
    assert "reconciled" in k("auth", "reconcile", "-f", "-", stdin=k.text(role))
    more = role | {"rules": [*rules, {**rules[0], "resources": ["pods"]}]}
    k("auth", "reconcile", "-f", "-", stdin=k.text(more))
    assert len(k.json("get", "role", "reconciled")["rules"]) == 2
    k("create", "rolebinding", "reconciled", "--role=reconciled", "--user=jane")
    assert k("auth", "can-i", "list", "pods", "--as=jane") == "yes\n"


def test_a_token_speaks_for_its_account(k: Program) -> None:
    k("create", "serviceaccount", "robot")
    token = k("create", "token", "robot", "--duration=30m").strip()
    [_, claims, _] = token.split(".")
    assert len(claims) > 100
    k(
        "create",
        "rolebinding",
        "robot",
        "--clusterrole=view",
        f"--serviceaccount={k.flags[1]}:robot",
    )
    config = k("config", "view", "--raw", "--minify", "-o", "json")
    cluster = json.loads(config)["clusters"][0]
    made = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [cluster],
        "users": [{"name": "robot", "user": {"token": token}}],
        "contexts": [{"name": "r", "context": {"cluster": cluster["name"], "user": "robot"}}],
        "current-context": "r",
    }
    path = k.home / "robot.json"
    path.write_text(json.dumps(made))
    own = ("--kubeconfig", str(path))
    shown = k.json("auth", "whoami", *own)["status"]["userInfo"]
    assert shown["username"] == f"system:serviceaccount:{k.flags[1]}:robot"
    assert BOX in k("get", "pods", *own)
    said = k.fails("get", "secrets", *own)
    assert f'"system:serviceaccount:{k.flags[1]}:robot" cannot list resource "secrets"' in said


def test_contexts_are_set_and_used(k: Program) -> None:
    k = Program(k.path, k.cluster, k.home)  # for some minors -n is no flag of `config`
    own = ("--kubeconfig", str(k.home / "config.yaml"))
    k("config", "set-cluster", "c", f"--server={SERVER}", *own)
    k("config", "set-credentials", "u", "--token=t", *own)
    k("config", "set-context", "x", "--cluster=c", "--user=u", "--namespace=n", *own)
    k("config", "use-context", "x", *own)
    assert k("config", "current-context", *own) == "x\n"
    assert yaml.safe_load(k("config", "view", *own))["contexts"][0]["context"]["namespace"] == "n"
    assert "certificate signed by unknown authority" in k.fails("get", "pods", *own)


@pytest.mark.conformance("Kubectl client Proxy server should support proxy with --port 0")
def test_a_proxy_serves_the_api_at_a_port(k: Program) -> None:
    with k.running("proxy", "--port=0", "--disable-filter") as proxy:
        port = proxy.until("Starting to serve on 127.0.0.1:").strip().rpartition(":")[2]
        assert json.loads(fetch(k, f"http://127.0.0.1:{port}/api/"))["kind"] == "APIVersions"
        path = f"/api/v1/namespaces/{k.flags[1]}/pods/{BOX}:8080/proxy/"
        assert fetch(k, f"http://127.0.0.1:{port}{path}") == f"hello from {BOX}\n"


@pytest.mark.conformance("Kubectl client Proxy server should support --unix-socket=/path")
def test_a_proxy_serves_the_api_at_a_socket(k: Program, tmp_path: Path) -> None:
    path = tmp_path / "s"
    with k.running("proxy", f"--unix-socket={path}") as proxy:
        proxy.until("Starting to serve on")
        asked = "GET /api/ HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
        answer = exchange(path, asked)
    assert answer.startswith("HTTP/1.1 200 OK\r\n")
    assert '"APIVersions"' in answer


def exchange(path: Path, asked: str) -> str:
    """Return all that a Unix socket answers."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(20)
        connection.connect(str(path))
        connection.sendall(asked.encode())
        return b"".join(iter(lambda: connection.recv(65536), b"")).decode()


@pytest.mark.parametrize("decision", ["approve", "deny"])
def test_a_certificate_is_decided_on(k: Program, decision: str) -> None:
    name = f"{k.flags[1]}-{decision}"
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "jane")])
    request = x509.CertificateSigningRequestBuilder().subject_name(subject)
    pem = request.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
    spec = {
        "request": b64encode(pem).decode(),
        "signerName": "example.com/nobody",  # so that it stays as it was decided
        "usages": ["client auth"],
    }
    csr = {"apiVersion": "certificates.k8s.io/v1", "kind": "CertificateSigningRequest"}
    k("create", "-f", "-", stdin=k.text({**csr, "metadata": {"name": name}, "spec": spec}))
    assert "Pending" in k("get", "csr", name)
    said = k("certificate", decision, name)
    condition = {"approve": "Approved", "deny": "Denied"}[decision]
    assert f"certificatesigningrequest.certificates.k8s.io/{name} {condition.lower()}" in said
    assert k("get", "csr", name, "--no-headers").split()[-1] == condition
    assert condition in k("describe", "csr", name)
    k("delete", "csr", name)


def test_nodes_are_measured(k: Program) -> None:
    node = k.cluster.machine.name
    shown = wait_until(lambda: k.run("top", "nodes").stdout, 60, "there are measurements")
    head, *rows = shown.splitlines()
    assert head.split()[:2] == ["NAME", "CPU(cores)"]
    assert node in {row.split()[0] for row in rows}


def test_a_node_is_tainted_cordoned_and_drained(k: Program) -> None:
    node = k.cluster.machine.name
    k("taint", "node", node, "test=yes:PreferNoSchedule")
    assert "test=yes:PreferNoSchedule" in k("describe", "node", node)
    k("taint", "node", node, "test-")
    k("create", "-f", "-", stdin=k.text(deployment("drained", 1)))
    k("rollout", "status", "deployment/drained", "--timeout=120s")
    try:
        assert k("cordon", node) == f"node/{node} cordoned\n"
        assert "Ready,SchedulingDisabled" in k("get", "node", node)
        drain = ("drain", node, "--pod-selector=app=drained", "--timeout=120s")
        said = k(*drain)
        assert "evicting pod" in said
        assert f"node/{node} drained" in said
        pods = ("get", "pods", "-l", "app=drained", "--no-headers")
        wait_until(lambda: "Pending" in k(*pods), 60, "another pod waits for a node")
        assert "Running" not in k(*pods)
    finally:
        assert k("uncordon", node) == f"node/{node} uncordoned\n"
    k("rollout", "status", "deployment/drained", "--timeout=120s")
    k("delete", "deployment", "drained", "--wait=false")


def test_raw_paths_are_asked(k: Program) -> None:
    assert k("get", "--raw", "/readyz") == "ok"
    assert "[+]ping ok" in k("get", "--raw", "/livez?verbose")
    assert "kubernetes_build_info{" in k("get", "--raw", "/metrics")
    made = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "raw"}}
    path = f"/api/v1/namespaces/{k.flags[1]}/configmaps"
    answer = json.loads(k("create", "--raw", path, "-f", "-", stdin=k.text(made)))
    assert answer["metadata"]["uid"]
    assert json.loads(k("delete", "--raw", f"{path}/raw"))["status"] == "Success"
