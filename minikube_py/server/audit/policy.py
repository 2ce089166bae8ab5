"""An audit policy: how much is kept of which requests. The first rule that matches decides.

The form is that of `audit.k8s.io/v1` Policy, the matching that of apiserver's `audit/policy`.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from yaml import YAMLError

from minikube_py.api.object import Obj
from minikube_py.api.yaml import load as load_yaml
from minikube_py.lib.errors import StartError
from minikube_py.server.apiserver.request import RequestInfo
from minikube_py.server.attributes import User

LEVELS = ("None", "Metadata", "Request", "RequestResponse")
"""From nothing to everything; each holds what those before it hold."""
STAGES = ("RequestReceived", "ResponseStarted", "ResponseComplete", "Panic")
DECISIONS_KEPT_MAX = 4096
PATH_KEPT_MAX = 512
"""Longer paths are decided on anew each time, so that none fills the memory."""


@dataclass(frozen=True)
class Kept:
    """What is kept of a request."""

    level: str
    omit_stages: frozenset[str] = frozenset()
    omit_managed_fields: bool = False

    @property
    def has_request(self) -> bool:
        """Whether the body of the request is kept."""
        return self.level in ("Request", "RequestResponse")


@dataclass(frozen=True)
class Resources:
    """Resources of one group; no names mean all."""

    group: str
    resources: tuple[str, ...]
    names: frozenset[str]

    def match(self, info: RequestInfo) -> bool:
        """Tell whether the request is about one of them."""
        if info.group != self.group:
            return False
        if not self.resources:
            return True
        if self.names and info.name not in self.names:
            return False
        return any(_is_resource(pattern, info) for pattern in self.resources)


def _is_resource(pattern: str, info: RequestInfo) -> bool:
    whole = f"{info.plural}/{info.subresource}" if info.subresource else info.plural
    if pattern in (whole, "*"):
        return True
    if info.subresource and pattern == f"*/{info.subresource}":
        return True
    return pattern == f"{info.plural}/*"


@dataclass(frozen=True)
class Rule:
    """One rule; what it leaves open, it does not look at."""

    kept: Kept
    users: frozenset[str]
    groups: frozenset[str]
    verbs: frozenset[str]
    namespaces: frozenset[str]
    resources: tuple[Resources, ...]
    paths: tuple[str, ...]

    def matches(self, user: User | None, info: RequestInfo) -> bool:
        """Tell whether the rule is about a request; `user` is None where nobody is known."""
        if self.users and (user is None or user.name not in self.users):
            return False
        if self.groups and (user is None or self.groups.isdisjoint(user.groups)):
            return False
        if self.verbs and info.verb not in self.verbs:
            return False
        if self.namespaces or self.resources:
            return self._is_about_resource(info)
        if self.paths:
            return not info.is_resource and any(_is_path(path, info.path) for path in self.paths)
        return True

    def _is_about_resource(self, info: RequestInfo) -> bool:
        if not info.is_resource:
            return False
        if self.namespaces and info.namespace not in self.namespaces:
            return False
        return not self.resources or any(one.match(info) for one in self.resources)


def _is_path(pattern: str, path: str) -> bool:
    if pattern in ("*", path):
        return True
    return pattern.endswith("*") and path.startswith(pattern.rstrip("*"))


@dataclass(frozen=True)
class Policy:
    """Rules in their order; decisions about the same sort of request are remembered."""

    rules: tuple[Rule, ...]
    otherwise: Kept = Kept("None")
    _decided: dict[object, Kept] = field(default_factory=dict, compare=False)

    @cached_property
    def _by_name(self) -> bool:
        """Whether a rule is about single objects."""
        return any(one.names for rule in self.rules for one in rule.resources)

    def decide(self, user: User | None, info: RequestInfo) -> Kept:
        """Return what is kept of a request."""
        who = (user.name, user.groups) if user is not None else None
        name = info.name if self._by_name else ""
        what = (info.group, info.plural, info.subresource, info.namespace, name)
        key = (who, info.verb, what if info.is_resource else info.path)
        kept = self._decided.get(key)
        if kept is None:
            if len(self._decided) >= DECISIONS_KEPT_MAX:
                self._decided.clear()
            kept = self._first(user, info)
            if len(info.path) <= PATH_KEPT_MAX:
                self._decided[key] = kept
        return kept

    def _first(self, user: User | None, info: RequestInfo) -> Kept:
        matching = (rule.kept for rule in self.rules if rule.matches(user, info))
        return next(matching, self.otherwise)


def load(path: str) -> Policy:
    """Return the policy of a file; raises StartError for one that is not right."""
    try:
        document = load_yaml(Path(path).read_bytes())
    except OSError as error:
        raise StartError(f"cannot read the audit policy {path}: {error.strerror}") from error
    except (ValueError, YAMLError, RecursionError) as error:
        raise StartError(f"the audit policy {path} is no YAML: {error}") from error
    for problem in problems(document):
        raise StartError(f"the audit policy {path} cannot be used: {problem}")
    return compile_policy(document)


def compile_policy(document: Obj) -> Policy:
    """Return a policy, ready to decide."""
    stages = frozenset(document.get("omitStages") or ())
    managed = bool(document.get("omitManagedFields"))
    rules = tuple(_rule(rule, stages, omit_managed_fields=managed) for rule in document["rules"])
    return Policy(rules, Kept("None", stages, managed))


def _rule(rule: Obj, stages: frozenset[str], *, omit_managed_fields: bool) -> Rule:
    own = rule.get("omitManagedFields")
    kept = Kept(
        rule["level"],
        stages | frozenset(rule.get("omitStages") or ()),
        omit_managed_fields if own is None else own,
    )
    return Rule(
        kept=kept,
        users=frozenset(rule.get("users") or ()),
        groups=frozenset(rule.get("userGroups") or ()),
        verbs=frozenset(rule.get("verbs") or ()),
        namespaces=frozenset(rule.get("namespaces") or ()),
        resources=tuple(map(_resources, rule.get("resources") or ())),
        paths=tuple(rule.get("nonResourceURLs") or ()),
    )


def _resources(group: Obj) -> Resources:
    return Resources(
        group=group.get("group") or "",
        resources=tuple(group.get("resources") or ()),
        names=frozenset(group.get("resourceNames") or ()),
    )


# Checking

_TEXTS = ("users", "userGroups", "verbs", "namespaces", "nonResourceURLs", "omitStages")
_FIELDS = frozenset({"level", "resources", "omitManagedFields", *_TEXTS})
_TOP = frozenset({"apiVersion", "kind", "metadata", "rules", "omitStages", "omitManagedFields"})


def problems(document: Any) -> Iterator[str]:
    """Yield what is wrong with a policy."""
    if not isinstance(document, dict) or document.get("kind") != "Policy":
        yield "it is no document of kind Policy"
        return
    if document.get("apiVersion") != "audit.k8s.io/v1":
        yield f"apiVersion {document.get('apiVersion')!r} is not audit.k8s.io/v1"
    yield from (f"unknown field {name!r}" for name in sorted(document.keys() - _TOP))
    yield from _stage_problems(document.get("omitStages"), "omitStages")
    rules = document.get("rules")
    if not isinstance(rules, list) or not rules:
        yield "loaded illegal policy with 0 rules"
        return
    for index, rule in enumerate(rules):
        yield from _rule_problems(rule, f"rules[{index}]")


def _rule_problems(rule: Any, where: str) -> Iterator[str]:
    if not isinstance(rule, Mapping):
        yield f"{where}: is no map"
        return
    yield from (f"{where}: unknown field {name!r}" for name in sorted(rule.keys() - _FIELDS))
    if rule.get("level") not in LEVELS:
        yield f"{where}.level: Unsupported value: {rule.get('level')!r}: supported values: {LEVELS}"
    for name in _TEXTS:
        if not _are_texts(rule.get(name)):
            yield f"{where}.{name}: is no list of texts"
            return
    yield from _stage_problems(rule.get("omitStages"), f"{where}.omitStages")
    if rule.get("nonResourceURLs") and (rule.get("resources") or rule.get("namespaces")):
        yield (
            f"{where}.nonResourceURLs: rules cannot apply to both regular resources and "
            "non-resource URLs"
        )
    odd = (path for path in rule.get("nonResourceURLs") or () if not _is_pattern(path))
    for path in odd:
        yield f"{where}.nonResourceURLs: {path!r} is no path, with a star at its end at most"
    for group in rule.get("resources") or ():
        yield from _resources_problems(group, f"{where}.resources")


def _resources_problems(group: Any, where: str) -> Iterator[str]:
    if not isinstance(group, Mapping):
        yield f"{where}: is no list of maps"
        return
    if not _are_texts(group.get("resources")) or not _are_texts(group.get("resourceNames")):
        yield f"{where}: resources and resourceNames are lists of texts"
    elif group.get("resourceNames") and not group.get("resources"):
        yield f"{where}: using resourceNames requires at least one resource"


def _stage_problems(stages: Any, where: str) -> Iterator[str]:
    if not _are_texts(stages):
        yield f"{where}: is no list of texts"
        return
    for stage in stages or ():
        if stage not in STAGES:
            yield f"{where}: Unsupported value: {stage!r}: supported values: {STAGES}"


def _is_pattern(path: str) -> bool:
    return path == "*" or (path.startswith("/") and "*" not in path[:-1])


def _are_texts(value: Any) -> bool:
    if value is None:
        return True
    return isinstance(value, Sequence) and all(isinstance(text, str) for text in value)
