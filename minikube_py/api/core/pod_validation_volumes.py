"""Checks of the volumes of a pod."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from minikube_py.api import names, quantity, selectors
from minikube_py.api.core import volume_sources as sources
from minikube_py.api.core.claim_validation import validate_claim_template
from minikube_py.api.core.go_values import go_value
from minikube_py.api.core.paths import validate_not_reserved
from minikube_py.api.core.pod_validation_env import (
    VOLUME_FIELDS,
    validate_field_ref,
    validate_resource_ref,
)
from minikube_py.api.fields import Field, FieldError
from minikube_py.api.object import Obj

Volumes = Mapping[str, Obj]
"""The sound volumes of a pod, by name; only these can be mounted."""

_PULL_POLICIES: Final = frozenset({"Always", "IfNotPresent", "Never"})
_TOKEN_SECONDS_MIN: Final = 10 * 60
_TOKEN_SECONDS_MAX: Final = 1 << 32
_CONFLICT: Final = "conflicting duplicate paths"
_KEY_TYPES: Final = ("RSA3072", "RSA4096", "ECDSAP256", "ECDSAP384", "ECDSAP521", "ED25519")
_CERTIFICATE_SECONDS_MIN: Final = 3600
_CERTIFICATE_SECONDS_MAX: Final = 91 * 24 * 3600


def validate_volumes(
    volumes: Sequence[Obj], path: Field, pod_name: str = ""
) -> tuple[Volumes, list[FieldError]]:
    """Return the sound volumes and what is wrong with the others.

    `pod_name` is empty for a template; claims of ephemeral volumes are named after the pod.
    """
    sound: dict[str, Obj] = {}
    errors: list[FieldError] = []
    created = {
        f"{pod_name}-{volume.get('name')}"
        for volume in volumes
        if pod_name and volume.get("ephemeral") is not None
    }
    for index, volume in enumerate(volumes):
        name = volume.get("name") or ""
        found = list(_validate_source(volume, name, pod_name, path[index]))
        found += _validate_volume_name(name, sound, path[index] / "name")
        if found:
            errors += found
        else:
            sound[name] = volume
        claim = (volume.get("persistentVolumeClaim") or {}).get("claimName")
        if created and claim in created:
            at = path[index] / "persistentVolumeClaim" / "claimName"
            errors.append(
                at.invalid(
                    claim, "must not reference a PVC that gets created for an ephemeral volume"
                )
            )
    return sound, errors


def _validate_volume_name(name: str, sound: Volumes, path: Field) -> Iterator[FieldError]:
    if not name:
        yield path.required()
    else:
        for message in names.dns1123_label(name):
            yield path.invalid(name, message)
    if name in sound:
        yield path.duplicate(name)


def _validate_source(volume: Obj, name: str, pod_name: str, path: Field) -> Iterator[FieldError]:
    first = True
    given = _SOURCES.keys() & volume.keys()
    for key in _SOURCES if len(given) > 1 else given:  # of several the order matters
        forbidden_as, checked_as, check = _SOURCES[key]
        if (source := volume.get(key)) is None:
            continue
        if not first:
            yield (path / forbidden_as).forbidden(sources.ONE_TYPE)
        else:
            yield from check(source, path / checked_as)
        if key == "iscsi":
            yield from _validate_initiator(source, name, path)
        elif first and key == "ephemeral" and pod_name and name:
            yield from _validate_claim_name(pod_name, name, path)
        first = False
    if first:
        yield path.required("must specify a volume type")


def _validate_initiator(source: Obj, name: str, path: Field) -> Iterator[FieldError]:
    portal = source.get("targetPortal") or ""
    if source.get("initiatorName") is not None and len(f"{name}:{portal}".encode()) > 64:
        yield (path / "name").invalid(name, sources.INITIATOR_LENGTH)


def _validate_claim_name(pod_name: str, name: str, path: Field) -> Iterator[FieldError]:
    claim = f"{pod_name}-{name}"
    for message in names.dns1123_subdomain(claim):
        yield (path / "name").invalid(name, f'PVC name "{claim}": {message}')


def _validate_empty_dir(source: Obj, path: Field) -> Iterator[FieldError]:
    limit = source.get("sizeLimit")
    if limit is not None and quantity.parse(limit).nanos < 0:
        yield (path / "sizeLimit").forbidden("SizeLimit field must be a valid resource quantity")


def _validate_downward(source: Obj, path: Field) -> Iterator[FieldError]:
    yield from sources.validate_mode(source.get("defaultMode"), path / "defaultMode")
    for file in source.get("items") or ():
        yield from _validate_downward_file(file, path)


def _validate_downward_file(file: Obj, path: Field) -> Iterator[FieldError]:
    target = file.get("path") or ""
    if not target:
        yield (path / "path").required()
    yield from validate_not_reserved(target, path / "path")
    field, resource = file.get("fieldRef"), file.get("resourceFieldRef")
    if field is not None:
        yield from validate_field_ref(field, path / "fieldRef", VOLUME_FIELDS)
        if resource is not None:
            yield path.invalid(
                "resource", "fieldRef and resourceFieldRef can not be specified simultaneously"
            )
    elif resource is not None:
        yield from validate_resource_ref(resource, path / "resourceFieldRef", volume=True)
    else:
        yield path.required("one of fieldRef and resourceFieldRef is required")
    yield from sources.validate_mode(file.get("mode"), path / "mode")


def _validate_projected(source: Obj, path: Field) -> Iterator[FieldError]:
    yield from sources.validate_mode(source.get("defaultMode"), path / "defaultMode")
    seen: set[str] = set()
    for index, projection in enumerate(source.get("sources") or ()):
        at = (path / "sources")[index]
        count = 0
        for key, check in _PROJECTIONS.items():
            if (part := projection.get(key)) is not None:
                count += 1
                yield from check(part, at / key, path, seen)
        if count > 1:
            yield at.forbidden("may not specify more than 1 volume type per source")


def _taken(target: str, seen: set[str]) -> bool:
    """Tell whether a path stands in the volume already, and note it."""
    if target in seen:
        return True
    seen.add(target)
    return False


def _validate_keyed(part: Obj, path: Field, volume: Field, seen: set[str]) -> Iterator[FieldError]:
    name = part.get("name") or ""
    if not name:
        yield (path / "name").required()
    for index, item in enumerate(part.get("items") or ()):
        yield from sources.validate_key_to_path(item, (path / "items")[index])
        if (target := item.get("path")) and _taken(target, seen):
            yield volume.invalid(name, _CONFLICT)


def _validate_projected_downward(
    part: Obj, path: Field, volume: Field, seen: set[str]
) -> Iterator[FieldError]:
    for file in part.get("items") or ():
        yield from _validate_downward_file(file, path)
        if (target := file.get("path")) and _taken(target, seen):
            yield volume.invalid(target, _CONFLICT)


def _validate_token(part: Obj, path: Field, volume: Field, _seen: set[str]) -> Iterator[FieldError]:
    seconds = part.get("expirationSeconds") or 0
    at = path / "expirationSeconds"
    if seconds < _TOKEN_SECONDS_MIN:
        yield at.invalid(seconds, "may not specify a duration less than 10 minutes")
    if seconds > _TOKEN_SECONDS_MAX:
        yield at.invalid(seconds, "may not specify a duration larger than 2^32 seconds")
    target = part.get("path")
    if not target:
        yield (volume / "path").required()
    else:
        yield from validate_not_reserved(target, volume / "path")


def _validate_trust_bundle(
    part: Obj, path: Field, volume: Field, seen: set[str]
) -> Iterator[FieldError]:
    name, signer = part.get("name"), part.get("signerName")
    if name is not None and signer is not None:
        yield path.invalid(
            go_value(part, "ClusterTrustBundleProjection"),
            "only one of name and signerName may be used",
        )
    elif name is not None:
        yield from _validate_bundle_name(part, name, path)
    elif signer is not None:
        if not signer:
            yield (path / "signerName").required("must be a valid signer name")
        yield from validate_signer_name(signer, path / "signerName")
        yield from selectors.validate(part.get("labelSelector"), path / "labelSelector")
    else:
        yield path.required("either name or signerName must be specified")
    target = part.get("path") or ""
    if not target:
        yield (path / "path").required()
    yield from validate_not_reserved(target, path / "path")
    if _taken(target, seen):
        yield volume.invalid(target, _CONFLICT)


def _validate_bundle_name(part: Obj, name: str, path: Field) -> Iterator[FieldError]:
    if not name:
        yield (path / "name").required("must be a valid object name")
    for message in names.dns1123_subdomain(name.rpartition(":")[2]):
        yield (path / "name").invalid(name, f"not a valid clustertrustbundlename: {message}")
    if (selector := part.get("labelSelector")) is not None:
        yield (path / "labelSelector").invalid(
            selector, "labelSelector must be unset if name is specified"
        )


def validate_signer_name(name: str, path: Field) -> Iterator[FieldError]:
    """Report the name of a signer that is no `domain/path`."""
    if not name:
        yield path.required()
        return
    domain, slash, rest = name.partition("/")
    if not slash or "/" in rest:
        yield path.invalid(
            name, "must be a fully qualified domain and path of the form 'example.com/signer-name'"
        )
        return
    for message in names.dns1123_subdomain(domain):
        yield path.invalid(domain, f'validating label "{domain}": {message}')
    if "." not in domain:
        yield path.invalid(
            domain, "should be a domain with at least two segments separated by dots"
        )
    for message in names.dns1123_subdomain(rest):
        yield path.invalid(rest, f'validating label "{rest}": {message}')


def _validate_certificate(
    part: Obj, path: Field, volume: Field, seen: set[str]
) -> Iterator[FieldError]:
    yield from validate_signer_name(part.get("signerName") or "", path / "signerName")
    key_type = part.get("keyType") or ""
    if key_type not in _KEY_TYPES:
        yield (path / "keyType").unsupported(key_type, _KEY_TYPES)
    seconds = part.get("maxExpirationSeconds")
    at = path / "maxExpirationSeconds"
    if seconds is not None and seconds < _CERTIFICATE_SECONDS_MIN:
        yield at.invalid(seconds, "if provided, maxExpirationSeconds must be >= 3600")
    elif seconds is not None and seconds > _CERTIFICATE_SECONDS_MAX:
        yield at.invalid(
            seconds, f"if provided, maxExpirationSeconds must be <= {_CERTIFICATE_SECONDS_MAX}"
        )
    yield from _validate_certificate_paths(part, path, volume, seen)


def _validate_certificate_paths(
    part: Obj, path: Field, volume: Field, seen: set[str]
) -> Iterator[FieldError]:
    count = 0
    for key in ("credentialBundlePath", "keyPath", "certificateChainPath"):
        if target := part.get(key):
            count += 1
            yield from validate_not_reserved(target, path / key)
            if _taken(target, seen):
                yield volume.invalid(target, _CONFLICT)
    if not count:
        yield path.required(
            "specify at least one of credentialBundlePath, keyPath, and certificateChainPath"
        )


_PROJECTIONS: Final = {
    "secret": _validate_keyed,
    "configMap": _validate_keyed,
    "downwardAPI": _validate_projected_downward,
    "serviceAccountToken": _validate_token,
    "clusterTrustBundle": _validate_trust_bundle,
    "podCertificate": _validate_certificate,
}
"""What a projected volume is made of, in the order of the checks."""


def _validate_ephemeral(source: Obj, path: Field) -> Iterator[FieldError]:
    template = source.get("volumeClaimTemplate")
    if template is None:
        yield (path / "volumeClaimTemplate").required()
        return
    yield from validate_claim_template(template, path / "volumeClaimTemplate")


def _validate_image(source: Obj, path: Field) -> Iterator[FieldError]:
    policy = source.get("pullPolicy") or ""
    if not policy:
        yield (path / "pullPolicy").required()
    elif policy not in _PULL_POLICIES:
        yield (path / "pullPolicy").unsupported(policy, _PULL_POLICIES)


_SOURCES: Final[Mapping[str, tuple[str, str, sources.Check]]] = {
    "emptyDir": ("emptyDir", "emptyDir", _validate_empty_dir),
    "hostPath": ("hostPath", "hostPath", sources.validate_host_path),
    "gitRepo": ("gitRepo", "gitRepo", sources.validate_git_repo),
    "gcePersistentDisk": (
        "gcePersistentDisk",
        "persistentDisk",
        sources.partitioned("pdName"),
    ),
    "awsElasticBlockStore": (
        "awsElasticBlockStore",
        "awsElasticBlockStore",
        sources.partitioned("volumeID"),
    ),
    "secret": ("secret", "secret", sources.keyed("secretName")),
    "nfs": ("nfs", "nfs", sources.validate_nfs),
    "iscsi": ("iscsi", "iscsi", sources.validate_iscsi),
    "glusterfs": ("glusterfs", "glusterfs", sources.requires("endpoints", "path")),
    "flocker": ("flocker", "flocker", sources.validate_flocker),
    "persistentVolumeClaim": (
        "persistentVolumeClaim",
        "persistentVolumeClaim",
        sources.requires("claimName"),
    ),
    "rbd": ("rbd", "rbd", sources.requires("monitors", "image")),
    "cinder": ("cinder", "cinder", sources.validate_cinder),
    "cephfs": ("cephFS", "cephfs", sources.requires("monitors")),
    "quobyte": ("quobyte", "quobyte", sources.validate_quobyte),
    "downwardAPI": ("downwarAPI", "downwardAPI", _validate_downward),
    "fc": ("fc", "fc", sources.validate_fc),
    "flexVolume": ("flexVolume", "flexVolume", sources.validate_flex),
    "configMap": ("configMap", "configMap", sources.keyed("name")),
    "azureFile": ("azureFile", "azureFile", sources.requires("secretName", "shareName")),
    "vsphereVolume": ("vsphereVolume", "vsphereVolume", sources.requires("volumePath")),
    "photonPersistentDisk": (
        "photonPersistentDisk",
        "photonPersistentDisk",
        sources.requires("pdID"),
    ),
    "portworxVolume": ("portworxVolume", "portworxVolume", sources.requires("volumeID")),
    "azureDisk": ("azureDisk", "azureDisk", sources.validate_azure_disk),
    "storageos": ("storageos", "storageos", sources.validate_storage_os),
    "projected": ("projected", "projected", _validate_projected),
    "scaleIO": ("scaleIO", "scaleIO", sources.requires("gateway", "system", "volumeName")),
    "csi": ("csi", "csi", sources.validate_csi),
    "ephemeral": ("ephemeral", "ephemeral", _validate_ephemeral),
    "image": ("image", "image", _validate_image),
}
"""By key in JSON: the path of "more than 1", the path of the check (upstream's spelling), the
check. The order is that of the checks."""
