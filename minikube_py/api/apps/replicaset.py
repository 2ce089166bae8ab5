"""Replica sets: so many pods of one template."""

from minikube_py.api.resource import AGE, NAME, Column, Resource, Subresource

REPLICASETS = Resource(
    group="apps",
    kind="ReplicaSet",
    plural="replicasets",
    short_names=("rs",),
    categories=("all",),
    schema="io.k8s.api.apps.v1.ReplicaSet",
    subresources=(
        Subresource(name="scale", kind="Scale", group="autoscaling", version="v1"),
        Subresource(name="status", shares_object=True),
    ),
    columns=(
        NAME,
        Column("Desired", "integer"),
        Column("Current", "integer"),
        Column("Ready", "integer"),
        AGE,
        Column("Containers", priority=1),
        Column("Images", priority=1),
        Column("Selector", priority=1),
    ),
)
