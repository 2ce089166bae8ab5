"""Cluster roles that are made of others."""

from typing import Any

from minikube_py.client.actions import Update
from minikube_py.server.controllers.clusterrole_aggregation import plan
from tests.frozen import freeze

READ: Any = {"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}
WRITE: Any = {"apiGroups": [""], "resources": ["pods"], "verbs": ["create"]}


def role(name: str, *rules: Any, **labels: str) -> Any:
    return freeze(
        {
            "kind": "ClusterRole",
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "metadata": {"name": name, "labels": labels},
            "rules": list(rules),
        }
    )


def aggregate(*rules: Any) -> Any:
    selector = {"matchLabels": {"to": "view"}}
    return {**role("view", *rules), "aggregationRule": {"clusterRoleSelectors": [selector]}}


ROLES = [role("b", WRITE, to="view"), role("a", READ, to="view"), role("c", WRITE, to="admin")]


def test_the_rules_of_all_matching_roles_are_gathered_by_name() -> None:
    (action,) = plan(aggregate(), ROLES)
    assert isinstance(action, Update)
    assert action.obj["rules"] == [READ, WRITE]


def test_a_role_that_is_as_it_should_be_is_left_alone() -> None:
    assert list(plan(aggregate(READ, WRITE), ROLES)) == []


def test_a_rule_that_nobody_grants_any_more_is_taken_away() -> None:
    (action,) = plan(aggregate(READ, WRITE), ROLES[1:])
    assert isinstance(action, Update)
    assert action.obj["rules"] == [READ]
