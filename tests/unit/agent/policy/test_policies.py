"""Planned rules judge as the API says: against a table, and against a model of the words."""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minikube_py.agent.nft_watch import tables_in
from minikube_py.agent.policy.pods import NamedPort, Pod, dns_pod, pod_of
from minikube_py.agent.policy.program import assemble, compile_policy, merged
from minikube_py.agent.policy.ruleset import PolicyRuleset, derive
from minikube_py.agent.proxy.chains import IPV4, IPV6, Family
from minikube_py.api.item import Item
from minikube_py.api.object import Key, key_of
from tests.nft_model import Filter, Packet
from tests.policy_model import Host, World
from tests.policy_scenarios import PODS, PORTS, PROTOCOLS, SCENARIOS, Scenario, Step

NAMED = tuple(
    NamedPort(f"serve-{port}-{protocol.lower()}", protocol, port)
    for port in PORTS
    for protocol in PROTOCOLS
)
Pods = Mapping[Key, Pod]
Labels = Mapping[str, Mapping[str, str]]


class Node:
    """A node's rules of one family, and the kernel that they were told to."""

    def __init__(self, family: Family = IPV4, name: str = "node") -> None:
        self.family, self.name = family, name
        self.ruleset = PolicyRuleset(family)
        self.kernel = Filter()
        self.kernel.apply(self.ruleset.full())
        self.ruleset.told()
        self._known: set[Key] = set()

    def set(self, policies: Sequence[dict[str, Any]], pods: Pods, namespaces: Labels) -> None:
        compiled = {key_of(one): compile_policy(one, self.family) for one in policies}
        program = assemble(compiled)
        self.ruleset.set_program(program)
        for key in self._known - pods.keys():
            self.ruleset.update(key, None)
        for key, pod in pods.items():
            labels = namespaces.get(key.namespace, {})
            self.ruleset.update(key, derive(pod, labels, program, self.name, self.family))
        self._known = set(pods)
        if self.ruleset.is_changed:
            self.kernel.apply(self.ruleset.changes())
        self.ruleset.told()


def cluster(step: Step) -> tuple[dict[Key, Pod], Labels, dict[str, str]]:
    ips = {name: f"10.42.0.{number}" for number, name in enumerate(PODS, 5)}
    pods = {}
    for name in PODS:
        namespace, _, pod = name.partition("/")
        labels = {"pod": pod, **step.pod_labels.get(name, {})}
        pods[Key(namespace, pod)] = Pod(namespace, labels, (ips[name],), NAMED, "node")
    namespaces = {
        name: {
            "ns": name,
            "kubernetes.io/metadata.name": name,
            **step.namespace_labels.get(name, {}),
        }
        for name in "xyz"
    }
    return pods, namespaces, ips


def hosts_of(pods: Pods) -> dict[str, Host]:
    return {
        str(key): Host(pod.ips[0], pod.namespace, pod.labels, pod.ports)
        for key, pod in pods.items()
    }


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
def test_planned_rules_and_the_model_say_what_the_table_says(scenario: Scenario) -> None:
    node = Node()
    for step in scenario.steps:
        pods, namespaces, ips = cluster(step)
        policies = step.policies(ips)
        node.set(policies, pods, namespaces)
        model, hosts = World(policies, namespaces), hosts_of(pods)
        for probe, allowed in step.expected().items():
            packet = Packet(
                ips[probe.source], ips[probe.target], probe.protocol.lower(), probe.port
            )
            assert node.kernel.passes(packet) == allowed, probe
            ends = hosts[probe.source], hosts[probe.target]
            assert model.allows(*ends, probe.protocol, probe.port) == allowed, probe


LABELS = st.dictionaries(st.sampled_from("kl"), st.sampled_from("12"), max_size=2)
SELECTOR = st.one_of(
    st.just({}),
    st.builds(lambda labels: {"matchLabels": labels}, LABELS),
    st.builds(
        lambda key, operator, values: {
            "matchExpressions": [{"key": key, "operator": operator, "values": values}]
        },
        st.sampled_from("kl"),
        st.sampled_from(["In", "NotIn"]),
        st.lists(st.sampled_from("12"), min_size=1, max_size=2),
    ),
    st.builds(
        lambda key, operator: {"matchExpressions": [{"key": key, "operator": operator}]},
        st.sampled_from("kl"),
        st.sampled_from(["Exists", "DoesNotExist"]),
    ),
)
BLOCKS = {
    IPV4: ["10.42.0.0/24", "10.42.0.6/32", "0.0.0.0/0", "192.0.2.0/24", "fd00::/64"],
    IPV6: ["fd00::/64", "fd00::6/128", "::/0", "2001:db8::/32", "10.42.0.0/24"],
}
HOLES = {
    "10.42.0.0/24": ["10.42.0.6/31", "10.42.0.6/32", "10.42.0.8/32"],
    "0.0.0.0/0": ["10.42.0.6/32", "10.42.0.0/25", "192.0.2.0/24"],
    "fd00::/64": ["fd00::6/127", "fd00::6/128"],
    "::/0": ["fd00::6/128", "fd00::/65", "2001:db8::/32"],
}


def peers(family: Family) -> st.SearchStrategy[dict[str, Any]]:
    block = st.sampled_from(BLOCKS[family]).flatmap(
        lambda cidr: st.builds(
            lambda holes: {"ipBlock": {"cidr": cidr, "except": holes}},
            st.lists(st.sampled_from(HOLES[cidr]), max_size=3) if cidr in HOLES else st.just([]),
        )
    )
    return st.one_of(
        st.builds(lambda one: {"podSelector": one}, SELECTOR),
        st.builds(lambda one: {"namespaceSelector": one}, SELECTOR),
        st.builds(lambda a, b: {"namespaceSelector": a, "podSelector": b}, SELECTOR, SELECTOR),
        block,
    )


PORT = st.one_of(
    st.fixed_dictionaries(
        {"protocol": st.sampled_from(["TCP", "UDP", "SCTP"])},
        optional={"port": st.sampled_from([80, 81, 82, "web", "dns"])},
    ),
    st.builds(
        lambda first, more: {"protocol": "TCP", "port": first, "endPort": first + more},
        st.integers(78, 82),
        st.integers(0, 3),
    ),
)


def policies_of(family: Family) -> st.SearchStrategy[list[dict[str, Any]]]:
    def rules(peer_key: str) -> st.SearchStrategy[list[dict[str, Any]]]:
        rule = st.fixed_dictionaries(
            {},
            optional={
                peer_key: st.lists(peers(family), max_size=2),
                "ports": st.lists(PORT, max_size=3),
            },
        )
        return st.lists(rule, max_size=2)

    types = st.sampled_from([["Ingress"], ["Egress"], ["Ingress", "Egress"]])
    spec = st.fixed_dictionaries(
        {"podSelector": SELECTOR, "ingress": rules("from"), "egress": rules("to")},
        optional={"policyTypes": types},
    )
    one = st.builds(
        lambda namespace, body: {"metadata": {"namespace": namespace}, "spec": body},
        st.sampled_from("xy"),
        spec,
    )
    return st.lists(one, max_size=3).map(
        lambda found: [
            {**policy, "metadata": {**policy["metadata"], "name": f"p{number}"}}
            for number, policy in enumerate(found)
        ]
    )


STATE = st.tuples(
    st.sampled_from([IPV4, IPV6]),
    st.lists(st.tuples(st.sampled_from("xy"), LABELS), min_size=1, max_size=4),
    st.fixed_dictionaries({"x": LABELS, "y": LABELS}),
)
SERVED = (NamedPort("web", "TCP", 81), NamedPort("dns", "UDP", 80))


@settings(max_examples=150, deadline=None)
@given(st.data(), STATE)
def test_planned_rules_judge_as_the_words_of_the_api_do(data: st.DataObject, state: Any) -> None:
    family, drawn, namespaces = state
    prefix, far = ("10.42.0.", "192.0.2.7") if family is IPV4 else ("fd00::", "2001:db8::7")
    pods = {
        Key(namespace, f"pod{number}"): Pod(
            namespace, labels, (f"{prefix}{number}",), SERVED[: number % 3], "node"
        )
        for number, (namespace, labels) in enumerate(drawn, 5)
    }
    node = Node(family)
    for _ in range(2):  # from nothing to some policies, and from those to others
        policies = data.draw(policies_of(family))
        node.set(policies, pods, namespaces)
        model = World(policies, namespaces)
        ends = [*hosts_of(pods).values(), Host(far)]
        for source in ends:
            for target in ends:
                for protocol, port in (("TCP", 80), ("TCP", 81), ("UDP", 80), ("SCTP", 82)):
                    packet = Packet(source.ip, target.ip, protocol.lower(), port)
                    wanted = model.allows(source, target, protocol, port)
                    assert node.kernel.passes(packet) == wanted, (policies, packet)
    fresh = Filter()
    fresh.apply(node.ruleset.full())
    assert node.kernel == fresh


def a_policy(**spec: Any) -> dict[str, Any]:
    metadata = {"namespace": "x", "name": "p"}
    return {"metadata": metadata, "spec": {"podSelector": {}, **spec}}


def test_equal_input_gives_equal_text_in_whatever_order_it_comes() -> None:
    step = SCENARIOS[0].steps[0]
    pods, namespaces, ips = cluster(step)
    policies = [policy for row in SCENARIOS[:12] for policy in row.steps[0].policies(ips)]
    named = [
        {**one, "metadata": {**one["metadata"], "name": f"p{number}"}}
        for number, one in enumerate(policies)
    ]
    one, other = Node(), Node()
    one.set(named, pods, namespaces)
    other.set(named[:3], dict(list(pods.items())[:4]), namespaces)
    other.set(named[::-1], dict(reversed(pods.items())), namespaces)
    assert one.ruleset.full() == other.ruleset.full()


def test_a_pod_that_comes_is_a_few_elements_and_nothing_else() -> None:
    step = SCENARIOS[0].steps[0]
    pods, namespaces, _ = cluster(step)
    node = Node()
    rule = {"from": [{"podSelector": {"matchLabels": {"pod": "b"}}}]}
    node.set([a_policy(ingress=[rule])], pods, namespaces)
    program = assemble({Key("x", "p"): compile_policy(a_policy(ingress=[rule]), IPV4)})
    more = Pod("x", {"pod": "b"}, ("10.42.0.99",), (), "node")
    node.ruleset.update(Key("x", "d"), derive(more, namespaces["x"], program, "node", IPV4))
    lines = node.ruleset.changes().splitlines()
    assert [line.partition("{")[0].split()[:2] for line in lines] == [["add", "element"]] * 3
    assert all("10.42.0.99" in line for line in lines)


def test_pods_of_other_nodes_are_peers_but_have_no_chain() -> None:
    program = assemble({Key("x", "p"): compile_policy(a_policy(), IPV4)})
    there = Pod("x", {}, ("10.42.1.5",), (), "there")
    assert list(derive(there, {}, program, "node", IPV4)) == []


def test_cluster_dns_counts_as_the_pod_that_it_is_elsewhere() -> None:
    rule = {
        "to": [
            {
                "namespaceSelector": {
                    "matchLabels": {"kubernetes.io/metadata.name": "kube-system"}
                },
                "podSelector": {"matchLabels": {"k8s-app": "kube-dns"}},
            }
        ],
        "ports": [{"protocol": "UDP", "port": "dns"}],
    }
    key, dns = dns_pod(["10.43.0.10"])
    pods = {key: dns, Key("x", "a"): Pod("x", {}, ("10.42.0.5",), (), "node")}
    node = Node()
    namespaces = {"kube-system": {"kubernetes.io/metadata.name": "kube-system"}}
    node.set([a_policy(egress=[rule], policyTypes=["Egress"])], pods, namespaces)
    assert node.kernel.passes(Packet("10.42.0.5", "10.43.0.10", "udp", 53))
    assert not node.kernel.passes(Packet("10.42.0.5", "10.43.0.10", "tcp", 53))


@pytest.mark.parametrize(
    ("spec", "status", "known"),
    [
        ({}, {"phase": "Running", "podIPs": [{"ip": "10.42.0.5"}]}, True),
        ({}, {"phase": "Pending", "podIP": "10.42.0.5"}, True),
        ({}, {"phase": "Pending"}, False),
        ({}, {"phase": "Succeeded", "podIPs": [{"ip": "10.42.0.5"}]}, False),
        ({"hostNetwork": True}, {"phase": "Running", "podIPs": [{"ip": "10.42.0.5"}]}, False),
    ],
)
def test_pods_count_while_they_have_an_address_of_their_own(
    spec: dict[str, Any], status: dict[str, Any], *, known: bool
) -> None:
    sidecar = {"restartPolicy": "Always", "ports": [{"name": "side", "containerPort": 9}]}
    containers = {"containers": [{"ports": [{"name": "web", "containerPort": 80}]}]}
    metadata = {
        "namespace": "x",
        "name": "p",
        "labels": {"a": "b"},
        "deletionTimestamp": "2030-01-01T00:00:00Z",
    }
    body = {"nodeName": "n", "initContainers": [sidecar], **containers, **spec}
    item = Item.from_object(orjson.loads(orjson.dumps(
        {"metadata": metadata, "spec": body, "status": status}
    )))  # fmt: skip
    ports = (NamedPort("side", "TCP", 9), NamedPort("web", "TCP", 80))
    expected = Pod("x", {"a": "b"}, ("10.42.0.5",), ports, "n")
    assert pod_of(item) == (expected if known else None)


@given(st.lists(st.tuples(st.integers(0, 40), st.integers(0, 9)), max_size=8))
def test_merged_ranges_hold_the_same_numbers_without_overlaps(drawn: list[tuple[int, int]]) -> None:
    spans = [(first, first + more) for first, more in drawn]
    found = merged(spans)
    numbers = {n for first, last in spans for n in range(first, last + 1)}
    assert {n for first, last in found for n in range(first, last + 1)} == numbers
    assert all(one[1] + 1 < other[0] for one, other in itertools.pairwise(found))


@given(st.binary(max_size=200))
def test_any_bytes_from_the_kernel_are_read_without_an_error(data: bytes) -> None:
    assert all(isinstance(name, str) for name in tables_in(data))
