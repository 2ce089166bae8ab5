"""Device classes: kinds of devices that claims ask for."""

from collections.abc import Iterator

from minikube_py.api import strategy
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
    configs = spec.get("config") or ()
    for index, config in enumerate(configs):
        yield from requests.validate_config(config, (SPEC / "config")[index])
    if len(configs) > requests.CONFIGS_MAX:
        yield (SPEC / "config").too_many(len(configs), requests.CONFIGS_MAX)


DEVICECLASSES = Resource(
    group=requests.GROUP,
    kind="DeviceClass",
    plural="deviceclasses",
    namespaced=False,
    schema="io.k8s.api.resource.v1.DeviceClass",
    default=default,
    prepare_for_create=strategy.creating(),
    prepare_for_update=strategy.updating("spec", keep=()),
    validate=validate,
    returns_deleted_object=True,
)
