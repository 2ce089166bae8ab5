"""The kinds of autoscaling, one file each; `RESOURCES` is all of them."""

from minikube_py.api.autoscaling.horizontalpodautoscaler import HORIZONTALPODAUTOSCALERS
from minikube_py.api.autoscaling.horizontalpodautoscaler_v1 import HORIZONTALPODAUTOSCALERS_V1
from minikube_py.api.resource import Resource

RESOURCES: tuple[Resource, ...] = (
    HORIZONTALPODAUTOSCALERS,
    HORIZONTALPODAUTOSCALERS_V1,
)

__all__ = [
    "HORIZONTALPODAUTOSCALERS",
    "HORIZONTALPODAUTOSCALERS_V1",
    "RESOURCES",
]
