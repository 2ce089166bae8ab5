"""Cron jobs: a Job at every time of a schedule."""

from minikube_py.api.resource import AGE, NAME, Column, Resource, Subresource

CRONJOBS = Resource(
    group="batch",
    kind="CronJob",
    plural="cronjobs",
    short_names=("cj",),
    categories=("all",),
    schema="io.k8s.api.batch.v1.CronJob",
    subresources=(Subresource(name="status", shares_object=True),),
    columns=(
        NAME,
        Column("Schedule"),
        Column("Timezone"),
        Column("Suspend", "boolean"),
        Column("Active", "integer"),
        Column("Last Schedule"),
        AGE,
        Column("Containers", priority=1),
        Column("Images", priority=1),
        Column("Selector", priority=1),
    ),
)
