"""Priority levels: how many requests run at a time."""

from minikube_py.api.resource import AGE, NAME, Column, Resource, Subresource

PRIORITYLEVELCONFIGURATIONS = Resource(
    group="flowcontrol.apiserver.k8s.io",
    kind="PriorityLevelConfiguration",
    plural="prioritylevelconfigurations",
    namespaced=False,
    schema="io.k8s.api.flowcontrol.v1.PriorityLevelConfiguration",
    subresources=(Subresource(name="status", shares_object=True),),
    columns=(
        NAME,
        Column("Type"),
        Column("NominalConcurrencyShares"),
        Column("Queues"),
        Column("HandSize"),
        Column("QueueLengthLimit"),
        AGE,
    ),
)
