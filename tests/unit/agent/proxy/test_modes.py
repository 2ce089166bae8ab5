"""Other modes of kube-proxy carry out what the elements of services say, as pure plans."""

from dataclasses import replace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from minikube_py.agent.proxy import iptables
from minikube_py.agent.proxy.endpoints import Node
from minikube_py.agent.proxy.forwarding import Choice
from minikube_py.agent.proxy.fronts import Fronts, Target, fronts_of
from minikube_py.agent.proxy.rules import Front, ProxyConfig, derive
from minikube_py.api.object import Key

CONFIG = ProxyConfig(
    node=Node(name="here"), cluster_cidr="10.42.0.0/16", service_cidr="10.43.0.0/16"
)


def service(name: str, last: int = 5, **spec: Any) -> dict[str, Any]:
    vip = f"10.43.0.{last}"
    ports = [{"protocol": "TCP", "port": 80, "nodePort": 30000 + last}]
    metadata = {"namespace": "default", "name": name}
    return {
        "metadata": metadata,
        "spec": {"clusterIP": vip, "clusterIPs": [vip], "ports": ports, **spec},
    }


def slice_of(*numbers: int, local: int = 0) -> dict[str, Any]:
    endpoints = [
        {"addresses": [f"10.42.0.{n}"], "nodeName": "here" if n == local else "there"}
        for n in numbers
    ]
    ports = [{"protocol": "TCP", "port": 8080}]
    return {"addressType": "IPv4", "ports": ports, "endpoints": endpoints}


def planned(fronts: Fronts) -> iptables.Chains:
    return iptables.plan(fronts.current(), {"10.42.0.5"}, CONFIG)


SERVED = st.lists(
    st.tuples(
        st.integers(1, 6),
        st.lists(st.integers(5, 9), max_size=4, unique=True),
        st.sampled_from(["None", "ClientIP"]),
        st.sampled_from(["Cluster", "Local"]),
    ),
    max_size=6,
)


@given(SERVED, SERVED)
def test_changes_are_the_difference_and_end_where_a_new_start_would(old: Any, new: Any) -> None:
    def given_to(fronts: Fronts, drawn: Any) -> None:
        for last, numbers, affinity, policy in drawn:
            made = service(f"s{last}", last, sessionAffinity=affinity, externalTrafficPolicy=policy)
            fronts.update(Key("default", f"s{last}"), derive(made, [slice_of(*numbers)], CONFIG))

    changed, fresh = Fronts(), Fronts()
    given_to(changed, old)
    before = planned(changed)
    for last, *_ in old:
        changed.update(Key("default", f"s{last}"), ())
    given_to(changed, new)
    given_to(fresh, new)
    assert planned(changed) == planned(fresh)
    assert iptables.changes(planned(fresh), planned(changed)) == ""
    text = iptables.changes(before, planned(changed))
    gone = {name for _, name in before.keys() - planned(changed).keys()}
    assert {line.split()[1] for line in text.splitlines() if line.startswith("-X")} == gone


def test_one_more_endpoint_is_a_change_of_one_chain() -> None:
    fronts = Fronts()
    for last in range(1, 50):
        key = Key("default", f"s{last}")
        fronts.update(key, derive(service(f"s{last}", last), [slice_of(5, 6)], CONFIG))
    before = planned(fronts)
    more = derive(service("s7", 7), [slice_of(5, 6, 7)], CONFIG)
    fronts.update(Key("default", "s7"), more)
    declared = [
        line
        for line in iptables.changes(before, planned(fronts)).splitlines()
        if line.startswith(":")
    ]
    assert len(declared) == 2  # that of the address and that of the node port


def test_every_chain_that_is_named_is_there_and_fits_the_kernel() -> None:
    fronts = Fronts()
    made = service("s", sessionAffinity="ClientIP", externalTrafficPolicy="Local")
    fronts.update(Key("default", "s"), derive(made, [slice_of(5, 6, local=5)], CONFIG))
    chains = planned(fronts)
    names = {name for _, name in chains}
    assert all(len(name) < 29 for name in names)
    for rules in chains.values():
        for rule in rules:
            target = rule.rpartition("-j ")[2].split()[0]
            assert target in names or not target.startswith(iptables.PREFIX)
    jumps = {rule.rpartition(" ")[2] for _, _, rule in iptables.JUMPS}
    assert jumps <= names


def test_our_chains_are_found_in_what_is_saved_and_others_are_not() -> None:
    saved = "*nat\n:PREROUTING ACCEPT [0:0]\n:KPY-SERVICES - [0:0]\n:KUBE-X - [0:0]\nCOMMIT\n"
    assert iptables.known_chains(saved) == {("nat", "KPY-SERVICES"): None}


def saved_of(chains: iptables.Chains) -> str:
    """Return what iptables-save would print."""
    rules = [(table, chain, rule) for (table, chain), found in chains.items() for rule in found]
    lines = []
    for table in ("nat", "filter", "mangle"):
        lines += [f"*{table}", *(f":{chain} - [0:0]" for at, chain in chains if at == table)]
        every = (*iptables.JUMPS, *rules)
        lines += [f"-A {chain} {rule}" for at, chain, rule in every if at == table]
    return "\n".join([*lines, "COMMIT", ""])


def test_a_rule_or_jump_that_is_missing_is_noticed_whichever_it_is() -> None:
    fronts = Fronts()
    fronts.update(Key("default", "s"), derive(service("s"), [slice_of(5, 6)], CONFIG))
    chains = planned(fronts)
    lines = saved_of(chains).splitlines()
    assert iptables.are_intact("\n".join(lines), chains)
    others = ["*nat", ":DOCKER - [0:0]", "-A PREROUTING -j DOCKER", "COMMIT"]
    assert iptables.are_intact("\n".join([*lines, *others]), chains)
    ours = [number for number, line in enumerate(lines) if line.startswith(("-A", ":"))]
    for number in ours:
        assert not iptables.are_intact("\n".join(lines[:number] + lines[number + 1 :]), chains)


def test_who_is_outside_is_bound_to_this_nodes_endpoints_and_pods_are_not() -> None:
    made = service("s", externalTrafficPolicy="Local")
    fronts = fronts_of(derive(made, [slice_of(5, 6, local=5)], CONFIG))
    choice = Choice(fronts[Front("", "TCP", 30005)], CONFIG.cluster_cidr, lambda: 0.0)
    assert list(choice.targets("192.0.2.1")) == [Target("10.42.0.5", 8080)]
    anywhere = {Target("10.42.0.5", 8080), Target("10.42.0.6", 8080)}
    assert set(choice.targets("10.42.7.7")) == set(choice.targets("127.0.0.1")) == anywhere


def test_a_client_stays_with_its_endpoint_until_the_time_is_over() -> None:
    now = [0.0]
    affinity = {"clientIP": {"timeoutSeconds": 10}}
    made = service("s", sessionAffinity="ClientIP", sessionAffinityConfig=affinity)
    fronts = fronts_of(derive(made, [slice_of(5, 6, 7, 8)], CONFIG))
    choice = Choice(fronts[Front("10.43.0.5", "TCP", 80)], CONFIG.cluster_cidr, lambda: now[0])
    first = next(choice.targets("192.0.2.1"))
    choice.remember("192.0.2.1", first)
    assert {next(choice.targets("192.0.2.1")) for _ in range(40)} == {first}
    now[0] = 11.0
    assert len({next(choice.targets("192.0.2.1")) for _ in range(200)}) == 4


def test_node_ports_under_localhost_can_be_left_out() -> None:
    fronts = Fronts()
    key = Key("default", "s")
    fronts.update(key, derive(service("s"), [slice_of(5)], CONFIG))
    (*_, entry) = planned(fronts)["nat", "KPY-SERVICES"]
    assert entry == "-m addrtype --dst-type LOCAL -j KPY-NODEPORTS"
    closed = replace(CONFIG, localhost=False)
    (*_, entry) = iptables.plan(fronts.current(), (), closed)["nat", "KPY-SERVICES"]
    assert entry == "-m addrtype --dst-type LOCAL ! -d 127.0.0.0/8 -j KPY-NODEPORTS"


def test_the_mark_is_taken_off_before_a_packet_may_be_carried_to_another_node() -> None:
    rules = planned(Fronts())["nat", "KPY-POSTROUTING"]
    assert rules[-3:] == (
        "-m mark ! --mark 0x4000/0x4000 -j RETURN",
        "-j MARK --set-xmark 0x0/0x4000",
        "-j MASQUERADE --random-fully",
    )
