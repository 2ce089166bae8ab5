"""Flow schemas: which requests belong to which priority level."""

from minikube_py.api.resource import AGE, NAME, Column, Resource, Subresource

FLOWSCHEMAS = Resource(
    group="flowcontrol.apiserver.k8s.io",
    kind="FlowSchema",
    plural="flowschemas",
    namespaced=False,
    schema="io.k8s.api.flowcontrol.v1.FlowSchema",
    subresources=(Subresource(name="status", shares_object=True),),
    columns=(
        NAME,
        Column("PriorityLevel"),
        Column("MatchingPrecedence"),
        Column("DistinguisherMethod"),
        AGE,
        Column("MissingPL"),
    ),
)
