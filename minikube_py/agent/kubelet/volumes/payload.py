"""Which files a configMap, secret, downwardAPI or projected volume holds: pure."""

import base64
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from minikube_py.agent.kubelet.field_ref import (
    FieldRefError,
    Runtime,
    field_value,
    resource_value,
)
from minikube_py.agent.kubelet.volumes.atomic_writer import File
from minikube_py.api.object import Obj

DEFAULT_MODE = 0o644
TOKEN_MODE = 0o600
TOKEN_SHARED_MODE = 0o644


class VolumeError(Exception):
    """A volume cannot be set up now; the message becomes a FailedMount event."""


@dataclass(frozen=True, kw_only=True)
class Sources:
    """What payloads are made of."""

    config_map: Callable[[str], Obj | None]
    secret: Callable[[str], Obj | None]
    token: Callable[[Obj], str]
    """Source of a serviceAccountToken -> a token that is good now."""
    fields: Runtime
    allocatable: Mapping[str, str]
    persistent: Mapping[str, Obj] = field(default_factory=dict)
    """The persistent volumes behind volumes with claims, by the names of those."""


def decoded(secret: Obj) -> dict[str, bytes]:
    """Return the data of a secret."""
    return {key: base64.b64decode(text) for key, text in (secret.get("data") or {}).items()}


def config_map_data(config_map: Obj) -> dict[str, bytes]:
    """Return the data of a configMap, texts and bytes alike."""
    texts = {key: text.encode() for key, text in (config_map.get("data") or {}).items()}
    binary = config_map.get("binaryData") or {}
    return texts | {key: base64.b64decode(text) for key, text in binary.items()}


def config_map_files(source: Obj, sources: Sources, default_mode: int) -> dict[str, File]:
    """Return the files of a configMap source."""
    name = str(source.get("name", ""))
    found = sources.config_map(name)
    if found is None:
        if source.get("optional"):
            return {}
        raise VolumeError(f'configmap "{name}" not found')
    what = "configmap references non-existent config key: "
    return _chosen(config_map_data(found), source, default_mode, what)


def secret_files(source: Obj, sources: Sources, default_mode: int) -> dict[str, File]:
    """Return the files of a secret source; a volume says secretName, a projection name."""
    name = str(source.get("secretName") or source.get("name", ""))
    found = sources.secret(name)
    if found is None:
        if source.get("optional"):
            return {}
        raise VolumeError(f'secret "{name}" not found')
    what = "references non-existent secret key: "
    return _chosen(decoded(found), source, default_mode, what)


def _chosen(data: Mapping[str, bytes], source: Obj, mode: int, what: str) -> dict[str, File]:
    items: Sequence[Obj] | None = source.get("items")
    if not items:
        return {key: File(value, mode) for key, value in data.items()}
    files = {}
    for item in items:
        value = data.get(item["key"])
        if value is None:
            if source.get("optional"):
                continue
            raise VolumeError(what + item["key"])
        files[_path(item)] = File(value, item.get("mode", mode))
    return files


def _path(item: Obj) -> str:
    path = str(item["path"])
    if path.startswith("/") or ".." in path.split("/"):
        raise VolumeError(f'path "{path}" must be relative and must not contain ".."')
    return path


def downward_files(pod: Obj, source: Obj, sources: Sources, default_mode: int) -> dict[str, File]:
    """Return the files of a downwardAPI source."""
    files = {}
    for item in source.get("items") or ():
        try:
            if ref := item.get("fieldRef"):
                text = field_value(pod, ref["fieldPath"], sources.fields)
            else:
                text = resource_value(pod, "", item["resourceFieldRef"], sources.allocatable)
        except FieldRefError as error:
            raise VolumeError(str(error)) from None
        files[_path(item)] = File(text.encode(), item.get("mode", default_mode))
    return files


def projected_files(
    pod: Obj, source: Obj, sources: Sources, token_owner: tuple[int, int | None]
) -> dict[str, File]:
    """Return the files of a projected volume; `token_owner` is the mode and owner of tokens."""
    mode = source.get("defaultMode", DEFAULT_MODE)
    files: dict[str, File] = {}
    for part in source.get("sources") or ():
        files |= _projection(pod, part, sources, mode, token_owner)
    return files


def _projection(
    pod: Obj, part: Obj, sources: Sources, mode: int, token_owner: tuple[int, int | None]
) -> dict[str, File]:
    if inner := part.get("configMap"):
        return config_map_files(inner, sources, mode)
    if inner := part.get("secret"):
        return secret_files(inner, sources, mode)
    if inner := part.get("downwardAPI"):
        return downward_files(pod, inner, sources, mode)
    if inner := part.get("serviceAccountToken"):
        token_mode, owner = token_owner
        return {_path(inner): File(sources.token(inner).encode(), token_mode, owner)}
    raise VolumeError(f"projection of {', '.join(part) or 'nothing'} is not supported")


def token_ownership(pod: Obj, group: int | None) -> tuple[int, int | None]:
    """Return mode and owner of token files, so that the containers can read them and few others.

    Where all containers run as one user the file is that user's alone; else it is left to the
    group, or to all inside the pod.
    """
    users: set[Any] = set()
    security = pod["spec"].get("securityContext") or {}
    for kind in ("initContainers", "containers", "ephemeralContainers"):
        for container in pod["spec"].get(kind) or ():
            own = (container.get("securityContext") or {}).get("runAsUser")
            users.add(security.get("runAsUser") if own is None else own)
    if group is not None:
        return TOKEN_MODE, None
    if len(users) == 1 and None not in users:
        return TOKEN_MODE, int(users.pop())
    return TOKEN_SHARED_MODE, None
