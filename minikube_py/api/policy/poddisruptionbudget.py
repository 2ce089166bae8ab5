"""Pod disruption budgets: how many pods may be evicted at a time."""

from minikube_py.api.resource import AGE, NAME, Column, Resource, Subresource

PODDISRUPTIONBUDGETS = Resource(
    group="policy",
    kind="PodDisruptionBudget",
    plural="poddisruptionbudgets",
    short_names=("pdb",),
    schema="io.k8s.api.policy.v1.PodDisruptionBudget",
    subresources=(Subresource(name="status", shares_object=True),),
    columns=(
        NAME,
        Column("Min Available"),
        Column("Max Unavailable"),
        Column("Allowed Disruptions", "integer"),
        AGE,
    ),
)
