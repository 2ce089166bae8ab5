"""The file of `--admission-control-config-file`: what administrators tell single plugins.

It is upstream's AdmissionConfiguration: for each plugin by name its configuration, in place or as
the path of another file. A mistake keeps the server from starting: rules about what is let in
must not fail open.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from minikube_py.api import yaml
from minikube_py.api.object import Obj
from minikube_py.lib.errors import StartError

GROUP: Final = "apiserver.config.k8s.io"
POD_SECURITY_GROUP: Final = "pod-security.admission.config.k8s.io"
RATE_LIMIT_GROUP: Final = "eventratelimit.admission.k8s.io"
CONFIGURABLE: Final[Mapping[str, tuple[tuple[str, ...], str]]] = {
    "PodSecurity": (
        tuple(f"{POD_SECURITY_GROUP}/{version}" for version in ("v1", "v1beta1", "v1alpha1")),
        "PodSecurityConfiguration",
    ),
    "ResourceQuota": (
        (
            f"{GROUP}/v1",
            *(f"resourcequota.admission.k8s.io/{v}" for v in ("v1", "v1beta1", "v1alpha1")),
        ),
        "ResourceQuotaConfiguration",
    ),
    "EventRateLimit": ((f"{RATE_LIMIT_GROUP}/v1alpha1",), "Configuration"),
}
"""The plugins that can be told something, with the versions and kind of their documents."""
_KINDS: Final[Mapping[str, tuple[str, ...]]] = {
    "ResourceQuotaConfiguration": ("ResourceQuotaConfiguration", "Configuration"),
}
"""Kinds that older versions called differently."""


def load(path: str) -> Mapping[str, Obj]:
    """Return the configuration of each plugin that has one; nothing without a path.

    Raises:
        StartError: the file cannot be read or is not what it must be.

    """
    if not path:
        return {}
    file = Path(path)
    document = _read(file)
    _check(file, document, (f"{GROUP}/v1", f"{GROUP}/v1alpha1"), ("AdmissionConfiguration",))
    return dict(_plugin(file, entry) for entry in _entries(file, document))


def _read(file: Path) -> Obj:
    from yaml import YAMLError  # noqa: PLC0415 -- most servers have no such file

    try:
        document = yaml.load(file.read_bytes())
    except OSError as error:
        raise StartError(f"cannot read admission configuration {file}: {error}") from error
    except (ValueError, YAMLError) as error:
        raise StartError(f"admission configuration {file} is not valid YAML: {error}") from error
    if not isinstance(document, dict):
        raise StartError(f"admission configuration {file} is not an object")
    return document


def _check(file: Path, document: Obj, versions: Sequence[str], kinds: Sequence[str]) -> None:
    version, kind = document.get("apiVersion"), document.get("kind")
    if version not in versions or kind not in kinds:
        raise StartError(
            f"{file}: expected {kinds[0]} of {versions[0]}, found {kind!r} of {version!r}"
        )


def _entries(file: Path, document: Obj) -> Sequence[Obj]:
    entries: Any = document.get("plugins", [])
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise StartError(f"{file}: plugins must be a list of objects")
    names = [entry.get("name") for entry in entries]
    for name in names:
        if name not in CONFIGURABLE:
            known = ", ".join(sorted(CONFIGURABLE))
            raise StartError(f"{file}: plugin {name!r} takes no configuration; these do: {known}")
        if names.count(name) > 1:
            raise StartError(f"{file}: plugin {name!r} is configured twice")
    return entries


def _plugin(file: Path, entry: Obj) -> tuple[str, Obj]:
    name, given = str(entry["name"]), entry.get("configuration")
    if given is None and entry.get("path"):
        file = file.parent / str(entry["path"])
        given = _read(file)
    if not isinstance(given, dict):
        raise StartError(f"{file}: plugin {name!r} needs a configuration or the path of one")
    versions, kind = CONFIGURABLE[name]
    _check(file, given, versions, _KINDS.get(kind, (kind,)))
    return name, given


def listed(place: str, value: Any) -> tuple[str, ...]:
    """Return a list of texts of a configuration.

    Raises:
        StartError: it is something else.

    """
    if value is None:
        return ()
    if not isinstance(value, list) or not all(isinstance(one, str) and one for one in value):
        raise StartError(f"{place} must be a list of texts")
    return tuple(value)
