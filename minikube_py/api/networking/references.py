"""References to objects of any kind: backends, parameters of classes, users of addresses."""

from collections.abc import Iterator

from minikube_py.api import names
from minikube_py.api.fields import Field, FieldError
from minikube_py.api.object import Obj


def validate_local(reference: Obj, field: Field) -> Iterator[FieldError]:
    """Report what is wrong with a reference to an object of the same namespace."""
    group = reference.get("apiGroup")
    if group is not None:
        for text in names.dns1123_subdomain(group):
            yield (field / "apiGroup").invalid(group, text)
    for key in ("kind", "name"):
        value = reference.get(key, "")
        if not value:
            yield (field / key).required(f"{key} is required")
        for text in names.path_segment(value):
            yield (field / key).invalid(value, text)


def validate_parent(parent: Obj, field: Field) -> Iterator[FieldError]:
    """Report what is wrong with the reference from an IPAddress to what uses it."""
    group = parent.get("group", "")
    if group:
        yield from ((field / "group").invalid(group, t) for t in names.dns1123_subdomain(group))
    for key, needed in (("resource", True), ("name", True), ("namespace", False)):
        value = parent.get(key, "")
        if needed and not value:
            yield (field / key).required()
        for text in names.path_segment(value):
            yield (field / key).invalid(value, text)
