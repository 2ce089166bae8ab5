"""Checks of what a container mounts, and of the block devices that it gets."""

from collections.abc import Iterator
from typing import Final

from minikube_py.api.core.paths import validate_descending, validate_no_backsteps
from minikube_py.api.core.pod_validation_volumes import Volumes
from minikube_py.api.fields import Field, FieldError
from minikube_py.api.object import Obj

_PROPAGATIONS: Final = frozenset({"Bidirectional", "HostToContainer", "None"})
_OPTIONS: Final = frozenset({"subPath", "subPathExpr", "mountPropagation", "recursiveReadOnly"})
_RECURSIVE: Final = frozenset({"Disabled", "IfPossible", "Enabled"})


def validate_mounts(container: Obj, volumes: Volumes, path: Field) -> Iterator[FieldError]:
    """Report what is wrong with the volumes that a container mounts."""
    devices = container.get("volumeDevices") or ()
    device_names = {device.get("name") for device in devices}
    device_paths = {device.get("devicePath") for device in devices}
    points: set[str] = set()
    for index, mount in enumerate(container.get("volumeMounts") or ()):
        name, point = mount.get("name") or "", mount.get("mountPath") or ""
        if name not in volumes or not point or point in points:
            yield from _validate_mount(name, point, volumes, points, path[index])
        points.add(point)
        if name in device_names:
            yield (path[index] / "name").invalid(name, "must not already exist in volumeDevices")
        if point in device_paths:
            yield (path[index] / "mountPath").invalid(
                point, "must not already exist as a path in volumeDevices"
            )
        if not _OPTIONS.isdisjoint(mount):
            yield from _validate_mount_options(mount, container, path, path[index])


def _validate_mount(
    name: str, point: str, volumes: Volumes, points: set[str], path: Field
) -> Iterator[FieldError]:
    if not name:
        yield (path / "name").required()
    if name not in volumes:
        yield (path / "name").not_found(name)
    if not point:
        yield (path / "mountPath").required()
    if point in points:
        yield (path / "mountPath").invalid(point, "must be unique")


def _validate_mount_options(
    mount: Obj, container: Obj, path: Field, item: Field
) -> Iterator[FieldError]:
    sub_path, expression = mount.get("subPath"), mount.get("subPathExpr")
    if sub_path:
        yield from validate_descending(sub_path, path / "subPath")
    if expression:
        if sub_path:
            yield (item / "subPathExpr").invalid(
                expression, "subPathExpr and subPath are mutually exclusive"
            )
        yield from validate_descending(expression, path / "subPathExpr")
    if (propagation := mount.get("mountPropagation")) is not None:
        yield from _validate_propagation(propagation, container, path / "mountPropagation")
    if (recursive := mount.get("recursiveReadOnly")) is not None:
        yield from _validate_recursive(recursive, mount, path / "recursiveReadOnly")


def _validate_propagation(propagation: str, container: Obj, path: Field) -> Iterator[FieldError]:
    if propagation not in _PROPAGATIONS:
        yield path.unsupported(propagation, _PROPAGATIONS)
    privileged = (container.get("securityContext") or {}).get("privileged")
    if propagation == "Bidirectional" and not privileged:
        yield path.forbidden(
            "Bidirectional mount propagation is available only to privileged containers"
        )


def _validate_recursive(recursive: str, mount: Obj, path: Field) -> Iterator[FieldError]:
    if recursive not in _RECURSIVE:
        yield path.unsupported(recursive, _RECURSIVE)
    elif recursive != "Disabled":
        if not mount.get("readOnly"):
            yield path.forbidden("may only be specified when readOnly is true")
        if mount.get("mountPropagation") not in {None, "None"}:
            yield path.forbidden(
                "may only be specified when mountPropagation is None or not specified"
            )


def validate_devices(container: Obj, volumes: Volumes, path: Field) -> Iterator[FieldError]:
    """Report what is wrong with the block devices that a container gets."""
    mounts = container.get("volumeMounts") or ()
    mount_names = {mount.get("name") for mount in mounts}
    mount_paths = {mount.get("mountPath") for mount in mounts}
    seen_names: set[str] = set()
    seen_paths: set[str] = set()
    for index, device in enumerate(container.get("volumeDevices") or ()):
        name, target = device.get("name") or "", device.get("devicePath") or ""
        yield from _validate_device_name(name, volumes, seen_names, path[index] / "name")
        yield from _validate_device_path(target, seen_paths, path[index] / "devicePath")
        if name in mount_names:
            yield (path[index] / "name").invalid(name, "must not already exist in volumeMounts")
        if target in mount_paths:
            yield (path[index] / "devicePath").invalid(
                target, "must not already exist as a path in volumeMounts"
            )
        if name:
            seen_names.add(name)


def _validate_device_name(
    name: str, volumes: Volumes, seen: set[str], path: Field
) -> Iterator[FieldError]:
    volume = volumes.get(name)
    if not name:
        yield path.required()
    if name in seen:
        yield path.invalid(name, "must be unique")
    if volume is None:
        yield path.not_found(name)
    elif volume.get("persistentVolumeClaim") is None and volume.get("ephemeral") is None:
        yield path.invalid(
            name,
            "can only use volume source type of PersistentVolumeClaim or Ephemeral for block mode",
        )


def _validate_device_path(target: str, seen: set[str], path: Field) -> Iterator[FieldError]:
    if not target:
        yield path.required()
    if target in seen:
        yield path.invalid(target, "must be unique")
    if any(validate_no_backsteps(target, path)):
        yield path.invalid(target, "can not contain backsteps ('..')")
    else:
        seen.add(target)
