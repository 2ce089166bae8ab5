"""Devices of the Container Device Interface, for runtimes that know nothing of it.

A device is a name; what it means for a container stands in files that vendors put into two folders
(https://github.com/cncf-tags/container-device-interface, SPEC.md). containerd reads them since 1.7;
for an older one the kubelet puts variables, mounts and device nodes into the configuration of the
container itself. Hooks cannot be expressed there, and are refused.
"""

import logging
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from minikube_py.agent.kubelet.config import NO_EXTRAS, Device, Extras, Mount

log = logging.getLogger(__name__)
FOLDERS = (Path("/etc/cdi"), Path("/var/run/cdi"))
"""Where specifications lie; those of the last one go before the others."""
FIRST_CONTAINERD = (1, 7)
SPEC_BYTES_MAX = 4 << 20
Spec = Mapping[str, Any]


class CdiError(Exception):
    """A device cannot be given; the text begins as containerd's does."""


def knows_cdi(runtime_version: str) -> bool:
    """Tell whether a runtime resolves devices itself; only of old containerds is it known not."""
    found = re.match(r"containerd://v?(\d+)\.(\d+)", runtime_version)
    return found is None or (int(found[1]), int(found[2])) >= FIRST_CONTAINERD


def read(folders: Sequence[Path] = FOLDERS) -> list[Spec]:
    """Return all specifications, the least important first; blocks for their files."""
    found: list[Spec] = []
    for folder in folders:
        for path in sorted(folder.glob("*")):
            if path.suffix not in (".json", ".yaml", ".yml"):
                continue
            try:
                with path.open("rb") as file:
                    spec = yaml.safe_load(file.read(SPEC_BYTES_MAX))
            except (OSError, yaml.YAMLError, ValueError) as error:
                log.warning("CDI specification not readable file=%s error=%s", path, error)
                continue
            if isinstance(spec, dict):
                found.append(spec)
    return found


def extras_of(names: Iterable[str], specs: Sequence[Spec]) -> Extras:
    """Return what devices mean for a container: pure; raises CdiError."""
    devices = {name: (spec, edits) for spec in specs for name, edits in _devices(spec)}
    wanted = list(dict.fromkeys(names))
    if unknown := [name for name in wanted if name not in devices]:
        raise CdiError(
            f"CDI device injection failed: unresolvable CDI devices {', '.join(unknown)}"
        )
    found, whole = NO_EXTRAS, []
    for name in wanted:
        spec, edits = devices[name]
        if spec not in whole:
            whole.append(spec)
            found = found.plus(_extras(name, spec.get("containerEdits") or {}))
        found = found.plus(_extras(name, edits))
    return found


def _devices(spec: Spec) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for device in spec.get("devices") or ():
        yield f"{spec.get('kind')}={device.get('name')}", device.get("containerEdits") or {}


def _extras(name: str, edits: Mapping[str, Any]) -> Extras:
    if edits.get("hooks"):
        raise CdiError(
            f"CDI device injection failed: device {name} has hooks,"
            " which need containerd 1.7 or newer"
        )
    env = (text.partition("=") for text in edits.get("env") or ())
    return Extras(
        env={key: value for key, _, value in env},
        mounts=[
            Mount(
                container_path=one["containerPath"],
                host_path=Path(one["hostPath"]),
                read_only="ro" in (one.get("options") or ()),
            )
            for one in edits.get("mounts") or ()
        ],
        devices=[
            Device(
                container_path=one["path"],
                host_path=Path(one.get("hostPath") or one["path"]),
                permissions=one.get("permissions") or "rwm",
            )
            for one in edits.get("deviceNodes") or ()
        ],
    )
