"""Services, names and proxies as the conformance suite looks at them, on real pods."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.cluster import Cluster
from tests.e2e.conformance.batch import IMAGE
from tests.e2e.node.machine import wait_until

pytestmark = pytest.mark.e2e
DOMAIN = "svc.cluster.local"


def pod(name: str, script: str = "sleep 3600", **more: Any) -> dict[str, Any]:
    container = {"name": "c", "image": IMAGE, "command": ["sh", "-c", script]}
    container.update(more.pop("container", {}))
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": {"name": name, **more.pop("labels", {})}},
        "spec": {
            "terminationGracePeriodSeconds": 0,
            "automountServiceAccountToken": False,
            "containers": [container],
            **more,
        },
    }


def web(name: str, *ports: int, **more: Any) -> dict[str, Any]:
    """Return a pod that answers on each port with its own name; ready once it does."""
    ports = ports or (8080,)
    servers = "; ".join(f"httpd -p {port} -h /www" for port in ports)
    script = f"mkdir /www; hostname > /www/index.html; {servers}; sleep 3600"
    probe = {"tcpSocket": {"port": ports[-1]}, "periodSeconds": 1}
    named = [{"containerPort": port, "name": f"p{port}"} for port in ports]
    return pod(name, script, container={"readinessProbe": probe, "ports": named}, **more)


def service(name: str, selector: Any, *ports: Any, **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name},
        "spec": {"selector": selector, "ports": list(ports) or [PORT], **spec},
    }


PORT = {"port": 80, "targetPort": 8080}


class Net:
    """A namespace with a client pod."""

    def __init__(self, cluster: Cluster, namespace: str) -> None:
        self.cluster = cluster
        self.namespace = namespace

    def do(self, *words: str, stdin: str = "") -> str:
        return self.cluster.kubectl("-n", self.namespace, *words, stdin=stdin)

    def get(self, *words: str) -> Any:
        return self.cluster.get(*words, "-n", self.namespace)

    def make(self, *objects: dict[str, Any]) -> None:
        """Apply objects and wait until the pods among them are ready."""
        self.cluster.apply(*objects, namespace=self.namespace)
        names = [f"pod/{one['metadata']['name']}" for one in objects if one["kind"] == "Pod"]
        if names:
            self.do("wait", "--for=condition=Ready", *names, "--timeout=90s")

    def ask(self, host: str, source: str = "client") -> str:
        """Return who answers at `host:port`, "" where nobody does."""
        words = ("timeout", "3", "wget", "-q", "-O-", f"http://{host}")
        return self.cluster.run("-n", self.namespace, "exec", source, "--", *words).stdout.strip()

    def ask_many(self, host: str, times: int, source: str = "client") -> list[str]:
        """Return who answers several requests in a row."""
        script = f"for i in $(seq {times}); do timeout 3 wget -q -O- http://{host}; done"
        words = ("exec", source, "--", "sh", "-c", script)
        return self.cluster.run("-n", self.namespace, *words).stdout.split()

    def answers(self, host: str, *names: str) -> None:
        """Wait until each of some pods has answered, and nobody else does."""
        seen: set[str] = set()

        def true() -> bool:
            found = set(self.ask_many(host, 8))
            seen.update(found)
            return found <= set(names) and seen >= set(names)

        wait_until(true, 30, f"{names} answer at {host}, not {seen}")

    def silent(self, host: str) -> None:
        wait_until(lambda: not self.ask(host), 30, f"nobody answers at {host}")

    def from_node(self, host: str) -> str:
        """Return who answers a request of the node itself."""
        line = f"timeout 3 busybox wget -q -O- http://{host} || true"
        return self.cluster.machine.sh("sh", "-c", line).strip()

    def slices(self, name: str) -> dict[str, set[int]]:
        """Return the pods and ports that the slices of a service lead to."""
        found: dict[str, set[int]] = {}
        label = f"kubernetes.io/service-name={name}"
        for one in self.get("endpointslices", "-l", label)["items"]:
            for endpoint in one["endpoints"] or ():
                ports = {port["port"] for port in one["ports"] or ()}
                found.setdefault(endpoint["targetRef"]["name"], set()).update(ports)
        return found

    def points(self, name: str, **pods: set[int]) -> None:
        """Wait until endpoints and slices of a service lead to these pods and no others."""

        def true() -> bool:
            objects = self.get("endpoints", name).get("subsets", ())
            listed = {
                address["targetRef"]["name"]: {port["port"] for port in subset["ports"]}
                for subset in objects
                for address in subset.get("addresses", ())
            }
            return self.slices(name) == pods and listed.keys() == pods.keys()

        wait_until(true, 30, f"{name} leads to {pods}")


@pytest.fixture
def net(cluster: Cluster, namespace: str) -> Iterator[Net]:
    return Net(cluster, namespace)


# --- the API server itself ------------------------------------------------------------------------


@pytest.mark.conformance(
    "API Server should provide secure master service",
    "API Server should have Endpoints and EndpointSlices pointing to API Server",
)
def test_the_api_server_is_a_service(cluster: Cluster) -> None:
    (port,) = cluster.get("service", "kubernetes")["spec"]["ports"]
    assert (port["name"], port["port"]) == ("https", 443)
    (subset,) = cluster.get("endpoints", "kubernetes")["subsets"]
    items = cluster.get("endpointslices", "-l", "kubernetes.io/service-name=kubernetes")["items"]
    assert len(items) == 1
    listed = [address["ip"] for address in subset["addresses"]]
    assert [e["addresses"][0] for e in items[0]["endpoints"]] == listed == ["192.168.77.1"]
    assert items[0]["ports"][0]["port"] == subset["ports"][0]["port"] == 6443


# --- endpoints ------------------------------------------------------------------------------------


@pytest.mark.conformance(
    "Services should serve a basic endpoint from pods",
    "Services should serve multiport endpoints from pods",
    "EndpointSlice should support a Service with multiple ports specified in multiple"
    " EndpointSlices",
    "EndpointSlice should create Endpoints and EndpointSlices for Pods matching a Service",
    "EndpointsController should create Endpoints for Pods matching a Service",
)
def test_pods_come_to_a_service_and_go_from_it(net: Net) -> None:
    ports = [
        {"name": "one", "port": 80, "targetPort": "p8080"},
        {"name": "two", "port": 81, "targetPort": 8081},
    ]
    net.make(pod("client"), service("multi", {"app": "multi"}, *ports))
    net.points("multi")
    labels = {"app": "multi"}
    net.make(web("first", 8080, 8081, labels=labels))
    net.points("multi", first={8080, 8081})
    net.make(web("second", 8080, 8081, labels=labels))
    net.points("multi", first={8080, 8081}, second={8080, 8081})
    for port in (80, 81):
        net.answers(f"multi:{port}", "first", "second")
    net.do("delete", "pod", "first", "--force")
    net.points("multi", second={8080, 8081})
    net.answers("multi:80", "second")
    net.do("delete", "pod", "second", "--force")
    net.points("multi")
    net.silent("multi:80")


@pytest.mark.conformance(
    "EndpointSlice should create and delete EndpointSlices for a Service with a selector that"
    " matches no pods",
    "EndpointsController should create and delete Endpoints for a Service with a selector that"
    " matches no pods",
)
def test_a_service_of_no_pods_has_empty_endpoints_that_go_with_it(net: Net) -> None:
    net.make(service("empty", {"app": "nobody"}))
    label = ("-l", "kubernetes.io/service-name=empty")
    wait_until(lambda: net.get("endpointslices", *label)["items"], 20, "there is a slice")
    assert not net.get("endpoints", "empty").get("subsets")
    net.do("delete", "service", "empty")
    wait_until(
        lambda: (
            not net.get("endpointslices", *label)["items"]
            and not net.do("get", "endpoints", "empty", "--ignore-not-found")
        ),
        60,
        "endpoints and slices are gone",
    )


@pytest.mark.conformance(
    "EndpointSlice should support a Service with multiple endpoint IPs specified in multiple"
    " EndpointSlices"
)
def test_slices_written_by_hand_lead_to_all_their_endpoints(net: Net) -> None:
    ports = [{"name": name, "port": port, "protocol": "TCP"} for name, port in PORTS.items()]
    net.make(pod("client"), web("first", 8080, 8081), web("second", 8080, 8081))
    made = service("manual", None, *ports)
    del made["spec"]["selector"]
    net.make(made)
    for name in ("first", "second"):
        address = net.get("pod", name)["status"]["podIP"]
        net.make(
            {
                "apiVersion": "discovery.k8s.io/v1",
                "kind": "EndpointSlice",
                "metadata": {
                    "name": f"manual-{name}",
                    "labels": {"kubernetes.io/service-name": "manual"},
                },
                "addressType": "IPv4",
                "endpoints": [{"addresses": [address]}],
                "ports": [
                    {"name": "http", "port": 8080, "protocol": "TCP"},
                    {"name": "other", "port": 8081, "protocol": "TCP"},
                ],
            }
        )
    for port in PORTS.values():
        net.answers(f"manual:{port}", "first", "second")


PORTS = {"http": 80, "other": 81}


@pytest.mark.conformance("Services should serve endpoints on same port and different protocols")
def test_one_port_of_two_protocols_can_lose_one_of_them(net: Net) -> None:
    both = [{"name": kind, "port": 80, "targetPort": 8080, "protocol": kind.upper()}
            for kind in ("tcp", "udp")]  # fmt: skip
    net.make(pod("client"), web("first", labels={"app": "both"}))
    net.make(service("both", {"app": "both"}, *both))
    net.answers("both:80", "first")
    (found,) = net.get("endpointslices", "-l", "kubernetes.io/service-name=both")["items"]
    assert {port["protocol"] for port in found["ports"]} == {"TCP", "UDP"}
    change = [{"op": "replace", "path": "/spec/ports", "value": both[1:]}]
    net.do("patch", "service", "both", "--type=json", "-p", json.dumps(change))
    net.silent("both:80")


# --- types ----------------------------------------------------------------------------------------


@pytest.mark.conformance(
    "Services should be able to change the type from ExternalName to ClusterIP",
    "Services should be able to change the type from ExternalName to NodePort",
    "Services should be able to change the type from ClusterIP to ExternalName",
    "Services should be able to change the type from NodePort to ExternalName",
    "Services should be able to create a functioning NodePort service",
)
def test_a_service_changes_its_type(net: Net) -> None:
    net.make(pod("client"), web("first", labels={"app": "typed"}))
    net.make(web("target", labels={"app": "target"}), service("target", {"app": "target"}))
    external = {"type": "ExternalName", "externalName": f"target.{net.namespace}.{DOMAIN}"}
    made = service("typed", {"app": "typed"}, **external)
    del made["spec"]["ports"], made["spec"]["selector"]
    net.make(made)
    net.answers("typed:80", "target")
    for kind in ("ClusterIP", "NodePort"):
        spec: dict[str, Any] = {"type": kind, "externalName": None, "selector": {"app": "typed"}}
        spec["ports"] = [{"name": "http", **PORT}]
        net.do("patch", "service", "typed", "--type=merge", "-p", json.dumps({"spec": spec}))
        net.answers("typed:80", "first")
        found = net.get("service", "typed")["spec"]
        if kind == "NodePort":
            at = f"192.168.77.1:{found['ports'][0]['nodePort']}"
            wait_until(lambda at=at: net.from_node(at) == "first", 20, f"{at} answers")
            net.answers(at, "first")
        back = {"spec": {**external, "clusterIP": None, "clusterIPs": None, "selector": None,
                         "ports": None}}  # fmt: skip
        net.do("patch", "service", "typed", "--type=merge", "-p", json.dumps(back))
        net.answers("typed:80", "target")
        assert "clusterIP" not in net.get("service", "typed")["spec"]


@pytest.mark.conformance(
    "Services should have session affinity work for service with type clusterIP",
    "Services should have session affinity work for NodePort service",
    "Services should be able to switch session affinity for service with type clusterIP",
    "Services should be able to switch session affinity for NodePort service",
)
def test_a_client_stays_with_one_pod_while_its_service_says_so(net: Net) -> None:
    names = ("first", "second", "third")
    net.make(pod("client"), *(web(name, labels={"app": "sticky"}) for name in names))
    net.make(service("sticky", {"app": "sticky"}, type="NodePort"))
    port = net.get("service", "sticky")["spec"]["ports"][0]["nodePort"]
    places = ("sticky:80", f"192.168.77.1:{port}")
    for place in places:
        net.answers(place, *names)
    for affinity in ("ClientIP", "None"):
        change = {"spec": {"sessionAffinity": affinity}}
        net.do("patch", "service", "sticky", "-p", json.dumps(change))
        for place in places:
            if affinity == "None":
                net.answers(place, *names)
                continue
            wait_until(
                lambda place=place: len(set(net.ask_many(place, 15))) == 1, 20, f"{place} sticks"
            )


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

    def found(name: str, *kind: str) -> str:
        words = ("exec", "client", "--", "nslookup", *(f"-type={one}" for one in kind), name)
        return net.cluster.run("-n", space, *words).stdout

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
        wait_until(lambda name=name, a=address: resolves(net, name, a), 20, f"{name} is {address}")
    for owner in ("plain", "dns"):
        said = found(f"_http._tcp.{owner}.{space}.{DOMAIN}", "srv")
        assert f".{space}.{DOMAIN}" in said, said
    assert f"plain.{space}.{DOMAIN}" in found(plain)
    hosts = net.do("exec", "querier", "--", "cat", "/etc/hosts")
    assert f"{own}\tquerier-1.dns.{space}.{DOMAIN}\tquerier-1" in hosts
    net.make(external("outside", "foo.example.com"))
    wait_until(
        lambda: "foo.example.com" in found(f"outside.{space}.{DOMAIN}", "cname"), 20, "a CNAME"
    )
    net.do("patch", "service", "outside", "-p", '{"spec":{"externalName":"bar.example.com"}}')
    wait_until(
        lambda: "bar.example.com" in found(f"outside.{space}.{DOMAIN}", "cname"), 40, "it changes"
    )


def resolves(net: Net, name: str, address: str) -> bool:
    """Tell whether a program in the client finds an address by a name, search path and all."""
    words = ("exec", "client", "--", "ping", "-c1", "-W1", name)
    said = net.cluster.run("-n", net.namespace, *words)
    return f"({address})" in said.stdout


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
        assert net.ask(at) == name
        assert net.from_node(at) == name


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


def in_pod(cluster: Cluster, mark: str) -> list[str]:
    """Return the command that enters the network of the pod that sleeps for `mark` seconds."""
    pid = cluster.machine.sh("pgrep", "-fo", f"sleep {mark}").split()[0]
    return ["nsenter", f"--net=/proc/{pid}/ns/net"]


@pytest.mark.conformance(
    "Networking Granular Checks: Pods should function for intra-pod communication: udp",
    "Networking Granular Checks: Pods should function for node-pod communication: udp",
)
def test_pods_and_the_node_reach_each_pod_by_datagrams(net: Net, tmp_path: Path) -> None:
    marks = {"client": "70000", "first": "70001", "second": "70002"}
    net.make(*(pod(name, f"sleep {mark}") for name, mark in marks.items()))
    machine = net.cluster.machine
    servers = []
    try:
        for name in ("first", "second"):
            script = ECHO.replace("NAME", repr(name.encode()))
            command = [*in_pod(net.cluster, marks[name]), sys.executable, "-c", script]
            servers.append(machine.start(command, tmp_path / f"{name}.log"))
        for name in ("first", "second"):
            address = net.get("pod", name)["status"]["podIP"]
            call = [sys.executable, "-c", CALL.replace("ADDRESS", repr(address))]
            for place in ([], in_pod(net.cluster, marks["client"])):
                assert machine.sh(*place, *call) == f"{name} heard hello\n"
    finally:
        for server in servers:
            server.kill()
            server.wait()


@pytest.mark.conformance(
    "HostPort validates that there is no conflict between pods with same hostPort but different"
    " hostIP and protocol"
)
def test_one_host_port_serves_several_pods_on_several_addresses(net: Net) -> None:
    def hosted(name: str, address: str, protocol: str) -> dict[str, Any]:
        made = web(name)
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
