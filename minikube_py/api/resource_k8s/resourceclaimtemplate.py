"""Resource claim templates: a claim for every pod."""

from collections.abc import Iterator, Mapping

from minikube_py.api.core.claim_validation import validate_template_metadata
from minikube_py.api.core.go_values import go_value
from minikube_py.api.fields import Field, FieldError
from minikube_py.api.object import Obj, get
from minikube_py.api.resource import Resource
from minikube_py.api.resource_k8s import requests
from minikube_py.api.resource_k8s.resourceclaim import default_spec
from minikube_py.api.strategy import changed, with_absent

SPEC = Field("spec")


def default(template: Obj) -> Obj:
    """Fill in what the user left out."""
    template = with_absent(template, {"spec": {}})
    template = changed(
        template, "spec", lambda spec: with_absent(spec, {"metadata": {}, "spec": {}})
    )
    return changed(template, "spec", lambda spec: changed(spec, "spec", default_spec))


def validate(new: Obj, old: Obj | None) -> Iterator[FieldError]:
    """Report what is wrong with a new or updated template; its spec never changes."""
    if old is not None:
        if new["spec"] != old["spec"]:
            yield SPEC.immutable(go_value(new["spec"], "ResourceClaimTemplateSpec"))
        return
    yield from validate_template_metadata(new["spec"].get("metadata") or {}, SPEC / "metadata")
    devices = new["spec"]["spec"]["devices"]
    yield from requests.validate_devices(devices, SPEC / "spec" / "devices")


def validate_in_namespace(
    new: Obj, old: Obj | None, labels: Mapping[str, str]
) -> Iterator[FieldError]:
    """Report requests for admin access that the namespace does not allow; asked once only."""
    if old is None:
        wanted = get(new, "spec.spec.devices.requests") or ()
        yield from requests.validate_admin_access(wanted, labels, SPEC / "devices" / "requests")


RESOURCECLAIMTEMPLATES = Resource(
    group=requests.GROUP,
    kind="ResourceClaimTemplate",
    plural="resourceclaimtemplates",
    raw_paths=(("spec", "spec", "devices", "config", "[]", "opaque", "parameters"),),
    schema="io.k8s.api.resource.v1.ResourceClaimTemplate",
    default=default,
    validate=validate,
    validate_in_namespace=validate_in_namespace,
    returns_deleted_object=True,
)
