"""Bindings: the request that puts a pod on a node."""

from minikube_py.api.resource import Resource

BINDINGS = Resource(
    kind="Binding",
    plural="bindings",
    verbs=("create",),
    schema="io.k8s.api.core.v1.Binding",
)
