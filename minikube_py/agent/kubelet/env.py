"""The environment of a container: own values, references, whole maps and the services around it.

What the references lead to is handed in; only files of volumes are read here. Later entries win,
and a value may use those before it as `$(NAME)`. Services come last and only where the container
does not say otherwise.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from minikube_py.agent.kubelet.env_file import EnvFileError, lookup
from minikube_py.agent.kubelet.expansion import expand
from minikube_py.agent.kubelet.field_ref import (
    FieldRefError,
    Runtime,
    field_value,
    resource_value,
)
from minikube_py.api.object import Obj, get

MASTER_SERVICES = frozenset({"kubernetes"})
"""Services of the default namespace that every pod is told of."""


class EnvError(Exception):
    """The environment cannot be made; the container waits with CreateContainerConfigError."""


@dataclass(frozen=True, kw_only=True)
class EnvSources:
    """What the entries of an environment may refer to."""

    config_map: Callable[[str], Obj | None]
    """By name, in the namespace of the pod."""
    secret: Callable[[str], Mapping[str, bytes] | None]
    """The decoded data of a secret by name."""
    fields: Runtime
    allocatable: Mapping[str, str]
    services: Mapping[str, str]
    """Variables of the services that the pod sees."""
    volumes: Mapping[str, Path] = field(default_factory=dict)
    """Where the volumes of the pod lie, by name."""


def environment(pod: Obj, container: Obj, sources: EnvSources) -> dict[str, str]:
    """Return the variables of a container; raises EnvError in upstream's words."""
    found: dict[str, str] = {}
    for entry in container.get("envFrom") or ():
        prefix = entry.get("prefix") or ""
        for key, value in _whole_map(entry, sources):
            if _is_name(prefix + key):
                found[prefix + key] = value
    # What a value refers to: entries before it, then services.
    scope = dict(sources.services) | found
    for entry in container.get("env") or ():
        own = _value(pod, container, entry, sources, scope)
        if own is not None:
            found[entry["name"]] = scope[entry["name"]] = own
    return found | {k: v for k, v in sources.services.items() if k not in found}


def _is_name(name: str) -> bool:
    return bool(name) and all(" " <= letter <= "~" and letter != "=" for letter in name)


def _whole_map(entry: Obj, sources: EnvSources) -> Iterator[tuple[str, str]]:
    if ref := entry.get("configMapRef"):
        found = sources.config_map(ref["name"])
        if found is None and not ref.get("optional"):
            raise EnvError(f'configmap "{ref["name"]}" not found')
        yield from (get(found, "data") or {}).items()
    elif ref := entry.get("secretRef"):
        secret = sources.secret(ref["name"])
        if secret is None and not ref.get("optional"):
            raise EnvError(f'secret "{ref["name"]}" not found')
        for key, value in (secret or {}).items():
            yield key, value.decode(errors="replace")


def _value(
    pod: Obj, container: Obj, entry: Obj, sources: EnvSources, scope: Mapping[str, str]
) -> str | None:
    """Return the value of one entry, None where an optional reference leads nowhere."""
    ref = entry.get("valueFrom")
    if entry.get("value") or not ref:
        return expand(entry.get("value") or "", scope)
    try:
        if "fieldRef" in ref:
            return field_value(pod, ref["fieldRef"]["fieldPath"], sources.fields)
        if "resourceFieldRef" in ref:
            name = container["name"]
            return resource_value(pod, name, ref["resourceFieldRef"], sources.allocatable)
    except FieldRefError as error:
        raise EnvError(str(error)) from None
    if "configMapKeyRef" in ref:
        return _config_map_key(pod, ref["configMapKeyRef"], sources)
    if "secretKeyRef" in ref:
        return _secret_key(pod, ref["secretKeyRef"], sources)
    if "fileKeyRef" in ref:
        return _file_key(ref["fileKeyRef"], sources)
    raise EnvError(f"variable {entry['name']} has a source that this kubelet does not know")


def _config_map_key(pod: Obj, ref: Obj, sources: EnvSources) -> str | None:
    found = sources.config_map(ref["name"])
    value = get(found, ("data", ref["key"]))
    if value is None and not ref.get("optional"):
        raise EnvError(_missing(pod, "ConfigMap", ref, found is not None))
    return None if value is None else str(value)


def _secret_key(pod: Obj, ref: Obj, sources: EnvSources) -> str | None:
    found = sources.secret(ref["name"])
    value = (found or {}).get(ref["key"])
    if value is None and not ref.get("optional"):
        raise EnvError(_missing(pod, "Secret", ref, found is not None))
    return None if value is None else value.decode(errors="replace")


def _file_key(ref: Obj, sources: EnvSources) -> str | None:
    volume, key = sources.volumes.get(ref["volumeName"]), ref["key"]
    if volume is None:
        raise EnvError(f'cannot find the volume "{ref["volumeName"]}" referenced by FileKeyRef')
    try:
        value = lookup(volume, ref["path"], key)
    except EnvFileError:
        raise EnvError("couldn't parse env file") from None
    if not value and not ref.get("optional"):
        raise EnvError(f'environment variable key "{key}" not found in file "{ref["path"]}"')
    return value or None


def _missing(pod: Obj, kind: str, ref: Obj, there: bool) -> str:  # noqa: FBT001
    if not there:
        return f'{kind.lower()} "{ref["name"]}" not found'
    namespace = pod["metadata"].get("namespace", "")
    return f"couldn't find key {ref['key']} in {kind} {namespace}/{ref['name']}"


# --- services -----------------------------------------------------------------------------------


def visible_services(services: Iterable[Obj], namespace: str, *, links: bool) -> list[Obj]:
    """Return the services that a pod of that namespace is told of, by name."""
    found: dict[str, Obj] = {}
    for service in services:
        metadata = service["metadata"]
        if get(service, "spec.clusterIP") in (None, "", "None"):
            continue
        here = metadata.get("namespace") == namespace
        master = metadata.get("namespace") == "default" and metadata["name"] in MASTER_SERVICES
        if (here and links) or (master and metadata["name"] not in found):
            found[metadata["name"]] = service
    return [found[name] for name in sorted(found)]


def service_variables(services: Iterable[Obj]) -> dict[str, str]:
    """Return the variables of services: `_SERVICE_HOST`, `_SERVICE_PORT` and docker's links."""
    found: dict[str, str] = {}
    for service in services:
        name = _variable(service["metadata"]["name"])
        host = service["spec"]["clusterIP"]
        ports = get(service, "spec.ports") or ()
        if not ports:
            continue
        found[f"{name}_SERVICE_HOST"] = host
        found[f"{name}_SERVICE_PORT"] = str(ports[0]["port"])
        for port in ports:
            if port.get("name"):
                found[f"{name}_SERVICE_PORT_{_variable(port['name'])}"] = str(port["port"])
        found |= _links(name, host, ports)
    return found


def _links(name: str, host: str, ports: Iterable[Obj]) -> dict[str, str]:
    found: dict[str, str] = {}
    shown = f"[{host}]" if ":" in host else host
    for index, port in enumerate(ports):
        protocol = str(port.get("protocol") or "TCP")
        url = f"{protocol.lower()}://{shown}:{port['port']}"
        if index == 0:
            found[f"{name}_PORT"] = url
        prefix = f"{name}_PORT_{port['port']}_{protocol.upper()}"
        found |= {
            prefix: url,
            f"{prefix}_PROTO": protocol.lower(),
            f"{prefix}_PORT": str(port["port"]),
            f"{prefix}_ADDR": host,
        }
    return found


def _variable(name: str) -> str:
    return name.replace("-", "_").upper()
