"""Policy rules of flow schemas: whose requests, and which."""

from collections.abc import Iterator, Sequence

from minikube_py.api import names
from minikube_py.api.fields import Field, FieldError
from minikube_py.api.object import Obj

ALL = "*"
VERBS = (
    "create",
    "delete",
    "deletecollection",
    "get",
    "list",
    "patch",
    "proxy",
    "update",
    "watch",
)
SUBJECTS = {"Group": "group", "ServiceAccount": "serviceAccount", "User": "user"}
"""Kinds of subjects and the field that names each."""


def validate_rule(rule: Obj, field: Field) -> Iterator[FieldError]:
    """Report what is wrong with one rule of a flow schema."""
    subjects = rule.get("subjects") or ()
    resources = rule.get("resourceRules") or ()
    others = rule.get("nonResourceRules") or ()
    if not subjects:
        yield (field / "subjects").required("subjects must contain at least one value")
    for index, subject in enumerate(subjects):
        yield from _validate_subject(subject, (field / "subjects")[index])
    if not resources and not others:
        yield field.required(
            "at least one of resourceRules and nonResourceRules has to be non-empty"
        )
    for index, one in enumerate(resources):
        yield from _validate_resource_rule(one, (field / "resourceRules")[index])
    for index, one in enumerate(others):
        yield from _validate_path_rule(one, (field / "nonResourceRules")[index])


def _validate_subject(subject: Obj, field: Field) -> Iterator[FieldError]:
    kind = subject.get("kind", "")
    key = SUBJECTS.get(kind)
    if key is None:
        yield (field / "kind").unsupported(kind, frozenset(SUBJECTS))
        return
    named = subject.get(key)
    if named is None:
        yield (field / key).required(f"{key} is required when subject kind is '{kind}'")
    elif not named.get("name"):
        yield (field / key / "name").required()
    elif key == "serviceAccount":
        yield from _validate_account(named, field / key)
    for other_kind, other in SUBJECTS.items():
        if other != key and subject.get(other) is not None:
            yield (field / other).forbidden(
                f"{other} is forbidden when subject kind is not '{other_kind}'"
            )


def _validate_account(account: Obj, field: Field) -> Iterator[FieldError]:
    name, namespace = account["name"], account.get("namespace")
    if name != ALL:
        for text in names.dns1123_subdomain(name):
            yield (field / "name").invalid(name, text)
    if not namespace:
        yield (field / "namespace").required("must specify namespace for service account")
    else:
        for text in names.dns1123_label(namespace):
            yield (field / "namespace").invalid(namespace, text)


def _alone(values: Sequence[str], noun: str, field: Field) -> Iterator[FieldError]:
    """Report values beside a star, which says all that they could."""
    if ALL in values and len(values) > 1:
        yield field.invalid(values, f"if '*' is present, must not specify other {noun}")


def _validate_verbs(verbs: Sequence[str], field: Field) -> Iterator[FieldError]:
    if not verbs:
        yield field.required("verbs must contain at least one value")
    elif ALL in verbs:
        yield from _alone(verbs, "verbs", field)
    elif not set(verbs) <= set(VERBS):
        yield field.unsupported(verbs, VERBS)


def _validate_path_rule(rule: Obj, field: Field) -> Iterator[FieldError]:
    yield from _validate_verbs(rule.get("verbs") or [], field / "verbs")
    paths = rule.get("nonResourceURLs") or []
    field = field / "nonResourceURLs"
    if not paths:
        yield field.required("nonResourceURLs must contain at least one value")
    elif ALL in paths:
        yield from _alone(paths, "non-resource URLs", field)
    else:
        for index, path in enumerate(paths):
            yield from _validate_path(path, field[index])


def _validate_path(path: str, field: Field) -> Iterator[FieldError]:
    stars = path.count(ALL)
    if not path:
        yield field.invalid(path, "must not be empty")
    elif path == "/":
        return
    elif not path.startswith("/"):
        yield field.invalid(path, "must start with slash")
    elif " " in path:
        yield field.invalid(path, "must not contain white-space")
    elif "//" in path:
        yield field.invalid(path, "must not contain double slash")
    elif stars > 1 or (stars == 1 and not path.endswith("/*")):
        yield field.invalid(path, "wildcard can only do suffix matching")


_PARTS = (
    ("apiGroups", "api groups", "resource rules must supply at least one api group"),
    ("resources", "resources", "resource rules must supply at least one resource"),
)


def _validate_resource_rule(rule: Obj, field: Field) -> Iterator[FieldError]:
    yield from _validate_verbs(rule.get("verbs") or [], field / "verbs")
    for key, noun, missing in _PARTS:
        values = rule.get(key) or []
        if not values:
            yield (field / key).required(missing)
        yield from _alone(values, noun, field / key)
    namespaces = rule.get("namespaces") or []
    field = field / "namespaces"
    if not namespaces and not rule.get("clusterScope"):
        yield field.required(
            "resource rules that are not cluster scoped must supply at least one namespace"
        )
    elif ALL in namespaces:
        yield from _alone(namespaces, "namespaces", field)
    else:
        for index, namespace in enumerate(namespaces):
            yield from (field[index].invalid(namespace, t) for t in names.dns1123_label(namespace))
