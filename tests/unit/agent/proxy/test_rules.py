"""Services become elements of maps by pure functions, and changes are differences of elements."""

import re
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minikube_py.agent.nft_elements import Element
from minikube_py.agent.proxy import conntrack
from minikube_py.agent.proxy.chains import AFFINITY_SLOTS, IPV6, Chain, parse_name
from minikube_py.agent.proxy.endpoints import Endpoint, Node, choose
from minikube_py.agent.proxy.fronts import fronts_of
from minikube_py.agent.proxy.rules import ProxyConfig, derive, slots_of
from minikube_py.agent.proxy.ruleset import Ruleset, containers
from minikube_py.api.object import Key

NODE = Node(name="here", zone="a")
CONFIG = ProxyConfig(node=NODE, cluster_cidr="10.42.0.0/16", service_cidr="10.43.0.0/16")
VIP = "10.43.0.5"


def service(**spec: Any) -> dict[str, Any]:
    ports = [{"name": "http", "protocol": "TCP", "port": 80, "nodePort": spec.pop("node_port", 0)}]
    status = spec.pop("status", {})
    return {
        "metadata": {"namespace": "default", "name": "web", "labels": spec.pop("labels", {})},
        "spec": {"clusterIP": VIP, "clusterIPs": [VIP], "ports": ports, **spec},
        "status": status,
    }


def endpoint(number: int, node: str = "there", **conditions: Any) -> dict[str, Any]:
    hints = conditions.pop("hints", {})
    return {
        "addresses": [f"10.42.0.{number}"],
        "nodeName": node,
        "conditions": conditions,
        "hints": hints,
    }


def piece(*endpoints: dict[str, Any], protocol: str = "TCP", name: str = "http") -> dict[str, Any]:
    return {
        "addressType": "IPv4",
        "ports": [{"name": name, "protocol": protocol, "port": 8080}],
        "endpoints": list(endpoints),
    }


def by_container(elements: Sequence[Element]) -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = {}
    for container, key, value in elements:
        found.setdefault(container, {})[key] = value
    return found


def derived(svc: dict[str, Any], *endpoints: dict[str, Any]) -> dict[str, dict[str, str]]:
    return by_container(derive(svc, [piece(*endpoints)], CONFIG))


def test_a_service_address_leads_to_its_endpoints_by_number() -> None:
    assert derived(service(), endpoint(5, "here"), endpoint(6)) == {
        "cluster-ips": {VIP: ""},
        "services": {f"{VIP} . tcp . 80": "goto c-2"},
        "endpoints": {
            f"{VIP} . tcp . 80 . 0": "10.42.0.5 . 8080",
            f"{VIP} . tcp . 80 . 1": "10.42.0.6 . 8080",
        },
        "hairpin": {"10.42.0.5 . 10.42.0.5": ""},
    }


def test_sctp_has_rules_in_maps_and_no_fronts_in_other_modes() -> None:
    svc = service(node_port=30080)
    svc["spec"]["ports"][0]["protocol"] = "SCTP"
    elements = derive(svc, [piece(endpoint(5), protocol="SCTP")], CONFIG)
    found = by_container(elements)
    assert found["endpoints"] == {f"{VIP} . sctp . 80 . 0": "10.42.0.5 . 8080"}
    assert found["np-services"] == {"sctp . 30080": "goto np-x-1"}
    assert fronts_of(elements) == {}


def test_a_service_without_endpoints_refuses() -> None:
    assert derived(service(node_port=30080)) == {
        "cluster-ips": {VIP: ""},
        "no-endpoints": {f"{VIP} . tcp . 80": "goto refuse"},
        "np-no-endpoints": {"tcp . 30080": "goto refuse"},
    }


def test_a_node_port_and_an_external_address_are_masqueraded() -> None:
    found = derived(service(node_port=30080, externalIPs=["192.0.2.7"]), endpoint(5))
    assert found["np-services"] == {"tcp . 30080": "goto np-x-1"}
    assert found["np-endpoints"] == {"tcp . 30080 . 0": "10.42.0.5 . 8080"}
    assert found["services"]["192.0.2.7 . tcp . 80"] == "goto x-1"


def test_traffic_from_outside_stays_on_the_node_where_the_policy_says_local() -> None:
    svc = service(node_port=30080, externalTrafficPolicy="Local")
    found = derived(svc, endpoint(5, "here"), endpoint(6), endpoint(7))
    assert found["services"] == {f"{VIP} . tcp . 80": "goto c-3"}
    assert found["np-services"] == {"tcp . 30080": "goto np-e-3-1"}
    assert found["np-local-endpoints"] == {"tcp . 30080 . 0": "10.42.0.5 . 8080"}
    assert len(found["np-endpoints"]) == 3
    assert derived(svc, endpoint(6))["np-services"] == {"tcp . 30080": "goto np-e-1-0"}


def test_internal_traffic_is_dropped_where_only_other_nodes_have_endpoints() -> None:
    svc = service(internalTrafficPolicy="Local")
    assert derived(svc, endpoint(6))["no-endpoints"] == {f"{VIP} . tcp . 80": "drop"}
    assert derived(svc)["no-endpoints"] == {f"{VIP} . tcp . 80": "goto refuse"}
    assert derived(svc, endpoint(5, "here"), endpoint(6))["services"] == {
        f"{VIP} . tcp . 80": "goto c-1"
    }


def test_clients_stick_to_endpoints_by_slots_that_others_do_not_move() -> None:
    svc = service(sessionAffinity="ClientIP")
    three = derived(svc, endpoint(5), endpoint(6), endpoint(7))
    two = derived(svc, endpoint(5), endpoint(7))
    assert three["services"] == {f"{VIP} . tcp . 80": "goto c-3-a10800"}
    assert two["sticky"].items() < three["sticky"].items()
    assert set(two["slots"].values()) == {key.split(" . ")[3] for key in two["sticky"]}


@given(st.sets(st.integers(1, 250), min_size=1, max_size=60), st.data())
def test_slots_are_distinct_and_in_range(numbers: set[int], data: st.DataObject) -> None:
    endpoints = [Endpoint(f"10.42.0.{number}", 8080) for number in sorted(numbers)]
    slots = slots_of(endpoints)
    assert list(slots.values()) == endpoints
    assert all(0 < slot < AFFINITY_SLOTS for slot in slots)


def test_source_ranges_that_overlap_or_make_no_sense_keep_nothing_from_being_loaded() -> None:
    ranges = ["10.0.0.0/8", " 10.1.0.0/16", "10.1.2.3/8", "fd00::/8", "nonsense", "1.2.3.4"]
    status = {"loadBalancer": {"ingress": [{"ip": "192.0.2.9"}, {"ip": "no address"}]}}
    found = derived(service(loadBalancerSourceRanges=ranges, status=status), endpoint(5))
    assert found["guarded"] == {"192.0.2.9 . tcp . 80": ""}
    assert found["admitted"] == {"192.0.2.9 . tcp . 80 . 10.0.0.0/8": ""}


@pytest.mark.parametrize("address", ["", "10.42.0.256", "fd42::5", "web", "10.42.0.5; drop", None])
def test_an_endpoint_whose_address_is_none_is_left_out(address: str | None) -> None:
    wrong = {**endpoint(6), "addresses": [address]}
    found = derived(service(), wrong, {**endpoint(7), "addresses": []}, endpoint(5))
    assert found["endpoints"] == {f"{VIP} . tcp . 80 . 0": "10.42.0.5 . 8080"}


def test_a_load_balancer_with_source_ranges_is_guarded() -> None:
    svc = service(
        loadBalancerSourceRanges=["198.51.100.0/24"],
        status={"loadBalancer": {"ingress": [{"ip": "192.0.2.9"}]}},
    )
    found = derived(svc, endpoint(5))
    assert found["guarded"] == {"192.0.2.9 . tcp . 80": ""}
    assert found["admitted"] == {"192.0.2.9 . tcp . 80 . 198.51.100.0/24": ""}
    assert found["services"]["192.0.2.9 . tcp . 80"] == "goto x-1"


@pytest.mark.parametrize(
    "svc",
    [
        service(clusterIP="None", clusterIPs=["None"]),
        service(type="ExternalName", clusterIP="", clusterIPs=[]),
        service(labels={"service.kubernetes.io/service-proxy-name": "other"}),
        service(labels={"service.kubernetes.io/headless": ""}),
    ],
)
def test_services_that_are_not_proxied_have_no_elements(svc: dict[str, Any]) -> None:
    assert derive(svc, [piece(endpoint(5))], CONFIG) == ()


def test_an_address_that_the_node_serves_itself_has_no_rules() -> None:
    config = ProxyConfig(
        node=NODE,
        cluster_cidr="10.42.0.0/16",
        service_cidr="10.43.0.0/16",
        local_addresses=frozenset({VIP}),
    )
    assert derive(service(), [], config) == ()


def test_each_family_has_its_own_addresses() -> None:
    svc = service(clusterIPs=[VIP, "fd43::5"])
    slices = [
        piece(endpoint(5)),
        {**piece({"addresses": ["fd42::5"]}), "addressType": "IPv6"},
    ]
    config = ProxyConfig(
        node=NODE, cluster_cidr="fd42::/48", service_cidr="fd43::/112", family=IPV6
    )
    found = by_container(derive(svc, slices, config))
    assert found["endpoints"] == {"fd43::5 . tcp . 80 . 0": "fd42::5 . 8080"}
    assert found["cluster-ips"] == {"fd43::5": ""}


def test_endpoints_that_terminate_serve_where_no_other_is_ready() -> None:
    ending = endpoint(5, ready=False, serving=True, terminating=True)
    broken = endpoint(6, ready=False, serving=False)
    unknown = endpoint(7)
    chosen = choose([piece(ending, broken)], "http", "TCP", NODE)
    assert [e.ip for e in chosen.cluster] == ["10.42.0.5"]
    chosen = choose([piece(ending, broken, unknown)], "http", "TCP", NODE)
    assert [e.ip for e in chosen.cluster] == ["10.42.0.7"]


def test_an_endpoint_in_two_slices_counts_once_and_is_ready_where_one_says_so() -> None:
    slices = [piece(endpoint(5, ready=True)), piece(endpoint(5, ready=False))]
    assert len(choose(slices, "http", "TCP", NODE).cluster) == 1


def test_hints_keep_traffic_near_only_where_all_endpoints_have_them() -> None:
    near = endpoint(5, hints={"forZones": [{"name": "a"}]})
    far = endpoint(6, hints={"forZones": [{"name": "b"}]})
    plain = endpoint(7)

    def ips(*endpoints: dict[str, Any]) -> list[str]:
        return [e.ip for e in choose([piece(*endpoints)], "http", "TCP", NODE).cluster]

    assert ips(near, far) == ["10.42.0.5"]
    assert ips(near, far, plain) == ["10.42.0.5", "10.42.0.6", "10.42.0.7"]
    assert ips(far) == ["10.42.0.6"]


def test_ports_are_found_by_name_and_protocol() -> None:
    slices = [piece(endpoint(5), protocol="UDP"), piece(endpoint(6), name="other")]
    assert choose(slices, "http", "TCP", NODE).cluster == ()


@given(
    kind=st.sampled_from("cxl"),
    size=st.integers(1, 2000),
    node_port=st.booleans(),
    seconds=st.integers(0, 86400),
)
def test_the_name_of_a_chain_tells_all_about_it(
    *, kind: str, size: int, node_port: bool, seconds: int
) -> None:
    chain = Chain(kind, size, node_port, seconds)
    assert parse_name(chain.name) == chain
    deciding = chain._replace(kind="e", local_size=size // 2)
    assert parse_name(deciding.name) == deciding


# A model of the kernel: it takes the text of a transaction and refuses what nft would refuse.

STATEMENT = re.compile(r"(add|delete) element ip kpy-proxy (\S+) \{ (.*) \}")


class Kernel:
    def __init__(self) -> None:
        self.elements: dict[tuple[str, str], str] = {}
        self.chains: set[str] = set()

    def apply(self, text: str) -> None:
        if "\ndelete table" in text:
            self.__init__()  # type: ignore[misc]
        for name in re.findall(r"^  chain (\S+) \{$", text, re.MULTILINE):
            assert name not in self.chains, f"chain {name} declared twice"
            self.chains.add(name)
        for line in text.splitlines():
            if match := STATEMENT.fullmatch(line):
                verb, container, body = match.groups()
                for element in body.split(", "):
                    self.change(verb, container, element)

    def change(self, verb: str, container: str, element: str) -> None:
        key, _, value = element.partition(" : ")
        assert container in containers(CONFIG.family)
        if verb == "delete":
            assert self.elements.pop((container, key)) == value
            return
        assert (container, key) not in self.elements
        if value.startswith("goto "):
            assert value.removeprefix("goto ") in self.chains
        self.elements[container, key] = value


ENDPOINTS = st.lists(
    st.builds(endpoint, st.integers(1, 6), st.sampled_from(["here", "there"])), max_size=4
)
SERVICES = st.builds(
    service,
    clusterIPs=st.sampled_from([["10.43.0.5"], ["10.43.0.6"], ["None"]]),
    node_port=st.sampled_from([0, 30080]),
    externalIPs=st.sampled_from([[], ["192.0.2.7"]]),
    sessionAffinity=st.sampled_from(["None", "ClientIP"]),
    externalTrafficPolicy=st.sampled_from(["Cluster", "Local"]),
)
STEPS = st.lists(st.tuples(st.integers(0, 2), st.none() | st.tuples(SERVICES, ENDPOINTS)))


@given(steps=STEPS, apply_after=st.sets(st.integers(0, 20)))
def test_small_changes_lead_where_a_full_load_leads(
    steps: list[tuple[int, Any]], apply_after: set[int]
) -> None:
    changing, kernel = Ruleset(CONFIG), Kernel()
    kernel.apply(changing.full())
    changing.told()
    wanted: dict[Key, Sequence[Element]] = {}
    for number, (name, content) in enumerate(steps):
        key = Key("default", str(name))
        wanted[key] = derive(content[0], [piece(*content[1])], CONFIG) if content else ()
        changing.update(key, wanted[key])
        if number in apply_after:
            kernel.apply(changing.changes())
            changing.told()
    kernel.apply(changing.changes())
    changing.told()
    fresh, other = Ruleset(CONFIG), Kernel()
    for key in sorted(wanted, reverse=True):
        fresh.update(key, wanted[key])
    other.apply(fresh.full())
    assert kernel.elements == other.elements
    assert not changing.is_changed
    assert changing.full() == fresh.full()


def test_a_sticky_service_has_no_more_endpoints_than_slots() -> None:
    many = [endpoint(0) | {"addresses": [f"10.42.{n // 250}.{n % 250}"]} for n in range(5000)]
    found = derived(service(sessionAffinity="ClientIP", externalTrafficPolicy="Local"), *many)
    assert found["services"] == {f"{VIP} . tcp . 80": f"goto c-{AFFINITY_SLOTS - 1}-a10800"}
    assert len(found["sticky"]) == len(found["slots"]) == AFFINITY_SLOTS - 1


def test_two_services_with_one_external_address_take_turns() -> None:
    ruleset = Ruleset(CONFIG)
    ours = derive(service(externalIPs=["192.0.2.7"]), [piece(endpoint(5))], CONFIG)
    theirs = derive(
        service(externalIPs=["192.0.2.7"], clusterIPs=["10.43.0.6"]),
        [piece(endpoint(6), endpoint(7))],
        CONFIG,
    )
    ruleset.update(Key("default", "b"), theirs)
    ruleset.update(Key("default", "a"), ours)
    assert "192.0.2.7 . tcp . 80 : goto x-1" in ruleset.full()
    ruleset.told()
    ruleset.update(Key("default", "a"), ())
    assert "add element ip kpy-proxy services { 192.0.2.7 . tcp . 80 : goto x-2 }" in (
        ruleset.changes()
    )


def udp(*numbers: int) -> tuple[Element, ...]:
    svc = service(node_port=30053)
    svc["spec"]["ports"][0]["protocol"] = "UDP"
    return derive(svc, [piece(*map(endpoint, numbers), protocol="UDP")], CONFIG)


def test_udp_connections_to_endpoints_that_went_are_forgotten() -> None:
    assert conntrack.plan(udp(5, 6), udp(6, 7)) == [
        conntrack.Stale("", 30053, "10.42.0.5"),
        conntrack.Stale(VIP, 80, "10.42.0.5"),
    ]


def test_udp_connections_to_fronts_that_get_their_first_endpoint_are_forgotten() -> None:
    assert conntrack.plan(udp(), udp(5)) == [
        conntrack.Stale("", 30053),
        conntrack.Stale(VIP, 80),
    ]
    assert conntrack.plan(udp(5), udp(5)) == []


def connection(address: str, port: int, endpoint: str) -> str:
    """Return a line of `conntrack -L`."""
    return (
        f"udp      17 27 src=10.42.0.9 dst={address} sport=40001 dport={port}"
        f" src={endpoint} dst=10.42.0.9 sport=8080 dport=40001 mark=0 use=1\n"
    )


def test_connections_that_went_stale_while_nobody_looked_are_found() -> None:
    gone, there, elsewhere = "10.42.0.4", "10.42.0.5", "192.0.2.1"
    listed = "".join(
        [
            connection(VIP, 80, gone),
            connection(VIP, 80, there),
            connection(VIP, 80, VIP),  # it was sent on as if there were no service
            connection(VIP, 81, VIP),
            connection("192.0.2.9", 30053, gone),
            connection("192.0.2.9", 30053, there),
            connection(elsewhere, 30053, elsewhere),
            connection(elsewhere, 5000, gone),
        ]
    )
    listed += listed.replace("udp      17", "udp      17 [UNREPLIED]")
    assert conntrack.plan_all([udp(5), ()], listed) == [
        conntrack.Stale("", 30053, gone),
        conntrack.Stale(VIP, 80, gone),
        conntrack.Stale(VIP, 80, VIP),
    ]
    assert conntrack.plan_all([derive(service(), [piece(endpoint(5))], CONFIG)], listed) == []


def test_tcp_connections_are_left_alone() -> None:
    assert conntrack.plan(derive(service(), [piece(endpoint(5))], CONFIG), ()) == []
