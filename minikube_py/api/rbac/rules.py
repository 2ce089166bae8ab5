"""What all four kinds of RBAC share: rules, subjects, and references to roles."""

from collections.abc import Iterator, Sequence
from typing import Any

from minikube_py.api import names, strategy
from minikube_py.api.fields import Field, FieldError
from minikube_py.api.object import Obj, get
from minikube_py.api.resource import Age
from minikube_py.api.strategy import changed, each, with_absent

GROUP = "rbac.authorization.k8s.io"
SERVICE_ACCOUNT, USER, SUBJECT_GROUP = "ServiceAccount", "User", "Group"
_ROLE_REF = {"apiGroup": GROUP, "kind": "", "name": ""}
_RULES = Field("rules")


def default_role(role: Obj) -> Obj:
    """Fill in what is always shown."""
    return role if role.get("rules") else {**role, "rules": None}


def validate_rules(rules: Sequence[Obj], *, namespaced: bool) -> Iterator[FieldError]:
    """Report what is wrong with the rules of a role."""
    for index, rule in enumerate(rules):
        yield from _validate_rule(rule, _RULES[index], namespaced=namespaced)


def _validate_rule(rule: Obj, field: Field, *, namespaced: bool) -> Iterator[FieldError]:
    groups, resources = rule.get("apiGroups"), rule.get("resources")
    urls = rule.get("nonResourceURLs")
    if not rule.get("verbs"):
        yield (field / "verbs").required("verbs must contain at least one value")
    if urls:
        if namespaced:
            yield (field / "nonResourceURLs").invalid(
                urls, "namespaced rules cannot apply to non-resource URLs"
            )
        if groups or resources or rule.get("resourceNames"):
            yield (field / "nonResourceURLs").invalid(
                urls, "rules cannot apply to both regular resources and non-resource URLs"
            )
        return
    if not groups:
        yield (field / "apiGroups").required("resource rules must supply at least one api group")
    if not resources:
        yield (field / "resources").required("resource rules must supply at least one resource")


def default_binding(binding: Obj) -> Obj:
    """Fill in the API groups that a name of a kind implies."""
    binding = with_absent(binding, {"roleRef": _ROLE_REF})
    binding = changed(binding, "roleRef", _default_role_ref)
    binding = changed(binding, "subjects", lambda subjects: each(subjects, _default_subject))
    return strategy.without_empty(binding, "subjects")


def _default_role_ref(reference: Obj) -> Obj:
    return with_absent(strategy.with_empty(reference, {"apiGroup": GROUP}), _ROLE_REF)


def _default_subject(subject: Obj) -> Obj:
    subject = with_absent(subject, {"kind": "", "name": ""})
    if subject.get("apiGroup") or subject["kind"] not in {USER, SUBJECT_GROUP}:
        return strategy.without_empty(subject, "apiGroup", "namespace")
    return strategy.without_empty({**subject, "apiGroup": GROUP}, "namespace")


def validate_binding(
    new: Obj, old: Obj | None, kinds: Sequence[str], *, namespaced: bool
) -> Iterator[FieldError]:
    """Report what is wrong with a binding; `kinds` are the kinds of role that it may refer to."""
    reference, field = new["roleRef"], Field("roleRef")
    if reference["apiGroup"] != GROUP:
        yield (field / "apiGroup").unsupported(reference["apiGroup"], (GROUP,))
    if reference["kind"] not in kinds:
        yield (field / "kind").unsupported(reference["kind"], kinds)
    if not reference["name"]:
        yield (field / "name").required()
    else:
        for text in names.path_segment(reference["name"]):
            yield (field / "name").invalid(reference["name"], text)
    for index, subject in enumerate(new.get("subjects") or ()):
        yield from _validate_subject(subject, Field("subjects")[index], namespaced=namespaced)
    if old is not None and reference != old["roleRef"]:
        shown = {
            "APIGroup": reference["apiGroup"],
            "Kind": reference["kind"],
            "Name": reference["name"],
        }
        yield field.invalid(shown, "cannot change roleRef")


def _validate_subject(subject: Obj, field: Field, *, namespaced: bool) -> Iterator[FieldError]:
    kind, name = subject["kind"], subject["name"]
    if not name:
        yield (field / "name").required()
    if kind == SERVICE_ACCOUNT:
        yield from _validate_service_account(subject, field, namespaced=namespaced)
    elif kind in {USER, SUBJECT_GROUP}:
        if subject.get("apiGroup") != GROUP:
            yield (field / "apiGroup").unsupported(subject.get("apiGroup", ""), (GROUP,))
    else:
        yield (field / "kind").unsupported(kind, (SERVICE_ACCOUNT, USER, SUBJECT_GROUP))


def _validate_service_account(
    subject: Obj, field: Field, *, namespaced: bool
) -> Iterator[FieldError]:
    name = subject["name"]
    if name:
        for text in names.dns1123_subdomain(name):
            yield (field / "name").invalid(name, text)
    if subject.get("apiGroup"):
        yield (field / "apiGroup").unsupported(subject["apiGroup"], ("",))
    if not namespaced and not subject.get("namespace"):
        yield (field / "namespace").required()


def binding_cells(binding: Obj) -> Sequence[Any]:
    """Return the cells of a binding's row."""
    reference: Obj = binding.get("roleRef") or {}
    subjects: Sequence[Obj] = binding.get("subjects") or ()
    return (
        binding["metadata"]["name"],
        f"{reference.get('kind', '')}/{reference.get('name', '')}",
        Age(get(binding, "metadata.creationTimestamp")),
        ", ".join(_named(subjects, USER)),
        ", ".join(_named(subjects, SUBJECT_GROUP)),
        ", ".join(
            f"{subject.get('namespace', '')}/{subject['name']}"
            for subject in subjects
            if subject["kind"] == SERVICE_ACCOUNT
        ),
    )


def _named(subjects: Sequence[Obj], kind: str) -> Iterator[str]:
    return (subject["name"] for subject in subjects if subject["kind"] == kind)


def role_cells(role: Obj) -> Sequence[Any]:
    """Return the cells of a role's row."""
    return (role["metadata"]["name"], get(role, "metadata.creationTimestamp"))
