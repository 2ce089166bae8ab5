"""Checks of the sources that volumes of pods and persistent volumes have in common."""

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from minikube_py.api import names
from minikube_py.api.core.paths import (
    validate_descending,
    validate_no_backsteps,
    validate_not_reserved,
)
from minikube_py.api.fields import Field, FieldError
from minikube_py.api.object import Obj

Check = Callable[[Obj, Field], Iterator[FieldError]]

ONE_TYPE: Final = "may not specify more than 1 volume type"
INITIATOR_LENGTH: Final = (
    "Total length of <volume name>:<iscsi.targetPortal> must be under 64 characters "
    "if iscsi.initiatorName is specified."
)
FILE_MODE: Final = "must be a number between 0 and 0777 (octal), both inclusive"

_HOST_PATH_TYPES: Final = frozenset(
    {
        "",
        "DirectoryOrCreate",
        "Directory",
        "FileOrCreate",
        "File",
        "Socket",
        "CharDevice",
        "BlockDevice",
    }
)
_IQN: Final = re.compile(r"iqn\.\d{4}-\d{2}\.([a-zA-Z0-9.-]+)(:[^,;*&$|\s]+)$", re.ASCII)
_EUI: Final = re.compile(r"eui.[a-zA-Z0-9]{16}", re.ASCII)
_NAA: Final = re.compile(r"naa.[a-zA-Z0-9]{32}", re.ASCII)
_CACHING: Final = frozenset({"None", "ReadOnly", "ReadWrite"})
_DISK_KINDS: Final = frozenset({"Shared", "Dedicated", "Managed"})
_MANAGED_URI: Final = (
    "/subscriptions/{sub-id}/resourcegroups/{group-name}"
    "/providers/microsoft.compute/disks/{disk-id}"
)
_BLOB_URI: Final = "https://{account-name}.blob.core.windows.net/{container-name}/{disk-name}.vhd"
_HOST_PORTS: Final = "must be a host:port pair or multiple pairs separated by commas"


def required(source: Obj, path: Field, *keys: str) -> Iterator[FieldError]:
    """Report fields that are absent or empty."""
    for key in keys:
        if not source.get(key):
            yield (path / key).required()


def requires(*keys: str) -> Check:
    """Return the check that reports these fields where they are absent or empty."""

    def check(source: Obj, path: Field) -> Iterator[FieldError]:
        yield from required(source, path, *keys)

    return check


def validate_mode(mode: int | None, path: Field) -> Iterator[FieldError]:
    """Report a file mode with other bits than the permissions."""
    if mode is not None and not 0 <= mode <= 0o777:
        yield path.invalid(mode, FILE_MODE)


def validate_host_path(source: Obj, path: Field) -> Iterator[FieldError]:
    """Report a hostPath without a path, one that leads upwards, an unknown type."""
    value = source.get("path")
    if not value:
        yield (path / "path").required()
        return
    yield from validate_no_backsteps(value, path / "path")
    kind = source.get("type")
    if kind is not None and kind not in _HOST_PATH_TYPES:
        yield (path / "type").unsupported(kind, _HOST_PATH_TYPES)


def validate_git_repo(source: Obj, path: Field) -> Iterator[FieldError]:
    """Report a repository without an address or with a directory outside the volume."""
    yield from required(source, path, "repository")
    yield from validate_descending(source.get("directory") or "", path / "directory")


def validate_iscsi(source: Obj, path: Field) -> Iterator[FieldError]:
    """Report what is wrong with an iSCSI target of a pod."""
    yield from required(source, path, "targetPortal")
    yield from _validate_iqn(
        source, path, "must be valid format starting with iqn, eui, or naa", "initiatorname"
    )


def validate_iscsi_persistent(source: Obj, path: Field) -> Iterator[FieldError]:
    """Report what is wrong with the iSCSI target of a persistent volume."""
    yield from required(source, path, "targetPortal")
    yield from _validate_iqn(source, path, "must be valid format", "initiatorname")
    if (secret := source.get("secretRef")) is not None:
        yield from required(secret, path / "secretRef", "name")


def _validate_iqn(
    source: Obj, path: Field, bad_start: str, initiator_key: str
) -> Iterator[FieldError]:
    iqn = source.get("iqn")
    if not iqn:
        yield (path / "iqn").required()
    elif message := _iqn_message(iqn, bad_start):
        yield (path / "iqn").invalid(iqn, message)
    lun = source.get("lun") or 0
    if not 0 <= lun <= 255:
        yield (path / "lun").invalid(lun, names.range_message(0, 255))
    chap = source.get("chapAuthDiscovery") or source.get("chapAuthSession")
    if chap and source.get("secretRef") is None:
        yield (path / "secretRef").required()
    initiator = source.get("initiatorName")
    if initiator is not None and (message := _iqn_message(initiator, bad_start)):
        yield (path / initiator_key).invalid(initiator, message)


def _iqn_message(name: str, bad_start: str) -> str:
    expressions = {"iqn": _IQN.search, "eui": _EUI.fullmatch, "naa": _NAA.fullmatch}
    matches = expressions.get(name[:3])
    if matches is None:
        return bad_start
    return "" if matches(name) else "must be valid format"


def validate_fc(source: Obj, path: Field) -> Iterator[FieldError]:
    """Report what is wrong with a fibre channel."""
    targets: Sequence[str] = source.get("targetWWNs") or ()
    wwids = source.get("wwids")
    if not targets and not wwids:
        yield (path / "targetWWNs").required(
            "must specify either targetWWNs or wwids, but not both"
        )
    if targets and wwids:
        yield (path / "targetWWNs").invalid(
            targets, "targetWWNs and wwids can not be specified simultaneously"
        )
    if not targets:
        return
    lun = source.get("lun")
    if lun is None:
        yield (path / "lun").required("lun is required if targetWWNs is specified")
    elif not 0 <= lun <= 255:
        yield (path / "lun").invalid(lun, names.range_message(0, 255))


def partitioned(key: str) -> Check:
    """Return the check of a disk in the cloud, named by `key`, with a partition."""

    def check(source: Obj, path: Field) -> Iterator[FieldError]:
        yield from required(source, path, key)
        partition = source.get("partition") or 0
        if not 0 <= partition <= 255:
            yield (path / "partition").invalid(partition, names.range_message(1, 255))

    return check


def validate_quobyte(source: Obj, path: Field) -> Iterator[FieldError]:
    """Report what is wrong with a Quobyte volume."""
    registry = source.get("registry") or ""
    if not registry:
        yield (path / "registry").required(_HOST_PORTS)
    elif len(source.get("tenant") or "") >= 65:
        yield (path / "tenant").required(
            "must be a UUID and may not exceed a length of 64 characters"
        )
    else:
        for pair in registry.split(","):
            if not _is_host_port(pair):
                yield (path / "registry").invalid(registry, _HOST_PORTS)
    yield from required(source, path, "volume")


def _is_host_port(text: str) -> bool:
    """Tell whether Go's `net.SplitHostPort` takes the text."""
    if text.startswith("["):
        host, closed, port = text.rpartition("]:")
        return bool(closed) and "[" not in host[1:] and "]" not in port
    return text.count(":") == 1 and "[" not in text and "]" not in text


def validate_flocker(source: Obj, path: Field) -> Iterator[FieldError]:
    """Report what is wrong with a Flocker data set."""
    name, uuid = source.get("datasetName") or "", source.get("datasetUUID")
    if not name and not uuid:
        yield path.required("one of datasetName and datasetUUID is required")
    if name and uuid:
        yield path.invalid(
            "resource", "datasetName and datasetUUID can not be specified simultaneously"
        )
    if "/" in name:
        yield (path / "datasetName").invalid(name, "must not contain '/'")


def validate_nfs(source: Obj, path: Field) -> Iterator[FieldError]:
    """Report what is wrong with an NFS export."""
    yield from required(source, path, "server", "path")
    exported = source.get("path") or ""
    if not exported.startswith("/"):
        yield (path / "path").invalid(exported, "must be an absolute path")


def validate_cinder(source: Obj, path: Field) -> Iterator[FieldError]:
    """Report what is wrong with a Cinder volume of a pod."""
    yield from required(source, path, "volumeID")
    if (secret := source.get("secretRef")) is not None:
        yield from required(secret, path / "secretRef", "name")


def validate_cinder_persistent(source: Obj, path: Field) -> Iterator[FieldError]:
    """Report what is wrong with a persistent Cinder volume."""
    yield from required(source, path, "volumeID")
    if (secret := source.get("secretRef")) is not None:
        yield from required(secret, path / "secretRef", "name", "namespace")


def validate_flex(source: Obj, path: Field) -> Iterator[FieldError]:
    """Report a flex volume without a driver or with options that are reserved."""
    yield from required(source, path, "driver")
    for key in source.get("options") or ():
        domain = f".{key.partition('/')[0].lower()}"
        if domain.endswith((".kubernetes.io", ".k8s.io")):
            yield (path / "options")[key].invalid(
                key, "kubernetes.io and k8s.io namespaces are reserved"
            )


def validate_azure_file_persistent(source: Obj, path: Field) -> Iterator[FieldError]:
    """Report what is wrong with a persistent share of Azure."""
    yield from required(source, path, "secretName", "shareName")
    if source.get("secretNamespace") == "":
        yield (path / "secretNamespace").required()


def validate_azure_disk(source: Obj, path: Field) -> Iterator[FieldError]:
    """Report what is wrong with a disk of Azure."""
    yield from required(source, path, "diskName", "diskURI")
    caching, kind = source.get("cachingMode"), source.get("kind")
    uri = source.get("diskURI") or ""
    if caching is not None and caching not in _CACHING:
        yield (path / "cachingMode").unsupported(caching, _CACHING)
    if kind is None:
        return
    if kind not in _DISK_KINDS:
        yield (path / "kind").unsupported(kind, _DISK_KINDS)
    start, example = ("/subscriptions/", _MANAGED_URI)
    if kind != "Managed":
        start, example = ("https://", _BLOB_URI)
    if not uri.startswith(start):
        yield (path / "diskURI").unsupported(uri, (example,))


def validate_storage_os(source: Obj, path: Field) -> Iterator[FieldError]:
    """Report what is wrong with a StorageOS volume of a pod."""
    yield from _validate_storage_os(source, path)
    if (secret := source.get("secretRef")) is not None:
        yield from required(secret, path / "secretRef", "name")


def validate_storage_os_persistent(source: Obj, path: Field) -> Iterator[FieldError]:
    """Report what is wrong with a persistent StorageOS volume."""
    yield from _validate_storage_os(source, path)
    if (secret := source.get("secretRef")) is not None:
        yield from required(secret, path / "secretRef", "name", "namespace")


def _validate_storage_os(source: Obj, path: Field) -> Iterator[FieldError]:
    yield from required(source, path, "volumeName")
    for key in ("volumeName", "volumeNamespace"):
        if value := source.get(key):
            for message in names.dns1123_label(value):
                yield (path / key).invalid(value, message)


def validate_csi_driver_name(name: str, path: Field) -> Iterator[FieldError]:
    """Report the name of a CSI driver that is absent, too long or no domain."""
    if not name:
        yield path.required()
    if len(name.encode()) > 63:
        yield path.too_long(63)
    for message in names.dns1123_subdomain(name.lower()):
        yield path.invalid(name, message)


def validate_csi(source: Obj, path: Field) -> Iterator[FieldError]:
    """Report what is wrong with a CSI volume of a pod."""
    yield from validate_csi_driver_name(source.get("driver") or "", path / "driver")
    secret = source.get("nodePublishSecretRef")
    if secret is None:
        return
    name = secret.get("name") or ""
    if not name:
        yield (path / "nodePublishSecretRef" / "name").required()
        return
    for message in names.dns1123_subdomain(name):
        yield (path / "name").invalid(name, message)


def validate_csi_persistent(source: Obj, path: Field) -> Iterator[FieldError]:
    """Report what is wrong with a persistent CSI volume."""
    yield from validate_csi_driver_name(source.get("driver") or "", path / "driver")
    yield from required(source, path, "volumeHandle")
    for key in (
        "controllerPublishSecretRef",
        "controllerExpandSecretRef",
        "nodePublishSecretRef",
        "nodeExpandSecretRef",
    ):
        if (secret := source.get(key)) is not None:
            yield from _validate_secret_reference(secret, path / key)


def _validate_secret_reference(secret: Obj, path: Field) -> Iterator[FieldError]:
    checks = (("name", names.dns1123_subdomain), ("namespace", names.dns1123_label))
    for key, check in checks:
        value = secret.get(key) or ""
        if not value:
            yield (path / key).required()
            continue
        for message in check(value):
            yield (path / key).invalid(value, message)


def validate_key_to_path(item: Obj, path: Field) -> Iterator[FieldError]:
    """Report what is wrong with one key that becomes a file."""
    yield from required(item, path, "key", "path")
    yield from validate_not_reserved(item.get("path") or "", path / "path")
    yield from validate_mode(item.get("mode"), path / "mode")


def keyed(key: str) -> Check:
    """Return the check of a secret or config map as a volume, named by `key`."""

    def check(source: Obj, path: Field) -> Iterator[FieldError]:
        yield from required(source, path, key)
        yield from validate_mode(source.get("defaultMode"), path / "defaultMode")
        for index, item in enumerate(source.get("items") or ()):
            yield from validate_key_to_path(item, (path / "items")[index])

    return check


def validate_glusterfs_persistent(source: Obj, path: Field) -> Iterator[FieldError]:
    """Report what is wrong with a persistent Glusterfs volume."""
    yield from required(source, path, "endpoints", "path")
    namespace = source.get("endpointsNamespace")
    if namespace is None:
        return
    if not namespace:
        yield (path / "endpointsNamespace").invalid(
            namespace, "if the endpointnamespace is set, it must be a valid namespace name"
        )
        return
    for message in names.dns1123_label(namespace):
        yield (path / "endpointsNamespace").invalid(namespace, message)


def validate_local(source: Obj, path: Field) -> Iterator[FieldError]:
    """Report a local volume without a path or with one that leads upwards."""
    value = source.get("path") or ""
    if not value:
        yield (path / "path").required()
        return
    yield from validate_no_backsteps(value, path / "path")
