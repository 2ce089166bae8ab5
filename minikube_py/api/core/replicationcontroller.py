"""Replication controllers: a number of equal pods, the ancestor of replica sets."""

from minikube_py.api.object import get
from minikube_py.api.resource import AGE, NAME, Column, Resource, Subresource

REPLICATIONCONTROLLERS = Resource(
    kind="ReplicationController",
    plural="replicationcontrollers",
    short_names=("rc",),
    categories=("all",),
    schema="io.k8s.api.core.v1.ReplicationController",
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
    default_garbage_collection="Orphan",
    selectable_fields={"status.replicas": lambda rc: str(get(rc, "status.replicas", 0))},
)
