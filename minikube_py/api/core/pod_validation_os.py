"""Checks of what differs between Linux and Windows, and of the host's namespaces."""

from collections.abc import Iterator
from typing import Final

from minikube_py.api.core.pod_resources import visit_containers
from minikube_py.api.fields import Field, FieldError
from minikube_py.api.object import Obj, get

_SYSTEMS: Final = frozenset({"linux", "windows"})
_NOT_ON_LINUX: Final = "windows options cannot be set for a linux pod"
_NOT_ON_WINDOWS: Final = "cannot be set for a windows pod"
_HOST_USERS: Final = "when `hostUsers` is false"
_POD_FIELDS: Final = (
    ("appArmorProfile", "securityContext.appArmorProfile"),
    ("seLinuxOptions", "securityContext.seLinuxOptions"),
    ("hostUsers", "hostUsers"),
    ("hostPID", "hostPID"),
    ("hostIPC", "hostIPC"),
    ("seccompProfile", "securityContext.seccompProfile"),
    ("fsGroup", "securityContext.fsGroup"),
    ("fsGroupChangePolicy", "securityContext.fsGroupChangePolicy"),
    ("sysctls", "securityContext.sysctls"),
    ("shareProcessNamespace", "shareProcessNamespace"),
    ("runAsUser", "securityContext.runAsUser"),
    ("runAsGroup", "securityContext.runAsGroup"),
    ("supplementalGroups", "securityContext.supplementalGroups"),
    ("supplementalGroupsPolicy", "securityContext.supplementalGroupsPolicy"),
    ("seLinuxChangePolicy", "securityContext.seLinuxChangePolicy"),
)
_CONTAINER_FIELDS: Final = (
    "appArmorProfile",
    "seLinuxOptions",
    "seccompProfile",
    "capabilities",
    "readOnlyRootFilesystem",
    "privileged",
    "allowPrivilegeEscalation",
    "procMount",
    "runAsUser",
    "runAsGroup",
)
_FALSE_IS_ABSENT: Final = frozenset({"hostPID", "hostIPC"})


def validate_os(spec: Obj, path: Field) -> Iterator[FieldError]:
    """Report what the operating system that the pod names does not have."""
    system = spec.get("os")
    if system is None:
        return
    name = system.get("name") or ""
    if not name:
        yield (path / "os" / "name").required()
    elif name not in _SYSTEMS:
        yield (path / "os").unsupported(name, _SYSTEMS)
    elif name == "linux":
        yield from _validate_linux(spec, path)
    else:
        yield from _validate_windows(spec, path)


def _validate_linux(spec: Obj, path: Field) -> Iterator[FieldError]:
    if get(spec, "securityContext.windowsOptions") is not None:
        yield (path / "securityContext" / "windowsOptions").forbidden(_NOT_ON_LINUX)
    for key, index, container in visit_containers(spec):
        if get(container, "securityContext.windowsOptions") is not None:
            at = (path / key)[index] / "securityContext" / "windowsOptions"
            yield at.forbidden(_NOT_ON_LINUX)


def _validate_windows(spec: Obj, path: Field) -> Iterator[FieldError]:
    for key, place in _POD_FIELDS:
        value = get(spec, place)
        if value is not None and not (key in _FALSE_IS_ABSENT and not value):
            yield (path / place).forbidden(_NOT_ON_WINDOWS)
    for key, index, container in visit_containers(spec):
        context = container.get("securityContext") or {}
        for field in _CONTAINER_FIELDS:
            if context.get(field) is not None:
                yield ((path / key)[index] / "securityContext" / field).forbidden(_NOT_ON_WINDOWS)


def validate_host_process(spec: Obj, path: Field) -> Iterator[FieldError]:
    """Report pods that mix processes of a Windows host with others."""
    wanted = _host_process(spec)
    count = total = 0
    for key, index, container in visit_containers(spec):
        total += 1
        own = _host_process(container)
        if wanted is not None and own is not None and wanted != own:
            at = (path / key)[index] / "securityContext" / "windowsOptions" / "hostProcess"
            yield at.invalid(
                own,
                "pod hostProcess value must be identical if both are specified, "
                f"was {str(wanted).lower()}",
            )
        count += bool(wanted if own is None else own)
    if not count:
        return
    if count != total:
        yield path.invalid(
            "",
            "If pod contains any hostProcess containers then all containers must be "
            "HostProcess containers",
        )
    if not spec.get("hostNetwork"):
        yield (path / "hostNetwork").invalid(
            value=False,
            detail="hostNetwork must be true if pod contains any hostProcess containers",
        )


def _host_process(holder: Obj) -> bool | None:
    """Return what a pod's spec or a container says of processes of the host."""
    context = holder.get("securityContext")
    return get(context, "windowsOptions.hostProcess") if context else None


def validate_host_users(spec: Obj, path: Field) -> Iterator[FieldError]:
    """Report what a user namespace of its own does not go with."""
    if spec.get("hostUsers") is not False:
        return
    for key, shown in (
        ("hostNetwork", "hostNetwork"),
        ("hostPID", "HostPID"),
        ("hostIPC", "HostIPC"),
    ):
        if spec.get(key):
            yield (path / shown).forbidden(_HOST_USERS)
    for key, index, container in visit_containers(spec):
        if container.get("volumeDevices"):
            yield ((path / key)[index] / "volumeDevices").forbidden(_HOST_USERS)
