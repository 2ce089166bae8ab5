"""Daemon sets: one pod on every node that fits."""

from minikube_py.api.resource import AGE, NAME, Column, Resource, Subresource

DAEMONSETS = Resource(
    group="apps",
    kind="DaemonSet",
    plural="daemonsets",
    short_names=("ds",),
    categories=("all",),
    schema="io.k8s.api.apps.v1.DaemonSet",
    subresources=(Subresource(name="status", shares_object=True),),
    columns=(
        NAME,
        Column("Desired", "integer"),
        Column("Current", "integer"),
        Column("Ready", "integer"),
        Column("Up-to-date", "integer"),
        Column("Available", "integer"),
        Column("Node Selector"),
        AGE,
        Column("Containers", priority=1),
        Column("Images", priority=1),
        Column("Selector", priority=1),
    ),
)
