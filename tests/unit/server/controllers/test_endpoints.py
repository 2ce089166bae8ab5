"""Endpoints and endpoint slices: exactly what the pods say, with as few writes as can be."""

import itertools
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from minikube_py.api.core import ENDPOINTS
from minikube_py.api.endpointslices import ENDPOINTSLICES
from minikube_py.api.object import evolve, get
from minikube_py.client.actions import Create, Delete, Update
from minikube_py.server.controllers import endpoints, endpointslices
from minikube_py.server.controllers.endpoints import truncate
from minikube_py.server.controllers.endpointslices import MANAGED_BY, MANAGER, Observed
from minikube_py.server.controllers.services import Port, backend
from tests.unit.server.controllers.builders import LONG_AGO, meta, pod, service

NUMBERS = itertools.count()


def ready(name, ip, **more):
    return pod(name, ready=True, ip=ip, node="n1", **more)


def behind(svc, pods):
    return [backend(svc, one) for one in pods]


def derived(svc, *pods):
    return endpoints.derive(svc, behind(svc, pods))[0]


def stored(actions, slices=()):
    """Return the slices after a plan."""
    there = {one["metadata"]["name"]: one for one in slices}
    for action in actions:
        if isinstance(action, Create):
            name = f"s{next(NUMBERS)}"
            obj = evolve(action.obj, "metadata", {**meta(name), **action.obj["metadata"]})
            there[name] = ENDPOINTSLICES.default(obj)
        elif isinstance(action, Update):
            there[action.obj["metadata"]["name"]] = ENDPOINTSLICES.default(action.obj)
        else:
            del there[action.key.name]
    return list(there.values())


def plan(svc, pods, slices=(), zones=None):
    return list(endpointslices.plan(svc, Observed(behind(svc, pods), list(slices), zones or {})))


def endpoints_of(slices):
    return [entry for one in slices for entry in one.get("endpoints") or ()]


def test_ready_and_not_ready_pods_stand_apart():
    (subset,) = derived(service(), ready("a", "10.0.0.1"), pod("b", ip="10.0.0.2"))
    assert [one["ip"] for one in subset["addresses"]] == ["10.0.0.1"]
    assert [one["ip"] for one in subset["notReadyAddresses"]] == ["10.0.0.2"]
    assert subset["ports"] == [{"name": "http", "port": 8080, "protocol": "TCP"}]
    assert subset["addresses"][0]["targetRef"] == {
        "kind": "Pod",
        "namespace": "d",
        "name": "a",
        "uid": "uid-a",
    }
    assert subset["addresses"][0]["nodeName"] == "n1"


def test_pods_without_address_or_on_their_way_out_are_left_out():
    assert derived(service(), pod("a"), ready("b", "10.0.0.1", deletionTimestamp=LONG_AGO)) == []


def test_a_service_may_publish_pods_that_are_not_ready():
    svc = service(spec={"publishNotReadyAddresses": True})
    (subset,) = derived(svc, pod("a", ip="10.0.0.1"))
    assert [one["ip"] for one in subset["addresses"]] == ["10.0.0.1"]


def test_named_ports_are_looked_up_in_each_pod():
    svc = service(spec={"ports": [{"port": 80, "targetPort": "web", "protocol": "TCP"}]})

    def with_port(name, ip, number, protocol="TCP"):
        port = {"name": "web", "containerPort": number, "protocol": protocol}
        return ready(name, ip, spec={"containers": [{"name": "c", "image": "i", "ports": [port]}]})

    pods = [
        with_port("a", "10.0.0.1", 8080),
        with_port("b", "10.0.0.2", 9090),
        with_port("udp", "10.0.0.3", 53, "UDP"),
        ready("none", "10.0.0.4"),
    ]
    subsets = derived(svc, *pods)
    assert [(s["addresses"][0]["ip"], s["ports"]) for s in subsets] == [
        ("10.0.0.1", [{"port": 8080, "protocol": "TCP"}]),
        ("10.0.0.2", [{"port": 9090, "protocol": "TCP"}]),
    ]


def test_a_headless_service_without_ports_has_addresses_only():
    svc = service(spec={"clusterIP": "None", "ports": []})
    (subset,) = derived(svc, ready("a", "10.0.0.1"))
    assert "ports" not in subset


def test_a_pod_below_the_service_has_its_hostname():
    svc = service()
    (subset,) = derived(svc, ready("a", "10.0.0.1", spec={"hostname": "h", "subdomain": "web"}))
    assert subset["addresses"][0]["hostname"] == "h"


def test_endpoints_are_created_updated_and_left_alone():
    svc, one = service(labels={"team": "a"}), ready("a", "10.0.0.1")
    (create,) = endpoints.plan(svc, behind(svc, [one]), None)
    assert create.obj["metadata"]["labels"] == {
        "team": "a",
        "endpoints.kubernetes.io/managed-by": "endpoint-controller",
    }
    there = ENDPOINTS.default(create.obj)
    assert list(endpoints.plan(svc, behind(svc, [one]), there)) == []
    (update,) = endpoints.plan(svc, [], there)
    assert update.obj["subsets"] == []


def test_over_a_thousand_addresses_are_cut_off_and_said_to_be():
    pods = [ready(f"p{n:04}", f"10.0.{n // 250}.{n % 250}") for n in range(1001)]
    (create,) = endpoints.plan(service(), behind(service(), pods), None)
    assert len(create.obj["subsets"][0]["addresses"]) == 1000
    assert create.obj["metadata"]["annotations"] == {
        "endpoints.kubernetes.io/over-capacity": "truncated"
    }
    (update,) = endpoints.plan(
        service(), behind(service(), pods[:10]), ENDPOINTS.default(create.obj)
    )
    assert not update.obj["metadata"]["annotations"]


def test_only_our_endpoints_go_with_their_service():
    ours = {"metadata": meta("web", labels={endpoints.MANAGED_BY: endpoints.NAME})}
    assert [type(action) for action in endpoints.plan_removal(ours)] == [Delete]
    assert list(endpoints.plan_removal({"metadata": meta("web")})) == []
    assert list(endpoints.plan_removal(None)) == []


def test_an_endpoint_says_whether_it_is_ready_serving_and_terminating():
    pods = [
        ready("a", "10.0.0.1"),
        pod("b", ip="10.0.0.2"),
        ready("c", "10.0.0.3", deletionTimestamp=LONG_AGO),
    ]
    slices = stored(plan(service(), pods))
    assert {entry["targetRef"]["name"]: entry["conditions"] for entry in endpoints_of(slices)} == {
        "a": {"ready": True, "serving": True, "terminating": False},
        "b": {"ready": False, "serving": False, "terminating": False},
        "c": {"ready": False, "serving": True, "terminating": True},
    }


def test_a_service_without_pods_has_one_empty_slice():
    (create,) = plan(service(), [])
    assert (create.obj["endpoints"], create.obj["ports"]) == (None, None)
    slices = stored([create])
    assert plan(service(), [], slices) == []
    (update,) = plan(service(), [ready("a", "10.0.0.1")], slices)
    assert isinstance(update, Update)


def test_a_slice_leads_to_its_service_and_its_manager():
    svc = service(labels={"team": "a"}, spec={"clusterIP": "None"})
    (create,) = plan(svc, [])
    assert create.obj["metadata"]["labels"] == {
        "team": "a",
        "kubernetes.io/service-name": "web",
        MANAGED_BY: MANAGER,
        "service.kubernetes.io/headless": "",
    }
    (owner,) = create.obj["metadata"]["ownerReferences"]
    assert (owner["kind"], owner["name"], owner["controller"]) == ("Service", "web", True)


def test_a_dual_stack_service_has_slices_of_both_families():
    svc = service(spec={"ipFamilies": ["IPv4", "IPv6"]})
    both = pod("a", ready=True, status={"podIPs": [{"ip": "10.0.0.1"}, {"ip": "fd00::1"}]})
    slices = stored(plan(svc, [both]))
    assert {one["addressType"]: one["endpoints"][0]["addresses"] for one in slices} == {
        "IPv4": ["10.0.0.1"],
        "IPv6": ["fd00::1"],
    }
    (delete,) = plan(service(), [both], slices)
    assert isinstance(delete, Delete)


def test_zones_and_the_wish_for_near_traffic_reach_the_endpoints():
    svc = service(spec={"trafficDistribution": "PreferSameNode"})
    slices = stored(plan(svc, [ready("a", "10.0.0.1")], zones={"n1": "z1"}))
    (entry,) = endpoints_of(slices)
    assert entry["zone"] == "z1"
    assert entry["hints"] == {"forZones": [{"name": "z1"}], "forNodes": [{"name": "n1"}]}


def test_one_changed_pod_changes_one_slice():
    pods = [ready(f"p{n}", f"10.0.{n // 250}.{n % 250}") for n in range(350)]
    slices = stored(plan(service(), pods))
    assert sorted(len(one["endpoints"]) for one in slices) == [50, 100, 100, 100]
    pods[120] = pod("p120", ip="10.0.0.120")
    assert len(plan(service(), pods, slices)) == 1


def test_a_few_new_pods_go_into_one_slice_with_room():
    pods = [ready(f"p{n}", f"10.0.{n // 250}.{n % 250}") for n in range(150)]
    slices = stored(plan(service(), pods))
    more = [*pods, *(ready(f"q{n}", f"10.1.0.{n}") for n in range(30))]
    (update,) = plan(service(), more, slices)
    assert len(update.obj["endpoints"]) == 80


names = st.integers(0, 40)


@given(
    rounds=st.lists(st.sets(names, max_size=40), min_size=1, max_size=5), size=st.integers(1, 12)
)
def test_slices_always_show_exactly_the_pods_and_a_second_look_writes_nothing(rounds, size):
    before, endpointslices.ENDPOINTS_MAX = endpointslices.ENDPOINTS_MAX, size
    try:
        slices = []
        for numbers in rounds:
            pods = [ready(f"p{n}", f"10.0.0.{n}") for n in sorted(numbers)]
            slices = stored(plan(service(), pods, slices), slices)
            shown = Counter(get(entry, "targetRef.name") for entry in endpoints_of(slices))
            assert shown == Counter(f"p{n}" for n in numbers)
            assert all(len(one.get("endpoints") or ()) <= size for one in slices)
            assert slices
            assert plan(service(), pods, slices) == []
    finally:
        endpointslices.ENDPOINTS_MAX = before


def test_what_is_not_ready_is_left_out_first_and_in_proportion():
    def group(count, port):
        name = Port("", port, "TCP", "")
        return {(name,): [{"ip": f"10.{port}.{n // 250}.{n % 250}"} for n in range(count)]}

    ready, waiting = group(800, 1) | group(100, 2), group(300, 1) | group(100, 2)
    assert truncate(ready, waiting)
    assert [len(ready[ports]) for ports in sorted(ready)] == [800, 100]
    assert [len(waiting[ports]) for ports in sorted(waiting)] == [75, 25]
    many = group(900, 1) | group(300, 2)
    assert truncate(many, waiting)
    assert [len(many[ports]) for ports in sorted(many)] == [750, 250]
    assert [len(one) for one in waiting.values()] == [0, 0]
    assert not truncate(many, {})
