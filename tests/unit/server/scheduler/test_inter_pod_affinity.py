"""Nearness of pods to pods, from both sides."""

from minikube_py.api.core import NAMESPACES
from minikube_py.client.store import ItemStore
from minikube_py.server.scheduler.plugins.inter_pod_affinity import InterPodAffinity
from tests.model_cluster import FrozenItem
from tests.unit.server.scheduler.asking import WEB, ZONE, near, reasons, scores
from tests.unit.server.scheduler.builders import cache, node, pod


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
