"""Names, host ports and services as pods of a real cluster see them."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e.cluster import Cluster
from tests.e2e.node.machine import says, wait_until

pytestmark = pytest.mark.e2e
NAMESPACE = "names"
WEB = "mkdir -p /www; hostname > /www/index.html; httpd -p 8080 -h /www; sleep 10000"


def pod(name: str, script: str, *, ports: Any = (), **spec: Any) -> dict[str, Any]:
    container = {
        "name": "c",
        "image": "kpy.local/busybox:1",
        "command": ["sh", "-c", script],
        "ports": list(ports),
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": {"app": name.partition("-")[0]}},
        "spec": {"terminationGracePeriodSeconds": 0, "containers": [container], **spec},
    }


def service(name: str, **spec: Any) -> dict[str, Any]:
    ports = [{"name": "http", "port": 80, "targetPort": 8080}]
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name},
        "spec": {"selector": {"app": name}, "ports": ports, **spec},
    }


@pytest.fixture(scope="module")
def names(cluster: Cluster) -> Iterator[Cluster]:
    """Have a client, a service `web`, a headless one `db` and others."""
    cluster.kubectl("create", "namespace", NAMESPACE)
    cluster.kubectl(
        "wait", "--for=create", "serviceaccount/default", "--timeout=120s", "-n", NAMESPACE
    )
    cluster.apply(
        pod("client", "sleep 10000"),
        pod("web", WEB, ports=[{"containerPort": 8080, "hostPort": 18080}]),
        pod("db-0", WEB, hostname="db-0", subdomain="db"),
        pod("db-1", WEB, hostname="db-1", subdomain="db"),
        service("web"),
        service("db", clusterIP="None"),
        service("alias", type="ExternalName", externalName=f"web.{NAMESPACE}.svc.cluster.local"),
        service("nobody"),
        namespace=NAMESPACE,
    )
    for name in ("client", "web", "db-0", "db-1"):
        cluster.kubectl(
            "wait", "--for=condition=Ready", f"pod/{name}", "-n", NAMESPACE, "--timeout=120s"
        )
    yield cluster
    cluster.kubectl("delete", "namespace", NAMESPACE, "--wait=false")


def in_pod(cluster: Cluster, *command: str) -> str:
    return cluster.run("exec", "client", "-n", NAMESPACE, "--", *command).stdout


def get(cluster: Cluster, host: str) -> str:
    return in_pod(cluster, "timeout", "3", "wget", "-q", "-O-", f"http://{host}")


@pytest.mark.parametrize(
    "name",
    [
        "web",
        f"web.{NAMESPACE}",
        f"web.{NAMESPACE}.svc",
        f"web.{NAMESPACE}.svc.cluster.local",
        f"web.{NAMESPACE}.svc.cluster.local.",
        "alias",
    ],
)
def test_a_service_has_short_and_long_names(names: Cluster, name: str) -> None:
    wait_until(lambda: get(names, name) == "web\n", 10, name)


def test_pods_of_a_headless_service_have_names_of_their_own(names: Cluster) -> None:
    wait_until(lambda: get(names, "db-0.db:8080") == "db-0\n", 10, "db-0.db")
    long = f"db-1.db.{NAMESPACE}.svc.cluster.local:8080"
    wait_until(lambda: get(names, long) == "db-1\n", 10, long)

    def both() -> bool:
        found = in_pod(names, "nslookup", f"db.{NAMESPACE}.svc.cluster.local")
        return found.count("Address: 10.42.") == 2

    wait_until(both, 10, "the name leads to both pods")


def test_addresses_have_names(names: Cluster) -> None:
    address = names.get("service", "web", "-n", NAMESPACE)["spec"]["clusterIP"]
    says(lambda: in_pod(names, "nslookup", address), f"web.{NAMESPACE}.svc.cluster.local")


def test_a_name_that_is_not_there_is_told_at_once(names: Cluster) -> None:
    says(lambda: in_pod(names, "nslookup", "none.names.svc.cluster.local"), "NXDOMAIN")


def test_the_clusters_own_services_are_found(names: Cluster) -> None:
    for name in ("kubernetes.default.svc.cluster.local", "kube-dns.kube-system.svc.cluster.local"):
        says(lambda name=name: in_pod(names, "nslookup", name), "Address: 10.43.0.")


def test_a_service_without_pods_refuses_at_once(names: Cluster) -> None:
    asked = ("timeout", "5", "wget", "-O-", "http://nobody")
    shown = ("exec", "client", "-n", NAMESPACE, "--", *asked)
    says(lambda: names.run(*shown).stderr, "Connection refused")


def test_a_host_port_is_reached_on_the_node(names: Cluster) -> None:
    node = names.get("pod", "web", "-n", NAMESPACE)["spec"]["nodeName"]
    (machine,) = (machine for machine in names.machines if machine.name == node)
    for address in (machine.address, "127.0.0.1"):
        asked = ("timeout", "3", "busybox", "wget", "-q", "-O-", f"http://{address}:18080")
        assert says(lambda asked=asked: machine.sh(*asked), "web") == "web\n"


def test_a_service_on_a_node_port_is_reached_on_the_node(names: Cluster) -> None:
    names.kubectl("patch", "service", "web", "-n", NAMESPACE, "-p", '{"spec":{"type":"NodePort"}}')
    port = names.get("service", "web", "-n", NAMESPACE)["spec"]["ports"][0]["nodePort"]

    def answers(address: str) -> bool:
        line = f"timeout 3 busybox wget -q -O- http://{address}:{port} || true"
        return names.machine.sh("sh", "-c", line) == "web\n"

    for address in (names.machine.address, "127.0.0.1"):
        wait_until(lambda address=address: answers(address), 10, address)
