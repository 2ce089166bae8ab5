"""Horizontal pod autoscalers: a number of replicas that follows metrics."""

from minikube_py.api.resource import AGE, NAME, Column, Resource, Subresource

HORIZONTALPODAUTOSCALERS_V1 = Resource(
    group="autoscaling",
    stored_version="v2",
    kind="HorizontalPodAutoscaler",
    plural="horizontalpodautoscalers",
    short_names=("hpa",),
    categories=("all",),
    schema="io.k8s.api.autoscaling.v1.HorizontalPodAutoscaler",
    subresources=(Subresource(name="status", shares_object=True),),
    columns=(
        NAME,
        Column("Reference"),
        Column("Targets"),
        Column("MinPods"),
        Column("MaxPods"),
        Column("Replicas"),
        AGE,
    ),
)
