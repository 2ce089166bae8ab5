"""Spreading over domains: what is too far ahead, and what is emptier."""

import pytest

from minikube_py.api.apps import REPLICASETS
from minikube_py.api.core import SERVICES
from minikube_py.client.store import ItemStore
from minikube_py.server.scheduler.plugins.pod_topology_spread import PodTopologySpread
from tests.model_cluster import FrozenItem
from tests.unit.server.scheduler.asking import WEB, ZONE, reasons, scores, spread, zoned
from tests.unit.server.scheduler.builders import cache, handle, node, pod


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
