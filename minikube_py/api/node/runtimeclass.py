"""Runtime classes: which handler of the node runs a pod."""

from minikube_py.api.resource import AGE, NAME, Column, Resource

RUNTIMECLASSES = Resource(
    group="node.k8s.io",
    kind="RuntimeClass",
    plural="runtimeclasses",
    namespaced=False,
    schema="io.k8s.api.node.v1.RuntimeClass",
    columns=(
        NAME,
        Column("Handler"),
        AGE,
    ),
)
