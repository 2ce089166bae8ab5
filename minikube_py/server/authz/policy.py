"""Policy rules: what one rule of a role allows, and whether rules cover other rules.

The rules of a role are compiled once into sets. Matching is that of upstream's RBAC evaluation
helpers, coverage that of component-helpers' `auth/rbac/validation`.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product

from minikube_py.api.object import Obj
from minikube_py.server.attributes import Attributes


@dataclass(frozen=True)
class Rule:
    """One PolicyRule: resources, or paths that are no resources."""

    verbs: frozenset[str]
    groups: frozenset[str] = frozenset()
    resources: frozenset[str] = frozenset()
    names: frozenset[str] = frozenset()
    paths: tuple[str, ...] = ()
    source: Obj | None = None
    """The rule as the role holds it."""

    def allows(self, attributes: Attributes) -> bool:
        """Tell whether the rule allows the request."""
        if attributes.verb not in self.verbs and "*" not in self.verbs:
            return False
        if not attributes.is_resource:
            return any(path_matches(path, attributes.path) for path in self.paths)
        return (
            _has(self.groups, attributes.group)
            and self._has_resource(attributes)
            and (not self.names or attributes.name in self.names)
        )

    def _has_resource(self, attributes: Attributes) -> bool:
        if "*" in self.resources:
            return True
        if not attributes.subresource:
            return attributes.resource in self.resources
        return (
            f"{attributes.resource}/{attributes.subresource}" in self.resources
            or f"*/{attributes.subresource}" in self.resources
        )


def _has(names: frozenset[str], name: str) -> bool:
    return name in names or "*" in names


def path_matches(pattern: str, path: str) -> bool:
    """Tell whether a nonResourceURL covers a path; a `*` at its end covers all that follows."""
    if pattern in ("*", path):
        return True
    return pattern.endswith("*") and path.startswith(pattern.rstrip("*"))


def compile_rules(role: Obj) -> tuple[Rule, ...]:
    """Return the rules of a Role or ClusterRole, ready to match."""
    return tuple(compile_rule(rule) for rule in role.get("rules") or ())


def compile_rule(rule: Obj) -> Rule:
    """Return one PolicyRule, ready to match."""
    return Rule(
        verbs=frozenset(rule.get("verbs") or ()),
        groups=frozenset(rule.get("apiGroups") or ()),
        resources=frozenset(rule.get("resources") or ()),
        names=frozenset(rule.get("resourceNames") or ()),
        paths=tuple(rule.get("nonResourceURLs") or ()),
        source=rule,
    )


def uncovered(owned: Sequence[Rule], wanted: Iterable[Obj]) -> list[dict[str, list[str]]]:
    """Return which single rights of the wanted rules no owned rule covers, merged by resource."""
    missing = [
        right
        for rule in wanted
        for right in single_rights(rule)
        if not any(_covers(owner, right) for owner in owned)
    ]
    return list(_merged(missing))


def single_rights(rule: Obj) -> Iterator[dict[str, list[str]]]:
    """Break a rule down to rules of one verb on one resource, or on one path."""
    verbs = rule.get("verbs") or ()
    for group, resource, verb in product(
        rule.get("apiGroups") or (), rule.get("resources") or (), verbs
    ):
        single = {"apiGroups": [group], "resources": [resource], "verbs": [verb]}
        names = rule.get("resourceNames") or ()
        if names:
            yield from ({**single, "resourceNames": [name]} for name in names)
        else:
            yield single
    for path, verb in product(rule.get("nonResourceURLs") or (), verbs):
        yield {"nonResourceURLs": [path], "verbs": [verb]}


def _covers(owner: Rule, right: dict[str, list[str]]) -> bool:
    if not _has(owner.verbs, right["verbs"][0]):
        return False
    if "nonResourceURLs" in right:
        path = right["nonResourceURLs"][0]
        return any(path_matches(pattern, path) for pattern in owner.paths)
    resource = right["resources"][0]
    _, _, subresource = resource.partition("/")
    names = right.get("resourceNames") or [""]
    return (
        _has(owner.groups, right["apiGroups"][0])
        and (_has(owner.resources, resource) or f"*/{subresource}" in owner.resources)
        and (not owner.names or names[0] in owner.names)
    )


def _merged(rights: Iterable[dict[str, list[str]]]) -> Iterator[dict[str, list[str]]]:
    """Join the verbs of rights on the same resource and name, as upstream's CompactRules does."""
    simple: dict[tuple[str, ...], dict[str, list[str]]] = {}
    for right in rights:
        if "nonResourceURLs" in right:
            yield right
            continue
        names = right.get("resourceNames", [])
        key = (*right["apiGroups"], *right["resources"], *names)
        if key in simple:
            simple[key] = {**simple[key], "verbs": [*simple[key]["verbs"], *right["verbs"]]}
        else:
            simple[key] = right
    yield from simple.values()


def compact(rule: dict[str, list[str]]) -> str:
    """Print a rule as upstream's messages do: `{APIGroups:[""], Resources:["pods"], ...}`."""
    parts = (
        ("APIGroups", "apiGroups"),
        ("Resources", "resources"),
        ("NonResourceURLs", "nonResourceURLs"),
        ("ResourceNames", "resourceNames"),
        ("Verbs", "verbs"),
    )
    texts = [f"{name}:{quoted(rule[key])}" for name, key in parts if rule.get(key)]
    return "{" + ", ".join(texts) + "}"


def quoted(names: Iterable[str]) -> str:
    """Print a list as Go's %q does."""
    return "[" + " ".join(f'"{name}"' for name in names) + "]"
