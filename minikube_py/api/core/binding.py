"""Bindings: the request that puts a pod on a node."""

from collections.abc import Iterator
from typing import Final

from minikube_py.api.fields import Field, FieldError
from minikube_py.api.object import Obj
from minikube_py.api.resource import Resource

_TARGET: Final = Field("target")


def validate(binding: Obj, _old: Obj | None) -> Iterator[FieldError]:
    """Report a target that is no node or has no name."""
    target = binding.get("target") or {}
    kind = target.get("kind")
    if kind and kind != "Node":
        yield (_TARGET / "kind").unsupported(kind, ("Node", "<empty>"))
    if not target.get("name"):
        yield (_TARGET / "name").required()


BINDINGS = Resource(
    kind="Binding",
    plural="bindings",
    verbs=("create",),
    schema="io.k8s.api.core.v1.Binding",
    validate=validate,
)
