"""The kinds of batch, one file each; `RESOURCES` is all of them."""

from minikube_py.api.batch.cronjob import CRONJOBS
from minikube_py.api.batch.job import JOBS
from minikube_py.api.resource import Resource

RESOURCES: tuple[Resource, ...] = (
    CRONJOBS,
    JOBS,
)

__all__ = [
    "CRONJOBS",
    "JOBS",
    "RESOURCES",
]
