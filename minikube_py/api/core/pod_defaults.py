"""What a pod, or the template of one, gets where its author said nothing.

The values are those of upstream's `pkg/apis/core/v1/defaults.go`. A pod gets a little more than a
template: links to services, requests from limits, host ports on the host network. Everything runs
on each write, so that what is complete already comes back as the same object.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any, Final

from minikube_py.api import quantity
from minikube_py.api.core.claim_defaults import default_claim_template
from minikube_py.api.core.pod_resources import default_pod_resources
from minikube_py.api.object import Obj

FILE_MODE: Final = 0o644
"""Mode of files in projected volumes."""
TOKEN_EXPIRATION_SECONDS: Final = 3600
CERTIFICATE_EXPIRATION_SECONDS: Final = 86400

_LABEL = "[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?"
_DOMAIN = rf"(?:{_LABEL}(?:\.{_LABEL})*|\[[a-fA-F0-9:]+\])(?::[0-9]+)?/"
_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_DIGEST = r"[A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{32,}"
_REFERENCE = re.compile(
    rf"(?:{_DOMAIN})?{_COMPONENT}(?:/{_COMPONENT})*(?::(?P<tag>\w[\w.-]{{0,127}}))?"
    rf"(?:@(?P<digest>{_DIGEST}))?",
    re.ASCII,
)

_CONTAINER: Final = {
    "terminationMessagePath": "/dev/termination-log",
    "terminationMessagePolicy": "File",
}
_PROBE: Final = {
    "timeoutSeconds": 1,
    "periodSeconds": 10,
    "successThreshold": 1,
    "failureThreshold": 3,
}
_SPEC: Final = {
    "dnsPolicy": "ClusterFirst",
    "restartPolicy": "Always",
    "schedulerName": "default-scheduler",
}
_RBD: Final = {"pool": "rbd", "user": "admin", "keyring": "/etc/ceph/keyring"}
_SCALE_IO: Final = {"storageMode": "ThinProvisioned", "fsType": "xfs"}
_AZURE_DISK: Final = {"cachingMode": "ReadWrite", "fsType": "ext4", "kind": "Shared"}
_VOLUME_TYPES: Final = frozenset(
    {
        "awsElasticBlockStore", "azureDisk", "azureFile", "cephfs", "cinder", "configMap", "csi",
        "downwardAPI", "emptyDir", "ephemeral", "fc", "flexVolume", "flocker", "gcePersistentDisk",
        "gitRepo", "glusterfs", "hostPath", "image", "iscsi", "nfs", "persistentVolumeClaim",
        "photonPersistentDisk", "portworxVolume", "projected", "quobyte", "rbd", "scaleIO",
        "secret", "storageos", "vsphereVolume",
    }
)  # fmt: skip


def with_values(obj: Obj, changes: Mapping[str, Any]) -> Obj:
    """Return the object with changed values, or itself where there are none."""
    return {**obj, **changes} if changes else obj


def with_absent(obj: Obj, values: Mapping[str, Any]) -> Obj:
    """Return the object with values for what is absent or zero in it."""
    return with_values(obj, {key: value for key, value in values.items() if not obj.get(key)})


def each(items: Sequence[Obj], change: Callable[[Obj], Obj]) -> Sequence[Obj]:
    """Return the list with each item changed, or itself where none changes."""
    changed: list[Obj] | None = None
    for index, item in enumerate(items):
        new = change(item)
        if new is not item:
            changed = list(items) if changed is None else changed
            changed[index] = new
    return items if changed is None else changed


def _update(changes: dict[str, Any], obj: Obj, key: str, change: Callable[[Any], Any]) -> None:
    """Note the changed value of a key, where it is there and does change."""
    value = obj.get(key)
    if value is not None and (changed := change(value)) is not value:
        changes[key] = changed


def default_pod(pod: Obj) -> Obj:
    """Fill in what the user left out of a pod."""
    spec = pod.get("spec") or {}
    defaulted = _default_only_in_pods(default_pod_spec(spec))
    changes: dict[str, Any] = {} if defaulted is spec else {"spec": defaulted}
    if "status" not in pod:
        changes["status"] = {}
    return with_values(pod, changes)


def default_pod_template(template: Obj) -> Obj:
    """Fill in what the user left out of a pod template."""
    changes: dict[str, Any] = {}
    if "metadata" not in template:
        changes["metadata"] = {}
    spec = template.get("spec") or {}
    defaulted = default_pod_spec(spec)
    if defaulted is not spec:
        changes["spec"] = defaulted
    return with_values(template, changes)


def default_pod_spec(spec: Obj) -> Obj:
    """Fill in what the user left out of a pod's spec, in a pod or in a template."""
    changes: dict[str, Any] = {key: value for key, value in _SPEC.items() if not spec.get(key)}
    if spec.get("securityContext") is None:
        changes["securityContext"] = {}
    if spec.get("terminationGracePeriodSeconds") is None:
        changes["terminationGracePeriodSeconds"] = 30
    account = spec.get("serviceAccountName") or spec.get("serviceAccount")
    if account and spec.get("serviceAccount") != spec.get("serviceAccountName"):
        changes["serviceAccountName"] = changes["serviceAccount"] = account
    for key in ("containers", "initContainers", "ephemeralContainers"):
        _update(changes, spec, key, _default_containers)
    _update(changes, spec, "volumes", _default_volumes)
    _update(changes, spec, "overhead", round_resources)
    _update(changes, spec, "resources", default_resources)
    return with_values(spec, changes)


def _default_containers(containers: Sequence[Obj]) -> Sequence[Obj]:
    return each(containers, default_container)


def _default_volumes(volumes: Sequence[Obj]) -> Sequence[Obj]:
    return each(volumes, default_volume)


def _default_only_in_pods(spec: Obj) -> Obj:
    changes: dict[str, Any] = {}
    if spec.get("enableServiceLinks") is None:
        changes["enableServiceLinks"] = True
    for key in ("containers", "initContainers"):
        _update(changes, spec, key, _requests_from_limits)
    spec = default_pod_resources(with_values(spec, changes))
    if not spec.get("hostNetwork"):
        return spec
    changes = {}
    for key in ("containers", "initContainers"):
        _update(changes, spec, key, _host_ports)
    return with_values(spec, changes)


def _requests_from_limits(containers: Sequence[Obj]) -> Sequence[Obj]:
    return each(containers, _container_requests)


def _container_requests(container: Obj) -> Obj:
    resources = container.get("resources") or {}
    limits = resources.get("limits")
    if not limits:
        return container
    requests = resources.get("requests") or {}
    missing = {name: amount for name, amount in limits.items() if name not in requests}
    if not missing:
        return container
    return {**container, "resources": {**resources, "requests": {**requests, **missing}}}


def _host_ports(containers: Sequence[Obj]) -> Sequence[Obj]:
    return each(containers, _container_host_ports)


def _container_host_ports(container: Obj) -> Obj:
    changes: dict[str, Any] = {}
    _update(changes, container, "ports", lambda ports: each(ports, _host_port))
    return with_values(container, changes)


def _host_port(port: Obj) -> Obj:
    if port.get("hostPort") or not port.get("containerPort"):
        return port
    return {**port, "hostPort": port["containerPort"]}


@lru_cache(maxsize=4096)
def pull_policy(image: str) -> str:
    """Return the policy of an image: Always where its tag is, or would be, `latest`."""
    match = _REFERENCE.fullmatch(image)
    if match is None:
        return "IfNotPresent"
    tag = match["tag"] or ("" if match["digest"] else "latest")
    return "Always" if tag == "latest" else "IfNotPresent"


def default_container(container: Obj) -> Obj:
    """Fill in what the user left out of a container of any sort."""
    changes: dict[str, Any] = {k: v for k, v in _CONTAINER.items() if not container.get(k)}
    if not container.get("imagePullPolicy"):
        changes["imagePullPolicy"] = pull_policy(container.get("image") or "")
    if container.get("resources") is None:
        changes["resources"] = {}
    else:
        _update(changes, container, "resources", default_resources)
    for key, change in _CONTAINER_PARTS:
        if key in container:
            _update(changes, container, key, change)
    return with_values(container, changes)


def _default_port(port: Obj) -> Obj:
    return port if port.get("protocol") else {**port, "protocol": "TCP"}


def _default_env(variable: Obj) -> Obj:
    source = variable.get("valueFrom")
    if not source:
        return variable
    changes: dict[str, Any] = {}
    _update(changes, source, "fieldRef", _default_field_ref)
    _update(changes, source, "resourceFieldRef", _default_resource_ref)
    _update(changes, source, "fileKeyRef", _default_file_ref)
    return {**variable, "valueFrom": {**source, **changes}} if changes else variable


def _default_field_ref(reference: Obj) -> Obj:
    return reference if reference.get("apiVersion") else {**reference, "apiVersion": "v1"}


def _default_resource_ref(reference: Obj) -> Obj:
    return reference if reference.get("divisor") is not None else {**reference, "divisor": "0"}


def _default_file_ref(reference: Obj) -> Obj:
    return reference if reference.get("optional") is not None else {**reference, "optional": False}


def default_probe(probe: Obj) -> Obj:
    """Fill in what the user left out of a probe."""
    changes: dict[str, Any] = {key: value for key, value in _PROBE.items() if not probe.get(key)}
    _update(changes, probe, "httpGet", _default_http_get)
    _update(changes, probe, "grpc", _default_grpc)
    return with_values(probe, changes)


def _default_http_get(action: Obj) -> Obj:
    return with_absent(action, {"path": "/", "scheme": "HTTP"})


def _default_grpc(action: Obj) -> Obj:
    return action if action.get("service") is not None else {**action, "service": ""}


def _default_lifecycle(lifecycle: Obj) -> Obj:
    changes: dict[str, Any] = {}
    for key in ("postStart", "preStop"):
        _update(changes, lifecycle, key, _default_hook)
    return with_values(lifecycle, changes)


def _default_hook(hook: Obj) -> Obj:
    changes: dict[str, Any] = {}
    _update(changes, hook, "httpGet", _default_http_get)
    return with_values(hook, changes)


def default_resources(resources: Obj) -> Obj:
    """Round the amounts of resource requirements to what is stored."""
    changes: dict[str, Any] = {}
    _update(changes, resources, "limits", round_resources)
    _update(changes, resources, "requests", round_resources)
    return with_values(resources, changes)


def round_resources(amounts: Mapping[str, str]) -> Mapping[str, str]:
    """Return amounts rounded up to thousandths, as upstream stores resource lists."""
    changes = {
        name: str(quantity.of_milli(parsed.milli_value(), parsed.format))
        for name, amount in amounts.items()
        if (parsed := quantity.parse(amount)).nanos % 1_000_000
    }
    return {**amounts, **changes} if changes else amounts


_CONTAINER_PARTS: Final[tuple[tuple[str, Callable[[Any], Any]], ...]] = (
    ("ports", lambda ports: each(ports, _default_port)),
    ("env", lambda variables: each(variables, _default_env)),
    ("livenessProbe", default_probe),
    ("readinessProbe", default_probe),
    ("startupProbe", default_probe),
    ("lifecycle", _default_lifecycle),
)


def default_volume(volume: Obj) -> Obj:
    """Fill in what the user left out of a volume; one of no type is an empty directory."""
    changes: dict[str, Any] = {}
    found = False
    for key in volume:
        if key in _VOLUME_TYPES and volume[key] is not None:
            found = True
            if key in _VOLUMES:
                _update(changes, volume, key, _VOLUMES[key])
    if not found:
        changes["emptyDir"] = {}
    return with_values(volume, changes)


def _default_mode(source: Obj) -> Obj:
    if source.get("defaultMode") is not None:
        return source
    return {**source, "defaultMode": FILE_MODE}


def _default_downward(source: Obj) -> Obj:
    changes: dict[str, Any] = {}
    _update(changes, source, "items", lambda items: each(items, _default_downward_file))
    return _default_mode(with_values(source, changes))


def _default_downward_file(file: Obj) -> Obj:
    changes: dict[str, Any] = {}
    _update(changes, file, "fieldRef", _default_field_ref)
    _update(changes, file, "resourceFieldRef", _default_resource_ref)
    return with_values(file, changes)


def _default_projected(source: Obj) -> Obj:
    changes: dict[str, Any] = {}
    _update(changes, source, "sources", lambda sources: each(sources, _default_projection))
    return _default_mode(with_values(source, changes))


def _default_projection(projection: Obj) -> Obj:
    changes: dict[str, Any] = {}
    _update(changes, projection, "serviceAccountToken", _default_token)
    _update(changes, projection, "downwardAPI", _default_downward_projection)
    _update(changes, projection, "podCertificate", _default_certificate)
    return with_values(projection, changes)


def _default_token(token: Obj) -> Obj:
    if token.get("expirationSeconds") is not None:
        return token
    return {**token, "expirationSeconds": TOKEN_EXPIRATION_SECONDS}


def _default_certificate(certificate: Obj) -> Obj:
    if certificate.get("maxExpirationSeconds") is not None:
        return certificate
    return {**certificate, "maxExpirationSeconds": CERTIFICATE_EXPIRATION_SECONDS}


def _default_downward_projection(source: Obj) -> Obj:
    changes: dict[str, Any] = {}
    _update(changes, source, "items", lambda items: each(items, _default_downward_file))
    return with_values(source, changes)


def default_host_path(source: Obj) -> Obj:
    """Fill in the type of a hostPath: no check at all."""
    return source if source.get("type") is not None else {**source, "type": ""}


def default_iscsi(source: Obj) -> Obj:
    """Fill in the interface of an iSCSI volume."""
    return with_absent(source, {"iscsiInterface": "default"})


def default_rbd(source: Obj) -> Obj:
    """Fill in pool, user and keyring of a RADOS block device."""
    return with_absent(source, _RBD)


def default_azure_disk(source: Obj) -> Obj:
    """Fill in caching, type and kind of an Azure disk."""
    changes: dict[str, Any] = {k: v for k, v in _AZURE_DISK.items() if source.get(k) is None}
    if source.get("readOnly") is None:
        changes["readOnly"] = False
    return with_values(source, changes)


def default_scale_io(source: Obj) -> Obj:
    """Fill in storage mode and file system of a ScaleIO volume."""
    return with_absent(source, _SCALE_IO)


def _default_ephemeral(source: Obj) -> Obj:
    changes: dict[str, Any] = {}
    _update(changes, source, "volumeClaimTemplate", default_claim_template)
    return with_values(source, changes)


def _default_image(source: Obj) -> Obj:
    if source.get("pullPolicy"):
        return source
    return {**source, "pullPolicy": pull_policy(source.get("reference") or "")}


_VOLUMES: Final[Mapping[str, Callable[[Any], Any]]] = {
    "secret": _default_mode,
    "configMap": _default_mode,
    "downwardAPI": _default_downward,
    "projected": _default_projected,
    "hostPath": default_host_path,
    "iscsi": default_iscsi,
    "rbd": default_rbd,
    "azureDisk": default_azure_disk,
    "scaleIO": default_scale_io,
    "ephemeral": _default_ephemeral,
    "image": _default_image,
}
