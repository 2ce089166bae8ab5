"""Stateful sets: numbered pods with storage of their own."""

from minikube_py.api.resource import AGE, NAME, Column, Resource, Subresource

STATEFULSETS = Resource(
    group="apps",
    kind="StatefulSet",
    plural="statefulsets",
    short_names=("sts",),
    categories=("all",),
    schema="io.k8s.api.apps.v1.StatefulSet",
    subresources=(
        Subresource(name="scale", kind="Scale", group="autoscaling", version="v1"),
        Subresource(name="status", shares_object=True),
    ),
    columns=(
        NAME,
        Column("Ready"),
        AGE,
        Column("Containers", priority=1),
        Column("Images", priority=1),
    ),
)
