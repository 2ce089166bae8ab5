"""How pods are reached: by name, by address and port, through the API server."""

import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.cluster import Cluster
from tests.e2e.conformance.net import DOMAIN, PORT, Net, pod, service, web
from tests.e2e.node.machine import Machine, wait_until

pytestmark = pytest.mark.e2e


# --- names ----------------------------------------------------------------------------------------


@pytest.mark.conformance(
    "DNS should provide DNS for the cluster",
    "DNS should provide DNS for services",
    "DNS should resolve DNS of partial qualified names for services",
    "DNS should provide DNS for pods for Hostname",
    "DNS should provide DNS for pods for Subdomain",
    "DNS should provide /etc/hosts entries for the cluster",
    "DNS should provide DNS for ExternalName services",
)
def test_names_lead_where_they_must(net: Net) -> None:
    headless = service("dns", {"app": "dns"}, {"name": "http", "port": 80, "targetPort": 8080})
    headless["spec"]["clusterIP"] = "None"
    net.make(
        pod("client"),
        headless,
        service("plain", {"app": "dns"}, {"name": "http", **PORT}),
        web("querier", labels={"app": "dns"}, hostname="querier-1", subdomain="dns"),
    )
    space = net.namespace
    own = net.get("pod", "querier")["status"]["podIP"]
    plain = net.get("service", "plain")["spec"]["clusterIP"]

    wanted = {
        "kubernetes.default": "10.43.0.1",
        f"kubernetes.default.{DOMAIN}": "10.43.0.1",
        "plain": plain,
        f"plain.{space}": plain,
        f"plain.{space}.svc": plain,
        f"plain.{space}.{DOMAIN}": plain,
        f"dns.{space}.{DOMAIN}": own,
        f"querier-1.dns.{space}.{DOMAIN}": own,
    }
    for name, address in wanted.items():
        # A program of its own looks for it, by the search path and all.
        net.says(f"({address})", "ping", "-c1", "-W1", name)
    for owner in ("plain", "dns"):
        name = f"_http._tcp.{owner}.{space}.{DOMAIN}"
        net.says(f".{space}.{DOMAIN}", "nslookup", "-type=srv", name, after="service =")
    net.says(f"plain.{space}.{DOMAIN}", "nslookup", plain)
    net.says(f"{own}\tquerier-1.dns.{space}.{DOMAIN}\tquerier-1", "cat", "/etc/hosts", of="querier")
    net.make(external("outside", "foo.example.com"))
    alias = ("nslookup", "-type=cname", f"outside.{space}.{DOMAIN}")
    net.says("foo.example.com", *alias)
    net.do("patch", "service", "outside", "-p", '{"spec":{"externalName":"bar.example.com"}}')
    net.says("bar.example.com", *alias)


def external(name: str, target: str) -> dict[str, Any]:
    made = service(name, None, type="ExternalName", externalName=target)
    del made["spec"]["selector"], made["spec"]["ports"]
    return made


@pytest.mark.conformance("DNS should support configurable pod DNS nameservers")
def test_a_pod_may_bring_its_own_resolver_configuration(net: Net) -> None:
    config = {"nameservers": ["1.1.1.1"], "searches": ["resolv.conf.local"]}
    net.make(pod("own", dnsPolicy="None", dnsConfig=config))
    said = net.do("exec", "own", "--", "cat", "/etc/resolv.conf").split("\n")
    assert said[:2] == ["search resolv.conf.local", "nameserver 1.1.1.1"]


# --- pods and ports -------------------------------------------------------------------------------


@pytest.mark.conformance(
    "Networking Granular Checks: Pods should function for intra-pod communication: http",
    "Networking Granular Checks: Pods should function for node-pod communication: http",
)
def test_pods_and_the_node_reach_each_pod(net: Net) -> None:
    names = ("first", "second", "third")
    net.make(pod("client"), *(web(name) for name in names))
    for name in names:
        at = f"{net.get('pod', name)['status']['podIP']}:8080"
        net.reaches(at, name)


ECHO = """
import socket
server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
server.bind(("0.0.0.0", 8081))
while True:
    data, source = server.recvfrom(1024)
    server.sendto(NAME + b" heard " + data, source)
"""
CALL = """
import socket
client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
client.settimeout(1)
for _ in range(20):
    client.sendto(b"hello", (ADDRESS, 8081))
    try:
        print(client.recv(1024).decode())
        break
    except OSError:
        pass
"""


def in_pod(cluster: Cluster, mark: str) -> tuple[Machine, list[str]]:
    """Return the machine of the pod that sleeps for `mark` seconds, and how to enter the pod."""
    for machine in cluster.machines:
        for pid in machine.sh("pgrep", "-fo", f"sleep {mark}", check=False).split():
            return machine, ["nsenter", f"--net=/proc/{pid}/ns/net"]
    raise AssertionError(f"no pod sleeps for {mark} seconds")


@pytest.mark.conformance(
    "Networking Granular Checks: Pods should function for intra-pod communication: udp",
    "Networking Granular Checks: Pods should function for node-pod communication: udp",
)
def test_pods_and_the_node_reach_each_pod_by_datagrams(net: Net, tmp_path: Path) -> None:
    marks = {"client": "70000", "first": "70001", "second": "70002"}
    net.make(*(pod(name, f"sleep {mark}") for name, mark in marks.items()))
    servers = []
    try:
        for name in ("first", "second"):
            script = ECHO.replace("NAME", repr(name.encode()))
            machine, inside = in_pod(net.cluster, marks[name])
            command = [*inside, sys.executable, "-c", script]
            servers.append(machine.start(command, tmp_path / f"{name}.log"))
        client, entered = in_pod(net.cluster, marks["client"])
        for name in ("first", "second"):
            address = net.get("pod", name)["status"]["podIP"]
            call = [sys.executable, "-c", CALL.replace("ADDRESS", repr(address))]
            nodes = [(machine, list[str]()) for machine in net.cluster.machines]
            for machine, place in (*nodes, (client, entered)):
                assert machine.sh(*place, *call) == f"{name} heard hello\n"
    finally:
        for server in servers:
            server.kill()
            server.wait()


FROM_ADDRESS = """
import http.client, sys
source, host = sys.argv[1:]
connection = http.client.HTTPConnection(host, timeout=5, source_address=(source, 0))
connection.request("GET", "/")
print(connection.getresponse().read().decode())
"""


@pytest.mark.conformance(
    "HostPort validates that there is no conflict between pods with same hostPort but different"
    " hostIP and protocol"
)
def test_one_host_port_serves_several_pods_on_several_addresses(net: Net) -> None:
    def hosted(name: str, address: str, protocol: str) -> dict[str, Any]:
        made = web(name, nodeName="n1")
        (container,) = made["spec"]["containers"]
        container["ports"] = [
            {"containerPort": 8080, "hostPort": 54323, "protocol": protocol, "hostIP": address}
        ]
        return made

    net.make(
        hosted("pod1", "127.0.0.1", "TCP"),
        hosted("pod2", "192.168.77.1", "TCP"),
        hosted("pod3", "192.168.77.1", "UDP"),
    )
    for address, name in (("127.0.0.1", "pod1"), ("192.168.77.1", "pod2")):
        at = f"{address}:54323"
        wait_until(lambda at=at, n=name: net.from_node(at) == n, 20, f"{name} answers at {at}")
    command = (sys.executable, "-c", FROM_ADDRESS, "192.168.77.1", "127.0.0.1:54323")
    assert net.cluster.machine.sh(*command).strip() == "pod1"


HEALTH = """
import grpc, time
from concurrent.futures import ThreadPoolExecutor
class Health(grpc.GenericRpcHandler):
    def service(self, call):
        assert call.method == "/grpc.health.v1.Health/Check"
        serving = lambda *_: bytes([8, 1])
        return grpc.unary_unary_rpc_method_handler(serving)
server = grpc.server(ThreadPoolExecutor(2))
server.add_generic_rpc_handlers((Health(),))
server.add_insecure_port("0.0.0.0:5000")
server.start()
print("serving", flush=True)
time.sleep(3600)
"""


@pytest.mark.conformance("Probing container should *not* be restarted with a GRPC liveness probe")
def test_a_container_that_answers_over_grpc_is_left_alone(net: Net, tmp_path: Path) -> None:
    action = {"grpc": {"port": 5000}, "periodSeconds": 1, "timeoutSeconds": 10}
    probes = {
        "startupProbe": {**action, "failureThreshold": 120},  # somebody has to begin to serve
        "readinessProbe": action,
        "livenessProbe": {**action, "failureThreshold": 3},
    }
    net.cluster.apply(pod("a", "sleep 70009", container=probes), namespace=net.namespace)
    net.do("wait", "--for=jsonpath={.status.phase}=Running", "pod/a", "--timeout=120s")
    machine, inside = in_pod(net.cluster, "70009")
    command = [*inside, sys.executable, "-c", HEALTH]
    server = machine.start(command, tmp_path / "health.log")
    try:
        net.do("wait", "--for=condition=Ready", "pod/a", "--timeout=120s")
        begun = time.monotonic()
        # Longer than a liveness probe that fails would let it be.
        wait_until(lambda: time.monotonic() - begun > 6, 20, "the probes have been made")
        (status,) = net.get("pod", "a")["status"]["containerStatuses"]
        assert (status["ready"], status["restartCount"]) == (True, 0)
    finally:
        server.kill()
        server.wait()


# --- through the API server -----------------------------------------------------------------------


@pytest.mark.conformance(
    "Proxy version v1 should proxy through a service and a pod",
    "Proxy version v1 A set of valid responses are returned for both pod and service Proxy",
    "Proxy version v1 A set of valid responses are returned for both pod and service ProxyWithPath",
)
def test_pods_and_services_are_reached_through_the_api_server(net: Net) -> None:
    ports = [
        {"name": "portname1", "port": 80, "targetPort": "p8080"},
        {"name": "portname2", "port": 81, "targetPort": 8081},
    ]
    net.make(
        web("target", 8080, 8081, labels={"app": "proxied"}),
        service("proxied", {"app": "proxied"}, *ports),
    )
    base = f"/api/v1/namespaces/{net.namespace}"
    places = [
        "pods/target/proxy",
        "pods/target:8080/proxy",
        "pods/http:target:8081/proxy",
        "services/proxied:portname1/proxy",
        "services/http:proxied:portname2/proxy",
        "services/proxied:80/proxy",
        "services/proxied:81/proxy",
    ]
    for place in places:
        for rest in ("/", "/index.html"):
            path = f"{base}/{place}{rest}"
            wait_until(
                lambda path=path: net.cluster.run("get", "--raw", path).stdout == "target\n",
                20,
                path,
            )


@pytest.mark.conformance("Service endpoints latency should not be very high")
def test_endpoints_follow_a_service_soon(net: Net) -> None:
    net.make(web("target", labels={"app": "quick"}))
    services = [service(f"quick-{n}", {"app": "quick"}) for n in range(50)]
    net.make(*services)

    def all_there() -> bool:
        items = net.get("endpointslices")["items"]
        return sum(bool(one["endpoints"]) for one in items) == len(services)

    wait_until(all_there, 20, "every service has its endpoint")
