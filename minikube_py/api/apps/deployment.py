"""Deployments: replica sets that replace each other at a measured pace."""

from minikube_py.api.resource import AGE, NAME, Column, Resource, Subresource

DEPLOYMENTS = Resource(
    group="apps",
    kind="Deployment",
    plural="deployments",
    short_names=("deploy",),
    categories=("all",),
    schema="io.k8s.api.apps.v1.Deployment",
    subresources=(
        Subresource(name="scale", kind="Scale", group="autoscaling", version="v1"),
        Subresource(name="status", shares_object=True),
    ),
    columns=(
        NAME,
        Column("Ready"),
        Column("Up-to-date"),
        Column("Available"),
        AGE,
        Column("Containers", priority=1),
        Column("Images", priority=1),
        Column("Selector", priority=1),
    ),
)
