"""RBAC: what roles and bindings allow, why, and what the server says otherwise."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minikube_py.server.attributes import Attributes, User
from minikube_py.server.authz.chain import AuthorizerChain, Masters
from minikube_py.server.authz.errors import forbidden
from minikube_py.server.authz.policy import (
    compact,
    compile_rule,
    path_matches,
    single_rights,
    uncovered,
)
from minikube_py.server.authz.rbac import Rbac, RbacListers

JANE = User("jane", ("devs", "system:authenticated"))


def role(name: str, *rules: dict[str, Any], namespace: str = "") -> dict[str, Any]:
    return {"metadata": {"name": name, "namespace": namespace}, "rules": list(rules)}


def binding(name: str, kind: str, role_name: str, *subjects: dict[str, str], ns: str = "") -> Any:
    return {
        "metadata": {"name": name, "namespace": ns},
        "roleRef": {"kind": kind, "name": role_name},
        "subjects": list(subjects),
    }


PODS = {"apiGroups": [""], "resources": ["pods", "pods/log"], "verbs": ["get", "list"]}
USER_JANE = {"kind": "User", "name": "jane"}


def ask(verb: str = "get", resource: str = "pods", **more: Any) -> Attributes:
    return Attributes(
        **{"user": JANE, "verb": verb, "resource": resource, "namespace": "a", **more}
    )


@pytest.fixture
def rbac(listing: Callable[..., Any]) -> tuple[Rbac, RbacListers]:
    listers = RbacListers(
        roles=listing(role("r", PODS, namespace="a")),
        cluster_roles=listing(
            role("cr", PODS),
            role("paths", {"nonResourceURLs": ["/logs/*", "/metrics"], "verbs": ["get"]}),
        ),
        role_bindings=listing(),
        cluster_role_bindings=listing(),
    )
    return Rbac(listers), listers


def test_nobody_may_anything_without_a_binding(rbac: Any) -> None:
    assert rbac[0].authorize(ask()) == (False, False, "")


def test_a_role_binding_grants_in_its_namespace_only(rbac: Any) -> None:
    rbac[1].role_bindings.put(binding("b", "Role", "r", USER_JANE, ns="a"))
    decision = rbac[0].authorize(ask())
    assert decision.allowed
    assert decision.reason == 'RBAC: allowed by RoleBinding "b/a" of Role "r" to User "jane"'
    assert not rbac[0].authorize(ask(namespace="b")).allowed
    assert not rbac[0].authorize(ask(namespace="")).allowed


def test_a_cluster_role_binding_grants_everywhere_and_to_groups(rbac: Any) -> None:
    group = {"kind": "Group", "name": "devs"}
    rbac[1].cluster_role_bindings.put(binding("x", "ClusterRole", "cr", group))
    decision = rbac[0].authorize(ask(namespace="anywhere"))
    assert decision.reason == (
        'RBAC: allowed by ClusterRoleBinding "x" of ClusterRole "cr" to Group "devs"'
    )
    assert rbac[0].authorize(ask(namespace="")).allowed
    assert not rbac[0].authorize(ask("delete")).allowed


def test_a_service_account_is_named_with_its_namespace(rbac: Any) -> None:
    account = {"kind": "ServiceAccount", "name": "bot"}
    rbac[1].role_bindings.put(binding("b", "Role", "r", account, ns="a"))
    decision = rbac[0].authorize(ask(user=User("system:serviceaccount:a:bot")))
    assert decision.reason.endswith('to ServiceAccount "bot/a"')


def test_a_missing_role_is_named_and_found_once_it_is_there(rbac: Any) -> None:
    rbac[1].role_bindings.put(binding("b", "Role", "gone", USER_JANE, ns="a"))
    decision = rbac[0].authorize(ask())
    assert not decision.allowed
    assert decision.reason == 'RBAC: role.rbac.authorization.k8s.io "gone" not found'
    rbac[1].roles.put(role("gone", PODS, namespace="a"))
    assert rbac[0].authorize(ask()).allowed


def test_a_changed_role_and_a_removed_binding_count_at_once(rbac: Any) -> None:
    rbac[1].role_bindings.put(binding("b", "Role", "r", USER_JANE, ns="a"))
    assert rbac[0].authorize(ask()).allowed
    rbac[1].roles.put(role("r", namespace="a"))
    assert not rbac[0].authorize(ask()).allowed
    rbac[1].roles.put(role("r", PODS, namespace="a"))
    assert rbac[0].authorize(ask()).allowed
    rbac[1].role_bindings.remove("a", "b")
    assert not rbac[0].authorize(ask()).allowed


def test_paths_match_whole_or_by_a_star_at_the_end(rbac: Any) -> None:
    rbac[1].cluster_role_bindings.put(binding("p", "ClusterRole", "paths", USER_JANE))
    for path, allowed in (("/metrics", True), ("/metricsx", False), ("/logs/a/b", True)):
        attributes = ask(is_resource=False, path=path, resource="", namespace="")
        assert rbac[0].authorize(attributes).allowed is allowed


@pytest.mark.parametrize(
    ("rule", "attributes", "allowed"),
    [
        ({"resources": ["*"]}, ask(), True),
        ({"resources": ["pods"]}, ask(subresource="log"), False),
        ({"resources": ["*/log"]}, ask(subresource="log"), True),
        ({"resources": ["pods"], "resourceNames": ["x"]}, ask(name="x"), True),
        ({"resources": ["pods"], "resourceNames": ["x"]}, ask(), False),
        ({"resources": ["pods"], "apiGroups": ["apps"]}, ask(), False),
        ({"resources": ["pods"], "verbs": ["list"]}, ask(), False),
    ],
)
def test_a_rule_matches_as_upstream_says(
    rule: dict[str, Any], attributes: Attributes, *, allowed: bool
) -> None:
    assert compile_rule({"apiGroups": [""], "verbs": ["*"], **rule}).allows(attributes) is allowed


def test_masters_may_everything_and_reasons_are_joined() -> None:
    chain = AuthorizerChain((Masters(),))
    assert chain.authorize(ask(user=User("a", ("system:masters",)))).allowed
    assert not chain.authorize(ask()).allowed


@pytest.mark.parametrize(
    ("attributes", "message", "details"),
    [
        (
            ask("list", "deployments", group="apps", namespace=""),
            (
                'deployments.apps is forbidden: User "jane" cannot list resource "deployments" '
                'in API group "apps" at the cluster scope'
            ),
            {"group": "apps", "kind": "deployments"},
        ),
        (
            ask("get", name="x", subresource="log"),
            (
                'pods "x" is forbidden: User "jane" cannot get resource "pods/log" '
                'in API group "" in the namespace "a"'
            ),
            {"kind": "pods", "name": "x"},
        ),
        (
            ask("post", is_resource=False, path="/metrics", resource=""),
            'forbidden: User "jane" cannot post path "/metrics"',
            {},
        ),
    ],
)
def test_a_refusal_has_upstreams_words(
    attributes: Attributes, message: str, details: dict[str, str]
) -> None:
    error = forbidden(attributes)
    assert error.message == message
    assert error.details == details


def test_missing_rights_are_merged_and_printed_as_upstream_does() -> None:
    wanted = [{"apiGroups": [""], "resources": ["secrets"], "verbs": ["get", "list"]}]
    missing = uncovered([compile_rule({**wanted[0], "verbs": ["get"]})], wanted)
    assert [compact(rule) for rule in missing] == [
        '{APIGroups:[""], Resources:["secrets"], Verbs:["list"]}'
    ]


NAMES = st.lists(st.sampled_from(["", "*", "a", "b", "a/x", "*/x"]), min_size=1, max_size=3)
RULES = st.fixed_dictionaries(
    {"apiGroups": NAMES, "resources": NAMES, "verbs": NAMES},
    optional={"resourceNames": st.lists(st.sampled_from(["n", "m"]), max_size=2)},
)


@given(RULES)
def test_every_rule_covers_itself(rule: dict[str, Any]) -> None:
    assert uncovered([compile_rule(rule)], [rule]) == []


@given(RULES, RULES, st.sampled_from("abc"), st.sampled_from(["", "x"]))
def test_what_is_covered_is_allowed(
    owned: dict[str, Any], wanted: dict[str, Any], resource: str, subresource: str
) -> None:
    owner, other = compile_rule(owned), compile_rule(wanted)
    if uncovered([owner], [wanted]):
        return
    attributes = ask("a", resource, subresource=subresource, group="a", name="n")
    assert owner.allows(attributes) or not other.allows(attributes)


@given(RULES)
def test_single_rights_are_single(rule: dict[str, Any]) -> None:
    for right in single_rights(rule):
        assert all(len(values) == 1 for values in right.values())


@given(st.text("/ab*", max_size=6))
def test_a_star_covers_every_path(path: str) -> None:
    assert path_matches("*", path)
    assert path_matches(path, path)
