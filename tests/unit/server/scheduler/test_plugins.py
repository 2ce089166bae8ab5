"""Each plugin's question, its answer in upstream's words, and its preferences."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minikube_py.server.scheduler.framework import Narrowed, rejection
from minikube_py.server.scheduler.plugins.image_locality import ImageLocality
from minikube_py.server.scheduler.plugins.node_affinity import NodeAffinity
from minikube_py.server.scheduler.plugins.node_declared_features import (
    RESTART_ALL,
    NodeDeclaredFeatures,
)
from minikube_py.server.scheduler.plugins.node_name import NodeName
from minikube_py.server.scheduler.plugins.node_ports import NodePorts
from minikube_py.server.scheduler.plugins.node_resources import (
    NodeResourcesBalancedAllocation,
    NodeResourcesFit,
)
from minikube_py.server.scheduler.plugins.node_unschedulable import NodeUnschedulable
from minikube_py.server.scheduler.plugins.taint_toleration import TaintToleration
from tests.unit.server.scheduler.asking import WEB, ZONE, near, reasons, scores, spread
from tests.unit.server.scheduler.builders import cache, cycle, node, pod, profile


def test_a_cordoned_node_is_for_pods_that_tolerate_it():
    there = cache(node("a", unschedulable=True), node("b"))
    assert reasons(NodeUnschedulable, pod(), there) == {
        "a": ("node(s) were unschedulable",),
        "b": None,
    }
    tolerant = pod(tolerations=[{"operator": "Exists"}])
    assert set(reasons(NodeUnschedulable, tolerant, there).values()) == {None}


def test_a_pod_with_a_node_name_goes_there():
    there = cache(node("a"), node("b"))
    assert reasons(NodeName, pod(node="b"), there)["a"] == (
        "node(s) didn't match the requested node name",
    )
    assert reasons(NodeName, pod(node="b"), there)["b"] is None
    assert NodeName().filter(cycle(pod(), there)) is None


TAINT = {"key": "team", "value": "a", "effect": "NoSchedule"}


@pytest.mark.parametrize(
    ("toleration", "fits"),
    [
        ({"key": "team", "operator": "Equal", "value": "a", "effect": "NoSchedule"}, True),
        ({"key": "team", "value": "a"}, True),
        ({"key": "team", "operator": "Exists"}, True),
        ({"operator": "Exists"}, True),
        ({"key": "team", "value": "b"}, False),
        ({"key": "team", "operator": "Exists", "effect": "NoExecute"}, False),
        ({"key": "other", "operator": "Exists"}, False),
    ],
)
def test_taints_keep_off_pods_without_a_toleration(toleration, fits):
    there = cache(node("a", taints=[TAINT]))
    found = reasons(TaintToleration, pod(tolerations=[toleration]), there)["a"]
    assert (found is None) == fits
    assert fits or found == ("node(s) had untolerated taint(s)",)


def test_soft_taints_are_avoided_where_they_can_be():
    soft = {"key": "busy", "effect": "PreferNoSchedule"}
    there = cache(node("a", taints=[soft]), node("b"))
    assert reasons(TaintToleration, pod(), there) == {"a": None, "b": None}
    assert scores(TaintToleration, pod(), there) == {"a": 0, "b": 100}
    assert scores(TaintToleration, pod(tolerations=[{"operator": "Exists"}]), there) is None


def affinity(**node_affinity):
    return {"affinity": {"nodeAffinity": node_affinity}}


def expression(key, operator, *values):
    return {"key": key, "operator": operator, "values": list(values)}


def required(*terms):
    return affinity(
        requiredDuringSchedulingIgnoredDuringExecution={"nodeSelectorTerms": list(terms)}
    )


LABELLED = {"disk": "ssd", "cores": "8"}


@pytest.mark.parametrize(
    ("spec", "fits"),
    [
        ({"nodeSelector": {"disk": "ssd"}}, True),
        ({"nodeSelector": {"disk": "hdd"}}, False),
        (required({"matchExpressions": [expression("disk", "In", "ssd", "nvme")]}), True),
        (required({"matchExpressions": [expression("disk", "NotIn", "ssd")]}), False),
        (required({"matchExpressions": [expression("gpu", "NotIn", "x")]}), True),
        (required({"matchExpressions": [expression("disk", "Exists")]}), True),
        (required({"matchExpressions": [expression("disk", "DoesNotExist")]}), False),
        (required({"matchExpressions": [expression("cores", "Gt", "4")]}), True),
        (required({"matchExpressions": [expression("cores", "Lt", "8")]}), False),
        (required({"matchFields": [expression("metadata.name", "In", "a")]}), True),
        (required({"matchFields": [expression("metadata.name", "In", "b")]}), False),
        (required({}), False),
        (required({}, {"matchExpressions": [expression("disk", "Exists")]}), True),
        (
            {
                **required({"matchExpressions": [expression("disk", "Exists")]}),
                "nodeSelector": {"x": "y"},
            },
            False,
        ),
    ],
)
def test_node_affinity_and_selectors(spec, fits):
    there = cache(node("a", labels=LABELLED))
    found = reasons(NodeAffinity, pod(**spec), there)["a"]
    assert found == (None if fits else ("node(s) didn't match Pod's node affinity/selector",))


def by_name(*terms):
    fields = [[expression("metadata.name", "In", *names) for names in term] for term in terms]
    return required(*({"matchFields": one} for one in fields))


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ({}, None),
        (by_name([["a"]]), Narrowed(frozenset({"a"}))),
        (by_name([["a", "b"]], [["c"]]), Narrowed(frozenset({"a", "b", "c"}))),
        (by_name([["a", "b"], ["b", "c"]]), Narrowed(frozenset({"b"}))),
        (by_name([["a"], ["b"]]), rejection("pod affinity terms conflict", final=True)),
        (required({"matchExpressions": [expression("disk", "Exists")]}), None),
        (required({"matchFields": [expression("metadata.name", "NotIn", "a")]}), None),
    ],
)
def test_of_nodes_that_a_pod_names_itself_no_others_are_asked(spec, said):
    assert NodeAffinity().pre_filter(cycle(pod(**spec), cache())) == said


def test_preferred_nodes_are_preferred_by_weight():
    def preference(weight, value):
        term = {"matchExpressions": [expression("disk", "In", value)]}
        return {"weight": weight, "preference": term}

    wish = affinity(
        preferredDuringSchedulingIgnoredDuringExecution=[
            preference(40, "ssd"),
            preference(10, "hdd"),
        ]
    )
    there = cache(node("a", labels={"disk": "ssd"}), node("b", labels={"disk": "hdd"}), node("c"))
    assert scores(NodeAffinity, pod(**wish), there) == {"a": 100, "b": 25, "c": 0}


def port(number, protocol="TCP", ip=""):
    found = {"containerPort": number, "hostPort": number, "protocol": protocol}
    return {**found, "hostIP": ip} if ip else found


def test_a_node_declares_what_not_every_kubelet_can_do():
    able = node("able")
    able = {**able, "status": {**able["status"], "declaredFeatures": [RESTART_ALL]}}
    there = cache(able, node("plain"))
    rules = [{"action": "RestartAllContainers", "exitCodes": {"operator": "In", "values": [1]}}]
    demanding = pod(containers=[{"name": "c", "image": "i", "restartPolicyRules": rules}])
    assert reasons(NodeDeclaredFeatures, demanding, there) == {
        "able": None,
        "plain": ("node(s) didn't match Pod's required features",),
    }
    assert set(reasons(NodeDeclaredFeatures, pod(), there).values()) == {None}


@pytest.mark.parametrize(
    ("taken", "wanted", "fits"),
    [
        (port(80), port(80), False),
        (port(80), port(81), True),
        (port(80), port(80, "UDP"), True),
        (port(80, ip="10.0.0.1"), port(80, ip="10.0.0.2"), True),
        (port(80, ip="10.0.0.1"), port(80), False),
    ],
)
def test_a_host_port_is_taken_once(taken, wanted, fits):
    there = cache(node("a"), pods=[pod("x", node="a", ports=[taken])])
    found = reasons(NodePorts, pod(ports=[wanted]), there)["a"]
    reason = ("node(s) didn't have free ports for the requested pod ports",)
    assert found == (None if fits else reason)


def test_every_resource_that_is_short_is_named():
    there = cache(
        node("a", pods="1", **{"example.com/gpu": "1"}),
        pods=[pod("x", node="a", requests={"cpu": "3", "example.com/gpu": "1"})],
    )
    wanted = pod(requests={"cpu": "1500m", "memory": "1Gi", "example.com/gpu": "1", "x/y": "1"})
    assert reasons(NodeResourcesFit, wanted, there)["a"] == (
        "Too many pods",
        "Insufficient cpu",
        "Insufficient example.com/gpu",
        "Insufficient x/y",
    )


def test_what_just_fits_fits():
    there = cache(node("a"), pods=[pod("x", node="a", requests={"cpu": "3"})])
    assert reasons(NodeResourcesFit, pod(requests={"cpu": "1"}), there)["a"] is None
    assert reasons(NodeResourcesFit, pod(requests={"cpu": "1001m"}), there)["a"] == (
        "Insufficient cpu",
    )


def test_a_pod_asks_for_its_containers_or_its_largest_start_container_and_its_overhead():
    def container(cpu, **more):
        return {"name": "c", "image": "i", "resources": {"requests": {"cpu": cpu}}, **more}

    found = pod(
        containers=[container("1"), container("500m")],
        initContainers=[
            container("100m", restartPolicy="Always"),
            container("3"),
        ],
        overhead={"cpu": "50m"},
    )
    assert found.requests["cpu"] == 3150
    whole = pod(containers=[container("1")], resources={"requests": {"cpu": "2"}})
    assert whole.requests["cpu"] == 2000


def test_empty_nodes_are_preferred_and_pods_without_requests_weigh_something():
    there = cache(node("a"), node("b"), pods=[pod("x", node="a")])
    found = scores(NodeResourcesFit, pod(), there)
    assert found["b"] > found["a"]


def test_nodes_where_cpu_and_memory_stay_in_balance_are_preferred():
    there = cache(node("a"), node("b", memory="64Gi"))
    found = scores(
        NodeResourcesBalancedAllocation, pod(requests={"cpu": "2", "memory": "4Gi"}), there
    )
    assert found["a"] == 100
    assert found["b"] < 100


def test_nodes_with_the_image_are_preferred():
    image = {"names": ["example.com/web:1"], "sizeBytes": 500 << 20}
    there = cache(node("a", images=[image]), node("b"))
    found = scores(ImageLocality, pod(image="example.com/web:1"), there)
    assert found["a"] > found["b"] == 0
    assert scores(ImageLocality, pod(image="example.com/other"), there) is None


label = st.sampled_from(["x", "y"])
NODES = st.builds(
    lambda number, zone, cpu, taint, cordon: node(
        f"n{number}",
        labels={ZONE: zone} if zone else {},
        taints=[{"key": "k", "effect": taint}] if taint else (),
        unschedulable=cordon,
        cpu=cpu,
    ),
    st.integers(0, 9),
    st.sampled_from(["", "A", "B"]),
    st.sampled_from(["1", "2", "4"]),
    st.sampled_from(["", "NoSchedule", "NoExecute", "PreferNoSchedule"]),
    st.booleans(),
)
SPECS = st.sampled_from(
    [
        {},
        {"tolerations": [{"operator": "Exists"}]},
        {"nodeSelector": {ZONE: "A"}},
        {"ports": [port(80)]},
        near("podAffinity"),
        near("podAntiAffinity", key=ZONE),
        near("podAffinity", "preferred"),
        spread(),
        spread(when="ScheduleAnyway"),
    ]
)
PODS = st.tuples(st.integers(0, 9), SPECS, label, st.sampled_from(["", "500m", "2"]))


def built(nodes, pods):
    made = [
        pod(
            f"p{number}",
            uid=f"p{number}",
            node=f"n{at}",
            labels={"app": "web" if value == "x" else value},
            requests={"cpu": cpu} if cpu else None,
            **spec,
        )
        for number, (at, spec, value, cpu) in enumerate(pods)
    ]
    return cache(*nodes, pods=made)


@given(
    nodes=st.lists(NODES, min_size=1, max_size=6, unique_by=lambda one: one["metadata"]["name"]),
    pods=st.lists(PODS, max_size=8),
    spec=SPECS,
    data=st.data(),
)
def test_what_plugins_say_of_a_node_does_not_depend_on_the_order_of_nodes_or_pods(
    nodes, pods, spec, data
):
    incoming = pod("new", labels=WEB, requests={"cpu": "1"}, owner="rs", **spec)
    one = built(nodes, pods)
    numbered = data.draw(st.permutations(list(enumerate(pods))))
    other = cache(*data.draw(st.permutations(nodes)))
    for number, _ in numbered:
        known = built(nodes, pods)
        info = next(p for p in known.pods() if p.uid == f"p{number}")
        other.set_pod(info)
    for plugin in profile().filter:
        assert reasons(plugin, incoming, one) == reasons(plugin, incoming, other)
    for plugin, _ in profile().score:
        left = scores(plugin, incoming, one)
        right = scores(plugin, incoming, other)
        assert left == (right and pytest.approx(right))
