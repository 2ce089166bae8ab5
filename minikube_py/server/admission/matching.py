"""Which requests a webhook or a policy is for: rules and selectors, read once, asked often.

`Criteria` is what a configuration says, compiled when it changes; a `Matcher` asks them of each
request. With matchPolicy Equivalent a rule for another version of the same stored kind matches
too; the match then names that version, and the webhook or policy sees the object in it.

The rules are apiserver's `admission/plugin/webhook/{rules,generic,predicates}` and, for policies,
`admission/plugin/policy/matching`.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from minikube_py.api import selectors
from minikube_py.api.core import NAMESPACES
from minikube_py.api.errors import NotFoundError
from minikube_py.api.object import Key, Obj, labels_of
from minikube_py.api.resource import Resource
from minikube_py.api.scheme import Scheme
from minikube_py.api.selectors import EVERYTHING, LabelSelector
from minikube_py.client.protocol import Lister
from minikube_py.server.attributes import Admission

CONFIGURATIONS = frozenset({
    "ValidatingWebhookConfiguration", "MutatingWebhookConfiguration",
    "ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding",
    "MutatingAdmissionPolicy", "MutatingAdmissionPolicyBinding",
})  # fmt: skip
"""What configures admission is exempt from it, or a mistake in it could not be mended."""


@dataclass(frozen=True)
class Rule:
    """One rule: operations, groups, versions, resources, scope and, for policies, names."""

    operations: frozenset[str]
    groups: frozenset[str]
    versions: frozenset[str]
    resources: tuple[tuple[str, str], ...]
    """Resource and subresource, each a name, "*" or ""."""
    scope: str = "*"
    names: frozenset[str] = frozenset()
    """Of objects; without any, all match."""

    def matches(self, admission: Admission, resource: Resource) -> bool:
        """Tell whether the request, taken as one for `resource`, falls under the rule."""
        return (
            _has(self.operations, admission.operation)
            and _has(self.groups, resource.group)
            and _has(self.versions, resource.version)
            and self._names_resource(resource.plural, admission.subresource)
            and self._in_scope(admission)
            and (not self.names or admission.name in self.names)
        )

    def _names_resource(self, plural: str, subresource: str) -> bool:
        return any(
            name in ("*", plural) and sub in ("*", subresource) for name, sub in self.resources
        )

    def _in_scope(self, admission: Admission) -> bool:
        """Namespaces are no objects of a namespace, although requests for them name one."""
        if self.scope == "*":
            return True
        inside = bool(admission.namespace) and admission.resource is not NAMESPACES
        return inside == (self.scope == "Namespaced")


def _has(values: frozenset[str], value: str) -> bool:
    return "*" in values or value in values


def rule_of(document: Obj) -> Rule:
    """Read a RuleWithOperations or NamedRuleWithOperations."""
    pairs = (text.partition("/") for text in document.get("resources") or ())
    return Rule(
        operations=frozenset(document.get("operations") or ()),
        groups=frozenset(document.get("apiGroups") or ()),
        versions=frozenset(document.get("apiVersions") or ()),
        resources=tuple((name, sub) for name, _, sub in pairs),
        scope=document.get("scope") or "*",
        names=frozenset(document.get("resourceNames") or ()),
    )


@dataclass(frozen=True, kw_only=True)
class Criteria:
    """Which requests a webhook, a policy or a binding is for."""

    rules: tuple[Rule, ...] | None
    """None: no rules are asked, every resource matches."""
    excluded: tuple[Rule, ...] = ()
    equivalent: bool = True
    """Whether a rule for another version of the kind counts."""
    namespace_selector: LabelSelector = EVERYTHING
    object_selector: LabelSelector = EVERYTHING


def webhook_criteria(webhook: Obj) -> Criteria:
    """Read the criteria of one webhook; without rules it is for nothing."""
    return _criteria(webhook, _rules(webhook, "rules"), ())


def policy_criteria(resources: Obj | None) -> Criteria:
    """Read MatchResources of a policy or a binding; without rules they are for everything."""
    resources = resources or {}
    rules = _rules(resources, "resourceRules")
    return _criteria(resources, rules or None, _rules(resources, "excludeResourceRules"))


def _rules(document: Obj, key: str) -> tuple[Rule, ...]:
    return tuple(map(rule_of, document.get(key) or ()))


def _criteria(
    document: Obj, rules: tuple[Rule, ...] | None, excluded: tuple[Rule, ...]
) -> Criteria:
    return Criteria(
        rules=rules,
        excluded=excluded,
        equivalent=document.get("matchPolicy") != "Exact",
        namespace_selector=_selector(document.get("namespaceSelector")),
        object_selector=_selector(document.get("objectSelector")),
    )


def _selector(document: Obj | None) -> LabelSelector:
    """Read a selector; absent it selects everything here."""
    return EVERYTHING if document is None else selectors.from_object(document)


def is_exempt(admission: Admission) -> bool:
    """Tell whether a request is for what configures admission itself."""
    resource = admission.resource
    return resource.group == "admissionregistration.k8s.io" and resource.kind in CONFIGURATIONS


def namespace_of(admission: Admission) -> str:
    """Return the namespace that selectors are asked of: a Namespace is in itself."""
    return admission.name if admission.resource is NAMESPACES else admission.namespace


class Matcher:
    """Asks criteria of requests."""

    def __init__(self, scheme: Scheme, namespaces: Lister) -> None:
        self._scheme = scheme
        self._namespaces = namespaces

    def match(self, criteria: Criteria, admission: Admission) -> Resource | None:
        """Return the version of the resource in which the request matches, None where it does not.

        Raises:
            NotFoundError: it would match, and the labels of its namespace cannot be known.

        """
        if not _selects_object(criteria.object_selector, admission):
            return None
        if self._find(criteria.excluded, admission, equivalent=criteria.equivalent):
            return None
        if criteria.rules is None:
            found: Resource | None = admission.resource
        else:
            found = self._find(criteria.rules, admission, equivalent=criteria.equivalent)
        if found is None or not self._selects_namespace(criteria.namespace_selector, admission):
            return None
        return found

    def namespace(self, admission: Admission) -> Obj | None:
        """Return the namespace of a request, as a write of itself would leave it; None without one.

        Raises:
            NotFoundError: there is none of that name.

        """
        if admission.resource is NAMESPACES and not admission.subresource and admission.obj:
            return admission.obj
        name = namespace_of(admission)
        if not name:
            return None
        found = self._namespaces.get(Key("", name))
        if found is None:
            raise NotFoundError(
                f'namespaces "{name}" not found', details={"name": name, "kind": "namespaces"}
            )
        return found

    def _selects_namespace(self, selector: LabelSelector, admission: Admission) -> bool:
        if not selector:
            return True
        namespace = self.namespace(admission)
        return namespace is None or selector.matches(labels_of(namespace))

    def _find(
        self, rules: Sequence[Rule], admission: Admission, *, equivalent: bool
    ) -> Resource | None:
        """Return the version that a rule names: that of the request, else an equivalent one."""
        if any(rule.matches(admission, admission.resource) for rule in rules):
            return admission.resource
        if not rules or not equivalent:
            return None
        others = tuple(self.equivalents(admission.resource, admission.subresource))
        for rule in rules:
            for other in others:
                if rule.matches(admission, other):
                    return other
        return None

    def equivalents(self, resource: Resource, subresource: str = "") -> Iterator[Resource]:
        """Yield the other resources through which the same stored objects are served."""
        place = _place(resource)
        for other in self._scheme:
            if other.api_version == resource.api_version or _place(other) != place:
                continue
            if not other.served:
                continue
            if not subresource or other.subresource(subresource) is not None:
                yield other


def _place(resource: Resource) -> tuple[str, str]:
    """Return where objects are stored: the group and the plural of the stored version."""
    stored = resource.storage.resource if resource.storage is not None else resource
    return stored.group, stored.plural


def _selects_object(selector: LabelSelector, admission: Admission) -> bool:
    """Tell whether the object has the labels, as it was or as it will be."""
    if not selector:
        return True
    return any(
        selector.matches(_labels(obj)) for obj in (admission.obj, admission.old) if _is_object(obj)
    )


def _is_object(obj: Obj | None) -> bool:
    return obj is not None and "metadata" in obj


def _labels(obj: Obj | None) -> Mapping[str, str]:
    return labels_of(obj) if obj is not None else {}
