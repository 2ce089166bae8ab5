"""Services and their endpoints as the conformance suite looks at them, on real pods."""

import json
from typing import Any

import pytest

from tests.e2e.cluster import Cluster
from tests.e2e.conformance.net import DOMAIN, PORT, Net, pod, service, web
from tests.e2e.node.machine import wait_until

pytestmark = pytest.mark.e2e
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
    wait_until(lambda: net.subsets("empty") == [], 20, "there are empty endpoints")
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
            for machine in net.cluster.machines:
                at = f"{machine.address}:{found['ports'][0]['nodePort']}"
                net.reaches_from_nodes(at, "first")
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
    places = ["sticky:80", *(f"{machine.address}:{port}" for machine in net.cluster.machines)]
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
