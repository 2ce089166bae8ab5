"""Which flow schema a request falls under: the first, by precedence, with a rule that matches.

Schemas are compiled once into sets. The two mandatory schemas and levels are always there, also
where nobody has stored them, so that every request falls under one.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from minikube_py.api.object import Obj
from minikube_py.server.apiserver.request import RequestInfo
from minikube_py.server.attributes import User
from minikube_py.server.bootstrap_flowcontrol import flow_schemas, priority_levels

ALL = "*"
MANDATORY = ("exempt", "catch-all")
SERVICE_ACCOUNT = "system:serviceaccount:"


@dataclass(frozen=True)
class Rule:
    """One rule with its subjects: whose requests, for which resources or paths."""

    users: frozenset[str]
    groups: frozenset[str]
    namespaces_of_accounts: frozenset[str]
    """Namespaces whose service accounts are all meant."""
    resources: tuple["ResourceRule", ...]
    paths: tuple["PathRule", ...]

    def matches(self, user: User, info: RequestInfo) -> bool:
        """Tell whether a request falls under the rule."""
        if not self._is_about(user):
            return False
        if info.is_resource:
            return any(rule.matches(info) for rule in self.resources)
        return any(rule.matches(info) for rule in self.paths)

    def _is_about(self, user: User) -> bool:
        if user.name in self.users or ALL in self.users or ALL in self.groups:
            return True
        if not self.groups.isdisjoint(user.groups):
            return True
        if not self.namespaces_of_accounts or not user.name.startswith(SERVICE_ACCOUNT):
            return False
        return user.name.split(":")[2] in self.namespaces_of_accounts


@dataclass(frozen=True)
class ResourceRule:
    """Verbs of resources, in namespaces or outside of them."""

    verbs: frozenset[str]
    groups: frozenset[str]
    resources: frozenset[str]
    namespaces: frozenset[str]
    cluster_scope: bool

    def matches(self, info: RequestInfo) -> bool:
        """Tell whether a request falls under the rule."""
        if not _has(self.verbs, info.verb) or not _has(self.groups, info.group):
            return False
        name = f"{info.plural}/{info.subresource}" if info.subresource else info.plural
        if not _has(self.resources, name):
            return False
        return _has(self.namespaces, info.namespace) if info.namespace else self.cluster_scope


@dataclass(frozen=True)
class PathRule:
    """Methods of paths; one that ends in a star covers all that follows."""

    verbs: frozenset[str]
    paths: frozenset[str]
    prefixes: tuple[str, ...]

    def matches(self, info: RequestInfo) -> bool:
        """Tell whether a request falls under the rule."""
        if not _has(self.verbs, info.verb):
            return False
        return _has(self.paths, info.path) or info.path.startswith(self.prefixes)


def _has(names: frozenset[str], name: str) -> bool:
    return name in names or ALL in names


@dataclass(frozen=True)
class Schema:
    """One flow schema, ready to match."""

    name: str
    uid: str
    level: str
    rules: tuple[Rule, ...]
    distinguisher: str
    """ByUser, ByNamespace or "" where all its requests are one flow."""

    def matches(self, user: User, info: RequestInfo) -> bool:
        """Tell whether a request falls under the schema."""
        return any(rule.matches(user, info) for rule in self.rules)

    def flow(self, user: User, info: RequestInfo) -> str:
        """Return what tells a request's flow from others of the schema."""
        if self.distinguisher == "ByUser":
            return user.name
        return info.namespace if self.distinguisher == "ByNamespace" else ""


def compile_schema(schema: Obj) -> Schema:
    """Return a FlowSchema, ready to match."""
    spec = schema["spec"]
    return Schema(
        name=schema["metadata"]["name"],
        uid=schema["metadata"].get("uid", ""),
        level=spec["priorityLevelConfiguration"]["name"],
        rules=tuple(_rule(rule) for rule in spec.get("rules") or ()),
        distinguisher=(spec.get("distinguisherMethod") or {}).get("type", ""),
    )


def _rule(rule: Obj) -> Rule:
    users: set[str] = set()
    groups: set[str] = set()
    namespaces: set[str] = set()
    for subject in rule.get("subjects") or ():
        if subject["kind"] == "User":
            users.add(subject["user"]["name"])
        elif subject["kind"] == "Group":
            groups.add(subject["group"]["name"])
        elif subject["serviceAccount"]["name"] == ALL:
            namespaces.add(subject["serviceAccount"]["namespace"])
        else:
            account = subject["serviceAccount"]
            users.add(f"{SERVICE_ACCOUNT}{account['namespace']}:{account['name']}")
    return Rule(
        users=frozenset(users),
        groups=frozenset(groups),
        namespaces_of_accounts=frozenset(namespaces),
        resources=tuple(map(_resource_rule, rule.get("resourceRules") or ())),
        paths=tuple(map(_path_rule, rule.get("nonResourceRules") or ())),
    )


def _resource_rule(rule: Obj) -> ResourceRule:
    return ResourceRule(
        verbs=frozenset(rule["verbs"]),
        groups=frozenset(rule["apiGroups"]),
        resources=frozenset(rule["resources"]),
        namespaces=frozenset(rule.get("namespaces") or ()),
        cluster_scope=bool(rule.get("clusterScope")),
    )


def _path_rule(rule: Obj) -> PathRule:
    paths = rule["nonResourceURLs"]
    return PathRule(
        verbs=frozenset(rule["verbs"]),
        paths=frozenset(paths),
        prefixes=tuple(path[:-1] for path in paths if path.endswith(ALL) and path != ALL),
    )


def in_order(schemas: Iterable[Obj], levels: Mapping[str, Obj]) -> list[Schema]:
    """Return the schemas whose level is there, first come first; the mandatory ones included."""
    named = _with_mandatory(schemas, flow_schemas)
    compiled = [
        (schema["spec"].get("matchingPrecedence", 1000), compile_schema(schema))
        for schema in named.values()
    ]
    compiled.sort(key=lambda pair: (pair[0], pair[1].name))
    return [schema for _, schema in compiled if schema.level in levels]


def with_mandatory_levels(levels: Iterable[Obj]) -> dict[str, Obj]:
    """Return the priority levels by name, the mandatory ones included."""
    return _with_mandatory(levels, priority_levels)


def _with_mandatory(
    objects: Iterable[Obj], defaults: Callable[[], Iterable[Obj]]
) -> dict[str, Obj]:
    named = {obj["metadata"]["name"]: obj for obj in defaults()}
    mandatory = {name: named[name] for name in MANDATORY}
    return mandatory | {obj["metadata"]["name"]: obj for obj in objects}
