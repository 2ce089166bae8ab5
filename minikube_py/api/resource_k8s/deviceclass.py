"""Device classes: kinds of devices that claims ask for."""

from collections.abc import Iterator

from minikube_py.api import strategy
from minikube_py.api.core.resources import is_extended
from minikube_py.api.fields import Field, FieldError
from minikube_py.api.object import Obj
from minikube_py.api.resource import Resource
from minikube_py.api.resource_k8s import requests

SPEC = Field("spec")


def default(device_class: Obj) -> Obj:
    """Fill in what is always shown."""
    return strategy.with_absent(device_class, {"spec": {}})


def validate(new: Obj, _old: Obj | None) -> Iterator[FieldError]:
    """Report what is wrong with a new or updated class."""
    spec = new["spec"]
    yield from requests.validate_selectors(spec.get("selectors") or (), SPEC / "selectors")
    yield from requests.validate_list(
        spec.get("config") or (), requests.CONFIGS_MAX, SPEC / "config", requests.validate_config
    )
    name = spec.get("extendedResourceName")
    if name is not None and not is_extended(name):
        yield (SPEC / "extendedResourceName").invalid(
            name, "must be a valid extended resource name"
        )


DEVICECLASSES = Resource(
    group=requests.GROUP,
    kind="DeviceClass",
    plural="deviceclasses",
    raw_paths=(("spec", "config", "[]", "opaque", "parameters"),),
    namespaced=False,
    schema="io.k8s.api.resource.v1.DeviceClass",
    default=default,
    prepare_for_create=strategy.creating(),
    prepare_for_update=strategy.updating("spec", keep=()),
    validate=validate,
    returns_deleted_object=True,
)
