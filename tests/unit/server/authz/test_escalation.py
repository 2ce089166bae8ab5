"""Nobody grants what they do not have; rules reviews tell what one has."""

from collections.abc import Callable
from typing import Any

import pytest

from minikube_py.api.errors import BadRequestError, ForbiddenError, NotFoundError
from minikube_py.api.rbac import CLUSTERROLES, ROLEBINDINGS, ROLES
from minikube_py.server.attributes import Admission, User
from minikube_py.server.authz.escalation import EscalationGuard
from minikube_py.server.authz.rbac import Rbac, RbacListers
from minikube_py.server.authz.rules import rules_status

JANE = User("jane", ("system:authenticated",))
PODS = {"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list"]}
SECRETS = {"apiGroups": [""], "resources": ["secrets"], "verbs": ["*"]}
MANAGER = {
    "apiGroups": ["rbac.authorization.k8s.io"],
    "resources": ["clusterroles"],
    "verbs": ["bind", "escalate"],
    "resourceNames": ["free"],
}


@pytest.fixture
def rbac(listing: Callable[..., Any]) -> Rbac:
    jane = [{"kind": "User", "name": "jane"}]
    binding = {
        "metadata": {"namespace": "a", "name": "b"},
        "roleRef": {"kind": "Role", "name": "r"},
        "subjects": jane,
    }
    return Rbac(
        RbacListers(
            roles=listing(
                {"metadata": {"namespace": "a", "name": "r"}, "rules": [PODS, MANAGER]},
                {"metadata": {"namespace": "a", "name": "all"}, "rules": [SECRETS]},
            ),
            cluster_roles=listing({"metadata": {"name": "free"}, "rules": [SECRETS]}),
            role_bindings=listing(binding),
            cluster_role_bindings=listing(),
        )
    )


def write(resource: Any, obj: Any, user: User = JANE, old: Any = None) -> Admission:
    return Admission(
        user=user, operation="CREATE", resource=resource, namespace="a", obj=obj, old=old
    )


def role(*rules: Any, name: str = "x") -> Any:
    return {"metadata": {"namespace": "a", "name": name}, "rules": list(rules)}


def bind(kind: str, name: str) -> Any:
    return {"metadata": {"namespace": "a", "name": "e2"}, "roleRef": {"kind": kind, "name": name}}


def test_a_role_of_ones_own_rights_may_be_written(rbac: Rbac) -> None:
    guard = EscalationGuard(rbac, rbac)
    guard.check(write(ROLES, role({**PODS, "verbs": ["get"]})))


def test_more_than_ones_own_is_refused_in_upstreams_words(rbac: Rbac) -> None:
    guard = EscalationGuard(rbac, rbac)
    with pytest.raises(ForbiddenError) as caught:
        guard.check(write(ROLEBINDINGS, bind("Role", "all")))
    assert caught.value.message == (
        'rolebindings.rbac.authorization.k8s.io "e2" is forbidden: user "jane" '
        '(groups=["system:authenticated"]) is attempting to grant RBAC permissions not currently '
        'held:\n{APIGroups:[""], Resources:["secrets"], Verbs:["*"]}'
    )
    with pytest.raises(ForbiddenError, match="not currently held"):
        guard.check(write(ROLES, role(SECRETS)))


def test_escalate_and_bind_lift_the_check(rbac: Rbac) -> None:
    guard = EscalationGuard(rbac, rbac)
    guard.check(write(CLUSTERROLES, role(SECRETS, name="free")))
    guard.check(write(ROLEBINDINGS, bind("ClusterRole", "free")))


def test_masters_and_unchanged_roles_pass(rbac: Rbac) -> None:
    guard = EscalationGuard(rbac, rbac)
    guard.check(write(ROLES, role(SECRETS), User("root", ("system:masters",))))
    guard.check(write(ROLES, role(SECRETS), old=role(SECRETS)))


def test_a_binding_to_nothing_is_not_found(rbac: Rbac) -> None:
    with pytest.raises(NotFoundError, match=r'clusterroles\.rbac.* "gone" not found'):
        EscalationGuard(rbac, rbac).check(write(ROLEBINDINGS, bind("ClusterRole", "gone")))


def test_aggregation_needs_everything(rbac: Rbac) -> None:
    aggregated = {"metadata": {"name": "agg"}, "aggregationRule": {"clusterRoleSelectors": []}}
    with pytest.raises(ForbiddenError, match="must have cluster-admin privileges"):
        EscalationGuard(rbac, rbac).check(write(CLUSTERROLES, aggregated))


def test_a_rules_review_lists_what_holds(rbac: Rbac) -> None:
    assert rules_status(rbac, JANE, "a") == {
        "resourceRules": [PODS, MANAGER],
        "nonResourceRules": [],
        "incomplete": False,
    }
    assert rules_status(rbac, JANE, "b")["resourceRules"] == []
    with pytest.raises(BadRequestError, match="no namespace on request"):
        rules_status(rbac, JANE, "")
    node = User("system:node:n", ("system:nodes",))
    assert rules_status(rbac, node, "a")["incomplete"] is True
