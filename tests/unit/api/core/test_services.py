"""Services: what follows from the type, what may change, and which families they get."""

from typing import Any

import pytest

from minikube_py.api.core import SERVICES
from minikube_py.api.core.service import cells
from minikube_py.api.core.service_families import with_families
from minikube_py.api.core.service_spec import default, prepare_for_create, prepare_for_update
from minikube_py.api.object import Obj
from minikube_py.api.resource import Age
from tests.frozen import freeze

ADDRESS, SECOND = "10.96.0.7", "fd00::7"
NOW = "2026-01-01T00:00:00Z"
METADATA = {"name": "s", "namespace": "n", "creationTimestamp": NOW}


def service(status: dict[str, Any] | None = None, **spec: Any) -> Obj:
    spec.setdefault("ports", [{"port": 80}])
    return default(freeze({"metadata": METADATA, "spec": spec, "status": status or {}}))


def stored(**spec: Any) -> Obj:
    return service(**{"clusterIP": ADDRESS, "clusterIPs": [ADDRESS], "ipFamilies": ["IPv4"]} | spec)


def refused(new: Obj, old: Obj | None = None) -> list[str]:
    new = prepare_for_update(new, old) if old is not None else prepare_for_create(new)
    return [str(error) for error in SERVICES.validate(freeze(new), old)]


def test_a_balancer_gets_all_that_a_balancer_has() -> None:
    spec = service(type="LoadBalancer", sessionAffinity="ClientIP")["spec"]
    assert spec == {
        "type": "LoadBalancer",
        "ports": [{"port": 80, "protocol": "TCP", "targetPort": 80}],
        "sessionAffinity": "ClientIP",
        "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 10800}},
        "externalTrafficPolicy": "Cluster",
        "internalTrafficPolicy": "Cluster",
        "allocateLoadBalancerNodePorts": True,
    }


def test_a_name_for_somewhere_else_gets_no_policies() -> None:
    spec = service(type="ExternalName", externalName="a.b", ports=[])["spec"]
    assert spec == {"type": "ExternalName", "externalName": "a.b", "sessionAffinity": "None"} | {
        "ports": []
    }


def test_external_addresses_need_a_policy_too() -> None:
    assert service(externalIPs=["1.2.3.4"])["spec"]["externalTrafficPolicy"] == "Cluster"
    assert "externalTrafficPolicy" not in service()["spec"]


def test_an_affinity_that_is_off_has_no_settings() -> None:
    config = {"clientIP": {"timeoutSeconds": 5}}
    assert "sessionAffinityConfig" not in service(sessionAffinityConfig=config)["spec"]
    kept = service(sessionAffinity="ClientIP", sessionAffinityConfig=config)["spec"]
    assert kept["sessionAffinityConfig"] == config


def test_an_address_of_a_balancer_is_virtual_where_nothing_is_said() -> None:
    status = {"loadBalancer": {"ingress": [{"ip": "1.2.3.4"}, {"hostname": "a.b"}]}}
    made = service(status, type="LoadBalancer")["status"]["loadBalancer"]["ingress"]
    assert made == [{"ip": "1.2.3.4", "ipMode": "VIP"}, {"hostname": "a.b"}]


def test_the_same_document_may_be_written_again() -> None:
    old = stored(type="NodePort", ports=[{"port": 80, "nodePort": 30001}])
    again = prepare_for_update(service(type="NodePort"), old)
    assert again["spec"] == {k: v for k, v in old["spec"].items() if k != "ipFamilies"}


def test_a_port_number_that_is_used_elsewhere_in_the_service_is_not_given_again() -> None:
    old = stored(type="NodePort", ports=[{"name": "a", "port": 80, "nodePort": 30001}])
    ports = [{"name": "b", "port": 80, "nodePort": 30001}, {"name": "a", "port": 81}]
    new = prepare_for_update(service(type="NodePort", ports=ports), old)
    assert "nodePort" not in new["spec"]["ports"][1]


def test_clients_that_know_one_address_change_both_fields() -> None:
    old = stored()
    new = prepare_for_update(stored(clusterIP="10.96.0.9"), old)
    assert new["spec"]["clusterIPs"] == ["10.96.0.9"]
    assert refused(stored(clusterIP="10.96.0.9"), old) == [
        'spec.clusterIPs[0]: Invalid value: ["10.96.0.9"]: may not change once set'
    ]


def test_a_new_type_drops_what_it_has_no_use_for() -> None:
    ports = [{"port": 80, "nodePort": 30001}]
    old = stored(type="LoadBalancer", ports=ports, loadBalancerClass="a/b")
    spec = prepare_for_update(freeze({**old, "spec": {**old["spec"], "type": "ClusterIP"}}), old)
    assert spec["spec"] == stored()["spec"]
    there = {**old["spec"], "type": "ExternalName", "externalName": "a.b"}
    gone = prepare_for_update(freeze({**old, "spec": there}), old)["spec"]
    assert not {"clusterIP", "clusterIPs", "ipFamilies"} & gone.keys()


def test_what_its_author_changes_is_not_dropped_but_refused() -> None:
    old = stored(type="NodePort", ports=[{"port": 80, "nodePort": 30001}])
    new = stored(ports=[{"port": 80, "nodePort": 30002}])
    assert refused(new, old) == [
        "spec.ports[0].nodePort: Forbidden: may not be used when `type` is 'ClusterIP'"
    ]


def test_only_balancers_keep_the_addresses_of_one() -> None:
    status = {"loadBalancer": {"ingress": [{"ip": "1.2.3.4"}]}}
    old = service(status, type="LoadBalancer")
    assert prepare_for_update(old, old)["status"] == old["status"]
    assert prepare_for_update(service(), old)["status"] == {"loadBalancer": {}}


@pytest.mark.parametrize(
    ("spec", "error"),
    [
        ({"ports": []}, "spec.ports: Required value"),
        (
            {"type": "NodePort", "clusterIP": "None"},
            "spec.clusterIPs[0]: Invalid value: \"None\": may not be set to 'None' for NodePort",
        ),
        ({"type": "Odd"}, 'spec.type: Unsupported value: "Odd"'),
        ({"type": "ExternalName"}, "spec.externalName: Required value"),
        (
            {"type": "ExternalName", "externalName": "a", "ipFamilies": ["IPv4"]},
            "spec.ipFamilies: Forbidden: may not be set for ExternalName services",
        ),
        ({"sessionAffinity": "Odd"}, 'spec.sessionAffinity: Unsupported value: "Odd"'),
        (
            {
                "sessionAffinity": "ClientIP",
                "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 0}},
            },
            "spec.sessionAffinityConfig.clientIP.timeoutSeconds: Invalid value: 0: must be greater",
        ),
        ({"clusterIP": "bad"}, 'spec.clusterIPs[0]: Invalid value: "bad": must be a valid IP'),
        (
            {"clusterIP": ADDRESS, "clusterIPs": [SECOND]},
            f'spec.clusterIPs: Invalid value: ["{SECOND}"]: first value must match `clusterIP`',
        ),
        (
            {"clusterIP": ADDRESS, "clusterIPs": [ADDRESS, "10.96.0.8"]},
            f'spec.clusterIPs: Invalid value: ["{ADDRESS}","10.96.0.8"]: may specify no more than',
        ),
        (
            {"clusterIP": "None", "clusterIPs": ["None", ADDRESS]},
            'spec.clusterIPs: Invalid value: ["None","10.96.0.7"]: \'None\' must be the first',
        ),
        ({"ipFamilies": ["IPv5"]}, 'spec.ipFamilies[0]: Unsupported value: "IPv5"'),
        ({"ipFamilies": ["IPv4", "IPv4"]}, 'spec.ipFamilies[1]: Duplicate value: "IPv4"'),
        ({"ipFamilyPolicy": "Odd"}, 'spec.ipFamilyPolicy: Unsupported value: "Odd"'),
        (
            {"externalIPs": ["127.0.0.1"]},
            'spec.externalIPs[0]: Invalid value: "127.0.0.1": may not be in the loopback range',
        ),
        (
            {"loadBalancerSourceRanges": ["10.0.0.0/8"]},
            "spec.LoadBalancerSourceRanges: Forbidden: may only be used when `type` is 'LoadBal",
        ),
        (
            {"type": "LoadBalancer", "loadBalancerSourceRanges": [" 10.0.0.1/8 "]},
            'spec.LoadBalancerSourceRanges[0]: Invalid value: "10.0.0.1/8": must not have bits',
        ),
        (
            {"allocateLoadBalancerNodePorts": False},
            "spec.allocateLoadBalancerNodePorts: Forbidden: may only be used when `type` is",
        ),
        (
            {"externalTrafficPolicy": "Local"},
            'spec.externalTrafficPolicy: Invalid value: "Local": may only be set for externally',
        ),
        (
            {"healthCheckNodePort": 30001},
            "spec.healthCheckNodePort: Invalid value: 30001: may only be set when `type` is",
        ),
        ({"internalTrafficPolicy": "Odd"}, 'spec.internalTrafficPolicy: Unsupported value: "Odd"'),
        (
            {"trafficDistribution": "Odd"},
            'spec.trafficDistribution: Unsupported value: "Odd": supported values: "PreferClose"',
        ),
        (
            {
                "type": "NodePort",
                "ports": [
                    {"name": "a", "port": 80, "nodePort": 30001},
                    {"name": "b", "port": 81, "nodePort": 30001},
                ],
            },
            "spec.ports[1].nodePort: Duplicate value: 30001",
        ),
    ],
)
def test_a_bad_service_is_refused(spec: dict[str, Any], error: str) -> None:
    (found,) = refused(service(**spec))
    assert found.startswith(error)


def test_annotations_are_read_as_fields_once_were() -> None:
    annotations = {
        "service.beta.kubernetes.io/load-balancer-source-ranges": "10.0.0.0/8, bad",
        "service.kubernetes.io/topology-aware-hints": "auto",
        "service.kubernetes.io/topology-mode": "none",
    }
    plain = service()
    found = refused(freeze({**plain, "metadata": {**METADATA, "annotations": annotations}}))
    assert [text.split("]:")[1].split(":")[0].strip() for text in found] == [
        "Invalid value",
        "Forbidden",
        "Invalid value",
    ]


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (
            {"clusterIPs": [ADDRESS], "ipFamilies": ["IPv4"], "ipFamilyPolicy": "PreferDualStack"},
            "spec.ipFamilyPolicy: Invalid value: \"PreferDualStack\": must be set to 'SingleStack'",
        ),
        (
            {"clusterIP": SECOND, "clusterIPs": [SECOND, ADDRESS], "ipFamilies": ["IPv6", "IPv4"]},
            f'spec.clusterIPs[0]: Invalid value: ["{SECOND}","{ADDRESS}"]: may not change once',
        ),
    ],
)
def test_two_families_cannot_be_changed_by_halves(change: dict[str, Any], error: str) -> None:
    both = {
        "clusterIPs": [ADDRESS, SECOND],
        "ipFamilies": ["IPv4", "IPv6"],
        "ipFamilyPolicy": "RequireDualStack",
    }
    assert refused(stored(**both | change), stored(**both))[0].startswith(error)


def test_one_word_is_enough_to_give_up_the_second_family() -> None:
    both = {"clusterIPs": [ADDRESS, SECOND], "ipFamilies": ["IPv4", "IPv6"]}
    old = stored(**both, ipFamilyPolicy="RequireDualStack")
    new = prepare_for_update(stored(**both, ipFamilyPolicy="SingleStack"), old)
    assert new["spec"]["clusterIPs"] == [ADDRESS]
    assert [*SERVICES.validate(new, old)] == []


@pytest.mark.parametrize(
    ("spec", "configured", "policy", "families"),
    [
        ({}, ("IPv4",), "SingleStack", ["IPv4"]),
        ({}, ("IPv6", "IPv4"), "SingleStack", ["IPv6"]),
        ({"clusterIP": SECOND}, ("IPv4", "IPv6"), "SingleStack", ["IPv6"]),
        ({"clusterIP": "None"}, ("IPv4",), "RequireDualStack", ["IPv4", "IPv6"]),
        ({"clusterIP": "None", "selector": {"a": "b"}}, ("IPv4",), "SingleStack", ["IPv4"]),
        ({"ipFamilyPolicy": "PreferDualStack"}, ("IPv4",), "PreferDualStack", ["IPv4"]),
        (
            {"ipFamilyPolicy": "PreferDualStack", "ipFamilies": ["IPv6"]},
            ("IPv4", "IPv6"),
            "PreferDualStack",
            ["IPv6", "IPv4"],
        ),
    ],
)
def test_families_follow_from_addresses_and_the_cluster(
    spec: dict[str, Any], configured: tuple[str, ...], policy: str, families: list[str]
) -> None:
    made, errors = with_families(prepare_for_create(service(**spec)), None, configured)
    assert not errors
    assert made["spec"]["ipFamilyPolicy"] == policy
    assert made["spec"]["ipFamilies"] == families


@pytest.mark.parametrize(
    ("spec", "error"),
    [
        ({"clusterIP": SECOND}, "IPv6 is not configured on this cluster"),
        ({"ipFamilies": ["IPv6"]}, "not configured on this cluster"),
        ({"ipFamilyPolicy": "RequireDualStack"}, "this cluster is not configured for dual-stack"),
        ({"ipFamilies": ["IPv4", "IPv6"]}, "must be 'RequireDualStack' or 'PreferDualStack'"),
    ],
)
def test_families_that_the_cluster_does_not_have_are_refused(
    spec: dict[str, Any], error: str
) -> None:
    made = prepare_for_create(service(**spec))
    same, errors = with_families(made, None, ("IPv4",))
    assert same is made
    assert [error in found.text for found in errors] == [True]


def test_an_update_keeps_its_policy_and_says_when_it_gives_up_a_family() -> None:
    old = stored(ipFamilyPolicy="PreferDualStack", ipFamilies=["IPv4", "IPv6"])
    kept, errors = with_families(old, old, ("IPv4",))
    assert kept is old
    assert not errors
    _, (error,) = with_families(stored(), old, ("IPv4", "IPv6"))
    assert "must be 'SingleStack' to release the secondary IP family" in error.text


@pytest.mark.parametrize(
    ("ingress", "error"),
    [
        ([{"ip": "bad", "ipMode": "VIP"}], "ip: Invalid value"),
        ([{"ip": "1.2.3.4", "ipMode": "Odd"}], "ipMode: Unsupported value"),
        ([{"ipMode": "VIP"}], "ipMode: Forbidden"),
        ([{"hostname": "1.2.3.4"}], "hostname: Invalid value"),
        ([{"hostname": "A"}], "hostname: Invalid value"),
    ],
)
def test_the_addresses_of_a_balancer_are_checked(ingress: list[Any], error: str) -> None:
    status = SERVICES.subresource("status")
    assert status is not None
    assert status.validate is not None
    balancer = service({"loadBalancer": {"ingress": ingress}}, type="LoadBalancer")
    (found,) = status.validate(balancer, None)
    assert str(found).startswith(f"status.loadBalancer.ingress[0].{error}")
    (found,) = status.validate(freeze({**balancer, "spec": {"type": "NodePort"}}), None)
    assert found.text == "Forbidden: may only be used when `spec.type` is 'LoadBalancer'"


@pytest.mark.parametrize(
    ("spec", "external"),
    [
        ({}, "<none>"),
        ({"externalIPs": ["1.1.1.1", "2.2.2.2"]}, "1.1.1.1,2.2.2.2"),
        ({"type": "ExternalName", "externalName": "a.b"}, "a.b"),
        ({"type": "LoadBalancer"}, "<pending>"),
    ],
)
def test_a_row_shows_how_to_reach_the_service(spec: dict[str, Any], external: str) -> None:
    assert cells(service(**spec))[3] == external


def test_a_row_of_a_balancer_shows_all_its_addresses() -> None:
    ingress = [{"hostname": "b.example"}, {"ip": "1.1.1.1"}]
    ports = [{"port": 80, "nodePort": 30001}, {"port": 53, "protocol": "UDP"}]
    balancer = service(
        {"loadBalancer": {"ingress": ingress}},
        type="LoadBalancer",
        externalIPs=["2.2.2.2"],
        ports=ports,
        selector={"b": "2", "a": "1"},
        clusterIPs=[ADDRESS],
    )
    assert cells(balancer) == (
        "s",
        "LoadBalancer",
        ADDRESS,
        "1.1.1.1,b.example,2.2.2.2",
        "80:30001/TCP,53/UDP",
        Age(NOW),
        "a=1,b=2",
    )
