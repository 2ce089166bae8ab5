"""Nobody grants what they do not have: checks for writes of roles and bindings.

A user may write a role when every right in it is theirs already, or when they may `escalate` the
role; bind a role when its rights are theirs, or when they may `bind` it. Texts are upstream's.
"""

from collections.abc import Iterable, Sequence

from minikube_py.api.errors import ForbiddenError, NotFoundError
from minikube_py.api.object import Key, Obj, get
from minikube_py.server.attributes import Admission, Attributes, Authorizer, User
from minikube_py.server.authz.chain import MASTERS
from minikube_py.server.authz.policy import compact, quoted, uncovered
from minikube_py.server.authz.rbac import Rbac

GROUP = "rbac.authorization.k8s.io"
EVERYTHING = (
    {"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]},
    {"verbs": ["*"], "nonResourceURLs": ["*"]},
)
ROLE_KINDS = {"Role": "roles", "ClusterRole": "clusterroles"}
BINDING_KINDS = ("RoleBinding", "ClusterRoleBinding")


class EscalationGuard:
    """Refuses writes of roles and bindings that would grant more than the writer has."""

    def __init__(self, rbac: Rbac, authorizer: Authorizer) -> None:
        self._rbac = rbac
        self._authorizer = authorizer

    def check(self, admission: Admission) -> None:
        """Check a create or update of an RBAC object; other writes pass.

        Raises:
            ForbiddenError: it grants rights that the user does not hold.
            NotFoundError: a binding's role is not there, and the user may not `bind` it unseen.

        """
        obj, resource = admission.obj, admission.resource
        if obj is None or resource.group != GROUP or MASTERS in admission.user.groups:
            return
        if resource.kind in ROLE_KINDS:
            self._check_role(admission, obj)
        elif resource.kind in BINDING_KINDS:
            self._check_binding(admission, obj)

    def _check_role(self, admission: Admission, role: Obj) -> None:
        old = admission.old
        if old is not None and _same(old, role, ("rules", "aggregationRule")):
            return
        if self._may("escalate", admission, admission.resource.plural, _name(role)):
            return
        if text := self._missing(admission, role.get("rules") or ()):
            raise _refusal(admission, role, text)
        if role.get("aggregationRule") and (text := self._missing(admission, EVERYTHING)):
            raise _refusal(
                admission,
                role,
                f"must have cluster-admin privileges to use an aggregationRule: {text}",
            )

    def _check_binding(self, admission: Admission, binding: Obj) -> None:
        old = admission.old
        if old is not None and _same(old, binding, ("roleRef", "subjects")):
            return
        kind, name = get(binding, "roleRef.kind", ""), get(binding, "roleRef.name", "")
        plural = ROLE_KINDS.get(kind, "")
        if self._may("bind", admission, plural, name):
            return
        namespace = admission.namespace if kind == "Role" else ""
        rules = self._rbac.rules_of(kind, Key(namespace, name))
        if rules is None:
            raise NotFoundError(
                f'{plural}.{GROUP} "{name}" not found',
                details={"name": name, "group": GROUP, "kind": plural},
            )
        if text := self._missing(admission, [rule.source or {} for rule in rules]):
            raise _refusal(admission, binding, text)

    def _may(self, verb: str, admission: Admission, plural: str, name: str) -> bool:
        asked = Attributes(
            user=admission.user,
            verb=verb,
            group=GROUP,
            version="v1",
            resource=plural,
            namespace=admission.namespace,
            name=name,
        )
        return self._authorizer.authorize(asked).allowed

    def _missing(self, admission: Admission, rules: Iterable[Obj]) -> str:
        """Say which of the rules the user does not hold, "" where all are theirs."""
        user = admission.user
        owned, errors = self._rbac.rules_for(user, admission.namespace)
        missing = uncovered(owned, rules)
        if not missing:
            return ""
        lines = "\n".join(sorted({compact(rule) for rule in missing}))
        return (
            f"{_who(user)} is attempting to grant RBAC permissions not currently held:\n{lines}"
            + (f"; resolution errors: {_listed(errors)}" if errors else "")
        )


def _who(user: User) -> str:
    return f'user "{user.name}" (groups={quoted(user.groups)})'


def _listed(errors: Sequence[str]) -> str:
    return f"[{' '.join(errors)}]"


def _same(old: Obj, new: Obj, fields: Sequence[str]) -> bool:
    return all(old.get(field) == new.get(field) for field in fields)


def _name(obj: Obj) -> str:
    return str(obj["metadata"].get("name", ""))


def _refusal(admission: Admission, obj: Obj, text: str) -> ForbiddenError:
    plural, name = admission.resource.plural, _name(obj)
    return ForbiddenError(
        f'{plural}.{GROUP} "{name}" is forbidden: {text}',
        details={"name": name, "group": GROUP, "kind": plural},
    )
