"""Which requests a webhook or a policy is for."""

from collections.abc import Callable
from typing import Any

import pytest

from minikube_py.api.autoscaling import HORIZONTALPODAUTOSCALERS, HORIZONTALPODAUTOSCALERS_V1
from minikube_py.api.core import CONFIGMAPS, NAMESPACES, PODS
from minikube_py.api.errors import NotFoundError
from minikube_py.api.kinds import BUILTIN
from minikube_py.api.scheme import Scheme
from minikube_py.server.admission.matching import (
    Matcher,
    is_exempt,
    policy_criteria,
    rule_of,
    webhook_criteria,
)
from minikube_py.server.attributes import Admission, User

Listing = Callable[..., Any]
SCHEME = Scheme(BUILTIN)


def rule(**more: Any) -> dict[str, Any]:
    return {
        "operations": ["*"],
        "apiGroups": ["*"],
        "apiVersions": ["*"],
        "resources": ["*"],
        **more,
    }


def ask(resource: Any = CONFIGMAPS, **more: Any) -> Admission:
    return Admission(
        **{
            "user": User("u"),
            "operation": "CREATE",
            "resource": resource,
            "namespace": "a" if resource.namespaced else "",
            "name": "x",
            "obj": {"metadata": {"name": "x", "labels": {"app": "web"}}},
            **more,
        }
    )


@pytest.mark.parametrize(
    ("changes", "request_", "matches"),
    [
        ({}, ask(), True),
        ({"operations": ["UPDATE"]}, ask(), False),
        ({"operations": ["CREATE", "UPDATE"]}, ask(), True),
        ({"apiGroups": [""]}, ask(), True),
        ({"apiGroups": ["apps"]}, ask(), False),
        ({"apiVersions": ["v2"]}, ask(), False),
        ({"resources": ["pods"]}, ask(), False),
        ({"resources": ["*"]}, ask(PODS, subresource="exec"), False),
        ({"resources": ["*/*"]}, ask(PODS, subresource="exec"), True),
        ({"resources": ["*/*"]}, ask(PODS), True),
        ({"resources": ["pods/*"]}, ask(PODS, subresource="exec"), True),
        ({"resources": ["*/status"]}, ask(PODS, subresource="exec"), False),
        ({"resources": ["pods/exec"]}, ask(PODS, subresource="exec"), True),
        ({"resources": ["pods"]}, ask(PODS, subresource="exec"), False),
        ({"scope": "Namespaced"}, ask(), True),
        ({"scope": "Cluster"}, ask(), False),
        ({"scope": "Cluster"}, ask(NAMESPACES), True),
        ({"scope": "Namespaced"}, ask(NAMESPACES), False),
        ({"resourceNames": ["x"]}, ask(), True),
        ({"resourceNames": ["y"]}, ask(), False),
    ],
)
def test_a_rule_matches_what_it_names(
    changes: dict[str, Any], request_: Admission, *, matches: bool
) -> None:
    assert rule_of(rule(**changes)).matches(request_, request_.resource) is matches


def test_a_webhook_without_rules_is_for_nothing_and_a_policy_for_everything(
    listing: Listing,
) -> None:
    matcher = Matcher(SCHEME, listing())
    assert matcher.match(webhook_criteria({}), ask()) is None
    assert matcher.match(policy_criteria({}), ask()) is CONFIGMAPS
    assert matcher.match(policy_criteria(None), ask()) is CONFIGMAPS


def test_rules_of_a_policy_may_exclude(listing: Listing) -> None:
    matcher = Matcher(SCHEME, listing())
    excluding = policy_criteria(
        {"resourceRules": [rule()], "excludeResourceRules": [rule(resourceNames=["x"])]}
    )
    assert matcher.match(excluding, ask()) is None
    assert matcher.match(excluding, ask(name="y")) is CONFIGMAPS


def test_a_rule_for_another_version_matches_where_the_policy_is_equivalent(
    listing: Listing,
) -> None:
    matcher = Matcher(SCHEME, listing())
    rules = [rule(apiGroups=["autoscaling"], apiVersions=["v1"])]
    request_ = ask(HORIZONTALPODAUTOSCALERS)
    equivalent = webhook_criteria({"rules": rules, "matchPolicy": "Equivalent"})
    assert matcher.match(equivalent, request_) is HORIZONTALPODAUTOSCALERS_V1
    assert (
        matcher.match(webhook_criteria({"rules": rules, "matchPolicy": "Exact"}), request_) is None
    )


@pytest.mark.parametrize(
    ("labels", "matches"), [({"app": "web"}, True), ({"app": "db"}, False), ({}, False)]
)
def test_the_object_is_selected_as_it_was_or_as_it_will_be(
    listing: Listing, labels: dict[str, str], *, matches: bool
) -> None:
    criteria = webhook_criteria(
        {"rules": [rule()], "objectSelector": {"matchLabels": {"app": "web"}}}
    )
    matcher = Matcher(SCHEME, listing())
    obj = {"metadata": {"name": "x", "labels": labels}}
    bare = {"metadata": {"name": "x"}}
    assert (matcher.match(criteria, ask(obj=obj)) is CONFIGMAPS) is matches
    assert (matcher.match(criteria, ask(obj=None, old=obj)) is CONFIGMAPS) is matches
    assert (matcher.match(criteria, ask(obj=bare, old=obj)) is CONFIGMAPS) is matches
    assert matcher.match(criteria, ask(obj={"command": ["ls"]})) is None


NAMESPACED = {"rules": [rule()], "namespaceSelector": {"matchLabels": {"team": "a"}}}


def test_the_namespace_of_the_request_is_selected_by_its_labels(listing: Listing) -> None:
    namespaces = listing(
        {"metadata": {"name": "a", "labels": {"team": "a"}}}, {"metadata": {"name": "b"}}
    )
    matcher = Matcher(SCHEME, namespaces)
    criteria = webhook_criteria(NAMESPACED)
    assert matcher.match(criteria, ask()) is CONFIGMAPS
    assert matcher.match(criteria, ask(namespace="b")) is None
    cluster_scoped = next(r for r in SCHEME if r.kind == "ClusterRole")
    assert matcher.match(criteria, ask(cluster_scoped)) is cluster_scoped


def test_a_namespace_is_selected_by_its_own_labels(listing: Listing) -> None:
    stored = {"metadata": {"name": "x", "labels": {"team": "a"}}}
    matcher = Matcher(SCHEME, listing(stored))
    criteria = webhook_criteria(NAMESPACED)
    new = {"metadata": {"name": "x", "labels": {"team": "b"}}}
    assert matcher.match(criteria, ask(NAMESPACES, obj=new, operation="UPDATE")) is None
    assert matcher.match(criteria, ask(NAMESPACES, obj=stored)) is NAMESPACES
    removed = ask(NAMESPACES, obj=None, old=stored, operation="DELETE")
    assert matcher.match(criteria, removed) is NAMESPACES


def test_a_namespace_that_is_not_there_is_a_refusal_only_for_who_matches(
    listing: Listing,
) -> None:
    matcher = Matcher(SCHEME, listing())
    with pytest.raises(NotFoundError, match='namespaces "a" not found'):
        matcher.match(webhook_criteria(NAMESPACED), ask())
    other = webhook_criteria({**NAMESPACED, "rules": [rule(resources=["pods"])]})
    assert matcher.match(other, ask()) is None


def test_what_configures_admission_is_exempt_from_it() -> None:
    exempt = [r for r in SCHEME if is_exempt(ask(r))]
    assert {r.group for r in exempt} == {"admissionregistration.k8s.io"}
    assert len({r.kind for r in exempt}) == 6
