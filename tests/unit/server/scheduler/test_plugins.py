"""Each plugin's question, its answer in upstream's words, and its preferences."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minikube_py.api.apps import REPLICASETS
from minikube_py.api.core import NAMESPACES, SERVICES
from minikube_py.client.store import ItemStore
from minikube_py.server.scheduler.plugins import FACTORIES
from minikube_py.server.scheduler.plugins.image_locality import ImageLocality
from minikube_py.server.scheduler.plugins.inter_pod_affinity import InterPodAffinity
from minikube_py.server.scheduler.plugins.node_affinity import NodeAffinity
from minikube_py.server.scheduler.plugins.node_name import NodeName
from minikube_py.server.scheduler.plugins.node_ports import NodePorts
from minikube_py.server.scheduler.plugins.node_resources import (
    NodeResourcesBalancedAllocation,
    NodeResourcesFit,
)
from minikube_py.server.scheduler.plugins.node_unschedulable import NodeUnschedulable
from minikube_py.server.scheduler.plugins.pod_topology_spread import PodTopologySpread
from minikube_py.server.scheduler.plugins.taint_toleration import TaintToleration
from tests.model_cluster import FrozenItem
from tests.unit.server.scheduler.builders import cache, cycle, handle, node, pod, profile

ZONE = "topology.kubernetes.io/zone"
HOST = "kubernetes.io/hostname"


def made(plugin):
    """Return a plugin, of its class or as it is."""
    if isinstance(plugin, type):
        return FACTORIES[plugin.__name__](handle(), {})
    return plugin


def reasons(plugin, incoming, there):
    """Return what a filter says of each node."""
    check = made(plugin).filter(cycle(incoming, there))
    answers = {name: check and check(info) for name, info in there.nodes.items()}
    return {name: answer and answer.reasons for name, answer in answers.items()}


def scores(plugin, incoming, there):
    nodes = list(there.nodes.values())
    values = made(plugin).score(cycle(incoming, there), nodes)
    return None if values is None else {n.name: v for n, v in zip(nodes, values, strict=True)}


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


def spread(key=ZONE, skew=1, when="DoNotSchedule", **more):
    selector = {"matchLabels": {"app": "web"}}
    one = {"topologyKey": key, "maxSkew": skew, "whenUnsatisfiable": when}
    return {"topologySpreadConstraints": [{**one, "labelSelector": selector, **more}]}


WEB = {"app": "web"}


def zoned(*pairs, pods=()):
    return cache(*(node(name, labels={ZONE: zone}) for name, zone in pairs), pods=pods)


def test_a_domain_does_not_get_ahead_by_more_than_the_skew():
    pods = [pod("x", node="a1", labels=WEB), pod("y", node="a2", labels=WEB)]
    there = zoned(("a1", "A"), ("a2", "A"), ("b1", "B"), pods=pods)
    found = reasons(PodTopologySpread, pod(labels=WEB, **spread(skew=2)), there)
    uneven = ("node(s) didn't match pod topology spread constraints",)
    assert found == {"a1": uneven, "a2": uneven, "b1": None}


def test_a_node_without_the_label_is_out():
    there = cache(node("a", labels={ZONE: "A"}), node("b"))
    assert reasons(PodTopologySpread, pod(labels=WEB, **spread()), there)["b"] == (
        "node(s) didn't match pod topology spread constraints (missing required label)",
    )


def test_other_pods_other_namespaces_and_leaving_pods_do_not_count():
    pods = [
        pod("x", node="a", labels={"app": "other"}),
        pod("y", node="a", labels=WEB, namespace="elsewhere"),
        pod("z", node="a", labels=WEB, deleting=True),
    ]
    there = zoned(("a", "A"), ("b", "B"), pods=pods)
    found = reasons(PodTopologySpread, pod(labels=WEB, **spread()), there)
    assert set(found.values()) == {None}


def test_domains_that_are_missing_count_as_empty():
    there = zoned(("a", "A"), pods=[pod("x", node="a", labels=WEB)])
    assert reasons(PodTopologySpread, pod(labels=WEB, **spread()), there)["a"] is None
    wanted = pod(labels=WEB, **spread(minDomains=2))
    assert reasons(PodTopologySpread, wanted, there)["a"] is not None


def test_nodes_that_the_pod_cannot_use_are_no_domain():
    there = cache(
        node("a", labels={ZONE: "A", "pool": "x"}),
        node("b", labels={ZONE: "B"}),
        pods=[pod("x", node="a", labels=WEB)],
    )
    picky = {**spread(), "nodeSelector": {"pool": "x"}}
    assert reasons(PodTopologySpread, pod(labels=WEB, **picky), there)["a"] is None
    ignoring = {**spread(nodeAffinityPolicy="Ignore"), "nodeSelector": {"pool": "x"}}
    assert reasons(PodTopologySpread, pod(labels=WEB, **ignoring), there)["a"] is not None


def test_match_label_keys_narrow_to_pods_of_the_same_value():
    pods = [pod("x", node="a", labels={**WEB, "rev": "1"})]
    there = zoned(("a", "A"), ("b", "B"), pods=pods)
    new = pod(labels={**WEB, "rev": "2"}, **spread(matchLabelKeys=["rev"]))
    assert set(reasons(PodTopologySpread, new, there).values()) == {None}


def test_soft_constraints_prefer_emptier_domains():
    there = zoned(("a", "A"), ("b", "B"), pods=[pod("x", node="a", labels=WEB)])
    wanted = pod(labels=WEB, **spread(when="ScheduleAnyway"))
    assert reasons(PodTopologySpread, wanted, there) == {"a": None, "b": None}
    found = scores(PodTopologySpread, wanted, there)
    assert found["b"] > found["a"]


def owners(*replica_sets, services=()):
    """Return a spread plugin that knows some replica sets and services."""
    stores = {"replicasets": ItemStore(), "services": ItemStore()}
    for name, labels in replica_sets:
        metadata = {"name": name, "namespace": "d", "uid": name, "resourceVersion": "1"}
        spec = {"selector": {"matchLabels": labels}}
        stores["replicasets"].put(FrozenItem({"metadata": metadata, "spec": spec}, REPLICASETS))
    for name, labels in services:
        metadata = {"name": name, "namespace": "d", "uid": name, "resourceVersion": "1"}
        stores["services"].put(
            FrozenItem({"metadata": metadata, "spec": {"selector": labels}}, SERVICES)
        )
    return PodTopologySpread(handle(**stores), {})


def test_pods_of_one_controller_are_spread_without_being_asked():
    there = cache(node("a"), node("b"), pods=[pod("x", node="a", owner="rs", labels=WEB)])
    plugin = owners(("rs", WEB))
    found = scores(plugin, pod(owner="rs", labels=WEB), there)
    assert found["b"] > found["a"]
    assert scores(plugin, pod(owner="other", labels=WEB), there) is None
    assert scores(plugin, pod(labels=WEB), there) is None


def test_pods_of_one_service_are_spread_without_being_asked():
    there = cache(node("a"), node("b"), pods=[pod("x", node="a", labels=WEB)])
    plugin = owners(services=[("web", WEB), ("other", {"app": "other"}), ("headless", {})])
    found = scores(plugin, pod(labels=WEB), there)
    assert found["b"] > found["a"]
    assert scores(plugin, pod(labels={"app": "x"}), there) is None


def test_default_spreading_goes_by_zone_as_well():
    there = zoned(("a", "A"), ("b", "A"), ("c", "B"), pods=[pod("x", node="a", labels=WEB)])
    found = scores(owners(services=[("web", WEB)]), pod(labels=WEB), there)
    assert found["c"] > found["b"] > found["a"]


def test_default_constraints_may_be_given_and_may_be_hard():
    one = {"topologyKey": ZONE, "maxSkew": 1, "whenUnsatisfiable": "DoNotSchedule"}
    stores = {"services": ItemStore()}
    metadata = {"name": "web", "namespace": "d", "uid": "s", "resourceVersion": "1"}
    stores["services"].put(FrozenItem({"metadata": metadata, "spec": {"selector": WEB}}, SERVICES))
    args = {"defaultingType": "List", "defaultConstraints": [one]}
    plugin = PodTopologySpread(handle(**stores), args)
    there = zoned(("a", "A"), ("b", "B"), pods=[pod("x", node="a", labels=WEB)])
    assert reasons(plugin, pod(labels=WEB), there)["a"] is not None
    assert reasons(plugin, pod(labels=WEB), there)["b"] is None
    with pytest.raises(ValueError, match="defaultingType"):
        PodTopologySpread(handle(), {"defaultConstraints": [one]})


def near(kind, how="required", key=HOST, weight=10, **term):
    one = {"labelSelector": {"matchLabels": WEB}, "topologyKey": key, **term}
    if how == "required":
        return {"affinity": {kind: {"requiredDuringSchedulingIgnoredDuringExecution": [one]}}}
    wish = {"weight": weight, "podAffinityTerm": one}
    return {"affinity": {kind: {"preferredDuringSchedulingIgnoredDuringExecution": [wish]}}}


def test_a_pod_goes_where_what_it_likes_is():
    there = cache(node("a"), node("b"), pods=[pod("x", node="a", labels=WEB)])
    assert reasons(InterPodAffinity, pod(**near("podAffinity")), there) == {
        "a": None,
        "b": ("node(s) didn't match pod affinity rules",),
    }


def test_the_first_of_pods_that_like_each_other_goes_anywhere_with_the_label():
    there = cache(node("a", labels={ZONE: "A"}), node("b"))
    found = reasons(InterPodAffinity, pod(labels=WEB, **near("podAffinity", key=ZONE)), there)
    assert found == {"a": None, "b": ("node(s) didn't match pod affinity rules",)}
    stranger = reasons(InterPodAffinity, pod(**near("podAffinity", key=ZONE)), there)
    assert stranger["a"] is not None


def test_a_pod_keeps_off_what_it_does_not_like_and_the_other_way_round():
    there = cache(node("a"), node("b"), pods=[pod("x", node="a", labels=WEB)])
    assert reasons(InterPodAffinity, pod(**near("podAntiAffinity")), there) == {
        "a": ("node(s) didn't match pod anti-affinity rules",),
        "b": None,
    }
    hostile = pod("x", node="a", **near("podAntiAffinity"))
    there = cache(node("a"), node("b"), pods=[hostile])
    assert reasons(InterPodAffinity, pod(labels=WEB), there) == {
        "a": ("node(s) didn't satisfy existing pods anti-affinity rules",),
        "b": None,
    }


def test_terms_mean_their_own_namespace_unless_they_say_otherwise():
    namespaces = ItemStore()
    for name in ("d", "elsewhere"):
        metadata = {"name": name, "labels": {"team": name}, "resourceVersion": "1"}
        namespaces.put(FrozenItem({"metadata": metadata}, NAMESPACES))
    other = pod("x", node="a", labels=WEB, namespace="elsewhere")
    there = cache(node("a"), pods=[other], namespaces=namespaces)

    def said(**term):
        return reasons(InterPodAffinity, pod(**near("podAntiAffinity", **term)), there)["a"]

    assert said() is None
    assert said(namespaces=["elsewhere"]) is not None
    assert said(namespaceSelector={}) is not None
    assert said(namespaceSelector={"matchLabels": {"team": "elsewhere"}}) is not None
    assert said(namespaceSelector={"matchLabels": {"team": "x"}}) is None


def test_preferences_of_both_sides_count():
    there = cache(node("a"), node("b"), pods=[pod("x", node="a", labels=WEB)])
    assert scores(InterPodAffinity, pod(**near("podAffinity", "preferred")), there) == {
        "a": 100,
        "b": 0,
    }
    assert scores(InterPodAffinity, pod(**near("podAntiAffinity", "preferred")), there) == {
        "a": 0,
        "b": 100,
    }
    fond = pod("x", node="a", **near("podAffinity"))
    there = cache(node("a"), node("b"), pods=[fond])
    assert scores(InterPodAffinity, pod(labels=WEB), there) == {"a": 100, "b": 0}
    assert scores(InterPodAffinity, pod(), there) is None


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
