"""Role-based access control: bindings found by subject, roles compiled once.

The index is brought up to date when a cache has changed, object by object: what kept its revision
keeps its compiled form. Nothing is allowed that no rule allows; RBAC never denies.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from minikube_py.api.item import Item
from minikube_py.api.object import Key, Obj
from minikube_py.client.protocol import Lister
from minikube_py.server.attributes import Attributes, Decision, User
from minikube_py.server.authz.policy import Rule, compile_rules

T = TypeVar("T")
SERVICE_ACCOUNT_PREFIX = "system:serviceaccount:"
NO_OPINION = Decision(allowed=False)
Subject = tuple[str, str]
"""Kind (User or Group) and name; a service account is the user that it is."""


@dataclass(frozen=True)
class Grant:
    """One subject of one binding."""

    binding: Key
    role_kind: str
    role_name: str
    subject: Subject
    description: str
    """The subject as reasons name it."""

    @property
    def role_key(self) -> Key:
        """Where the role lives."""
        namespace = self.binding.namespace if self.role_kind == "Role" else ""
        return Key(namespace, self.role_name)

    def reason(self) -> str:
        """Say why a request was allowed, in upstream's words."""
        namespace, name = self.binding
        binding = (
            f'RoleBinding "{name}/{namespace}"' if namespace else f'ClusterRoleBinding "{name}"'
        )
        return (
            f'RBAC: allowed by {binding} of {self.role_kind} "{self.role_name}" '
            f"to {self.description}"
        )


class _Compiled(Generic[T]):
    """What is made of each object of a cache, kept while the object keeps its revision."""

    def __init__(self, lister: Lister, compile_object: Callable[[Obj], T]) -> None:
        self._lister = lister
        self._compile = compile_object
        self._revision = -1
        self._entries: dict[Key, tuple[int, T]] = {}

    def refresh(self) -> bool:
        """Bring all up to date; tell whether anything changed."""
        if self._lister.revision == self._revision:
            return False
        self._revision = self._lister.revision
        entries = {item.key: self._entry(item) for item in self._lister.items()}
        changed = entries != self._entries
        self._entries = entries
        return changed

    def _entry(self, item: Item) -> tuple[int, T]:
        entry = self._entries.get(item.key)
        if entry is not None and entry[0] == item.revision:
            return entry
        return item.revision, self._compile(item.obj)

    def get(self, key: Key) -> T | None:
        entry = self._entries.get(key)
        return entry[1] if entry is not None else None

    def values(self) -> Iterator[T]:
        return (made for _, made in self._entries.values())


@dataclass(frozen=True, kw_only=True)
class RbacListers:
    """The caches of the four kinds."""

    roles: Lister
    cluster_roles: Lister
    role_bindings: Lister
    cluster_role_bindings: Lister


class Rbac:
    """Decides by roles and bindings."""

    def __init__(self, listers: RbacListers) -> None:
        self._roles = _Compiled(listers.roles, compile_rules)
        self._cluster_roles = _Compiled(listers.cluster_roles, compile_rules)
        self._bindings = _Compiled(listers.role_bindings, grants_of)
        self._cluster_bindings = _Compiled(listers.cluster_role_bindings, grants_of)
        self._index: dict[tuple[str, Subject], list[Grant]] = {}

    def authorize(self, attributes: Attributes) -> Decision:
        """Allow what a rule of a bound role allows; say which roles are missing otherwise."""
        missing = []
        for grant, rules in self._granted(attributes.user, attributes.namespace):
            if rules is None:
                missing.append(role_missing(grant))
            elif any(rule.allows(attributes) for rule in rules):
                return Decision(allowed=True, reason=grant.reason())
        return (
            Decision(allowed=False, reason=f"RBAC: {_joined(missing)}") if missing else NO_OPINION
        )

    def rules_for(self, user: User, namespace: str) -> tuple[list[Rule], list[str]]:
        """Return all rules that hold for a user in a namespace, and which roles are missing."""
        rules: list[Rule] = []
        missing: list[str] = []
        for grant, held in self._granted(user, namespace):
            if held is None:
                missing.append(role_missing(grant))
            else:
                rules.extend(held)
        return rules, missing

    def rules_of(self, kind: str, key: Key) -> tuple[Rule, ...] | None:
        """Return the rules of a Role or ClusterRole, None where it is not there."""
        self._refresh()
        return (self._roles if kind == "Role" else self._cluster_roles).get(key)

    def _granted(
        self, user: User, namespace: str
    ) -> Iterator[tuple[Grant, tuple[Rule, ...] | None]]:
        """Yield what is granted to a user, cluster-wide first; None where the role is missing."""
        self._refresh()
        subjects: list[Subject] = [("User", user.name)]
        subjects += [("Group", group) for group in user.groups]
        for where in ("", namespace) if namespace else ("",):
            for subject in subjects:
                for grant in self._index.get((where, subject), ()):
                    roles = self._roles if grant.role_kind == "Role" else self._cluster_roles
                    yield grant, roles.get(grant.role_key)

    def _refresh(self) -> None:
        self._roles.refresh()
        self._cluster_roles.refresh()
        bindings, cluster_bindings = self._bindings.refresh(), self._cluster_bindings.refresh()
        if bindings or cluster_bindings:
            self._index = _by_subject((*self._cluster_bindings.values(), *self._bindings.values()))


def grants_of(binding: Obj) -> tuple[Grant, ...]:
    """Return the grants of a RoleBinding or ClusterRoleBinding, one per subject."""
    metadata, role = binding["metadata"], binding["roleRef"]
    key = Key(metadata.get("namespace", ""), metadata["name"])
    grants = []
    for subject in binding.get("subjects") or ():
        who = subject_of(subject, key.namespace)
        if who is not None:
            grants.append(Grant(key, role["kind"], role["name"], *who))
    return tuple(grants)


def subject_of(subject: Obj, namespace: str) -> tuple[Subject, str] | None:
    """Return a subject of a binding as a user or group, and how reasons name it."""
    kind, name = subject.get("kind", ""), subject.get("name", "")
    if kind in ("User", "Group"):
        return (kind, name), f'{kind} "{name}"'
    where = subject.get("namespace") or namespace
    if kind != "ServiceAccount" or not where:
        return None
    return ("User", f"{SERVICE_ACCOUNT_PREFIX}{where}:{name}"), f'{kind} "{name}/{where}"'


def _by_subject(bindings: Sequence[tuple[Grant, ...]]) -> dict[tuple[str, Subject], list[Grant]]:
    index: dict[tuple[str, Subject], list[Grant]] = {}
    for grants in bindings:
        for grant in grants:
            index.setdefault((grant.binding.namespace, grant.subject), []).append(grant)
    return index


def role_missing(grant: Grant) -> str:
    """Say that a binding's role is not there, in upstream's words."""
    return f'{grant.role_kind.lower()}.rbac.authorization.k8s.io "{grant.role_name}" not found'


def _joined(errors: Sequence[str]) -> str:
    unique = list(dict.fromkeys(errors))
    return unique[0] if len(unique) == 1 else f"[{', '.join(unique)}]"
