"""Jobs: pods that run to completion."""

from minikube_py.api.object import get
from minikube_py.api.resource import AGE, NAME, Column, Resource, Subresource

JOBS = Resource(
    group="batch",
    kind="Job",
    plural="jobs",
    categories=("all",),
    schema="io.k8s.api.batch.v1.Job",
    subresources=(Subresource(name="status", shares_object=True),),
    columns=(
        NAME,
        Column("Status"),
        Column("Completions"),
        Column("Duration"),
        AGE,
        Column("Containers", priority=1),
        Column("Images", priority=1),
        Column("Selector", priority=1),
    ),
    selectable_fields={
        "status.successful": lambda job: str(get(job, "status.succeeded", 0)),
    },
)
