"""A KubeletConfiguration as options of a node: what other kubelets are told, here too.

Files in a folder are merged over the first in the order of their names, as the kubelet's
`--config-dir` has it: fields replace fields, and maps are merged. An option that was given to kpy
itself goes first, as flags of a kubelet do. A field that kpy has no option for is told of in the
log and changes nothing.
"""

import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from minikube_py.agent.config import NodeConfig
from minikube_py.lib.errors import StartError

log = logging.getLogger(__name__)
VERSION = "kubelet.config.k8s.io/v1beta1"
KIND = "KubeletConfiguration"
SUFFIX = ".conf"
Config = TypeVar("Config", bound=NodeConfig)


class _Target(NamedTuple):
    """The option that a field is, and how its value is written there."""

    option: str
    written: Callable[[Any], Any]


def _pairs(sign: str) -> Callable[[Mapping[str, Any]], str]:
    return lambda value: ",".join(f"{name}{sign}{amount}" for name, amount in value.items())


def _texts(value: list[Any]) -> tuple[str, ...]:
    return tuple(str(one) for one in value)


def _memory(value: list[Mapping[str, Any]]) -> tuple[str, ...]:
    return tuple(f"{one['numaNode']}:{_pairs('=')(one['limits'])}" for one in value)


def _priorities(value: list[Mapping[str, Any]]) -> tuple[str, ...]:
    return tuple(f"{one['priority']}={one['shutdownGracePeriodSeconds']}s" for one in value)


def _headers(value: Mapping[str, list[str]]) -> tuple[str, ...]:
    return tuple(f"{name}:{one}" for name, texts in value.items() for one in texts)


def _taints(value: list[Mapping[str, Any]]) -> tuple[str, ...]:
    return tuple(f"{one['key']}={one.get('value', '')}:{one['effect']}" for one in value)


FIELDS: Mapping[str, _Target] = {
    "allowedUnsafeSysctls": _Target("allowed_unsafe_sysctls", _texts),
    "containerLogMaxFiles": _Target("container_log_max_files", int),
    "containerLogMaxSize": _Target("container_log_max_size", str),
    "containerRuntimeEndpoint": _Target("container_runtime_endpoint", str),
    "cpuManagerPolicy": _Target("cpu_manager_policy", str),
    "cpuManagerPolicyOptions": _Target("cpu_manager_policy_options", _pairs("=")),
    "enforceNodeAllocatable": _Target("enforce_node_allocatable", _texts),
    "evictionHard": _Target("eviction_hard", _pairs("<")),
    "evictionMaxPodGracePeriod": _Target("eviction_max_pod_grace_period", int),
    "evictionMinimumReclaim": _Target("eviction_minimum_reclaim", _pairs("=")),
    "evictionPressureTransitionPeriod": _Target("eviction_pressure_transition_period", str),
    "evictionSoft": _Target("eviction_soft", _pairs("<")),
    "evictionSoftGracePeriod": _Target("eviction_soft_grace_period", _pairs("=")),
    "failSwapOn": _Target("fail_swap_on", bool),
    "imageGCHighThresholdPercent": _Target("image_gc_high_threshold", int),
    "imageGCLowThresholdPercent": _Target("image_gc_low_threshold", int),
    "imageMinimumGCAge": _Target("minimum_image_ttl_duration", str),
    "imagePullCredentialsVerificationPolicy": _Target(
        "image_pull_credentials_verification_policy", str
    ),
    "kubeReserved": _Target("kube_reserved", _pairs("=")),
    "maxParallelImagePulls": _Target("max_parallel_image_pulls", int),
    "maxPods": _Target("max_pods", int),
    "memoryManagerPolicy": _Target("memory_manager_policy", str),
    "memorySwap": _Target("memory_swap_behavior", lambda value: value.get("swapBehavior", "")),
    "registerWithTaints": _Target("node_taint", _taints),
    "reservedMemory": _Target("reserved_memory", _memory),
    "reservedSystemCPUs": _Target("reserved_cpus", str),
    "shutdownGracePeriod": _Target("shutdown_grace_period", str),
    "shutdownGracePeriodByPodPriority": _Target(
        "shutdown_grace_period_by_pod_priority", _priorities
    ),
    "shutdownGracePeriodCriticalPods": _Target("shutdown_grace_period_critical_pods", str),
    "staticPodPath": _Target("pod_manifest_path", str),
    "staticPodURL": _Target("manifest_url", str),
    "staticPodURLHeader": _Target("manifest_url_header", _headers),
    "systemReserved": _Target("system_reserved", _pairs("=")),
    "topologyManagerPolicy": _Target("topology_manager_policy", str),
    "topologyManagerPolicyOptions": _Target("topology_manager_policy_options", _pairs("=")),
    "topologyManagerScope": _Target("topology_manager_scope", str),
}
"""Fields of a KubeletConfiguration, and what they are here."""


def configured(config: Config) -> Config:
    """Return a node's options with what its files say where it was told nothing itself.

    Raises:
        StartError: a file is not there, or is no KubeletConfiguration.

    """
    document: dict[str, Any] = {}
    for file in _files(config.kubelet_config, config.kubelet_config_dir):
        document = _merged(document, _read(file))
    usual = {field.name: field.default for field in fields(config)}
    found = dict(options_of(document))
    return replace(config, **{n: v for n, v in found.items() if getattr(config, n) == usual[n]})


def options_of(document: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield the options that a KubeletConfiguration is, by name; raises StartError."""
    if document.get("serializeImagePulls") is True:
        yield "max_parallel_image_pulls", 1
    for name, value in document.items():
        if name in ("apiVersion", "kind", "serializeImagePulls") or value is None:
            continue
        target = FIELDS.get(name)
        if target is None:
            log.warning("field of KubeletConfiguration has no effect here field=%s", name)
            continue
        try:
            yield target.option, target.written(value)
        except (TypeError, ValueError, KeyError, AttributeError) as error:
            raise StartError(
                f"{KIND}: {name} cannot be {value!r}; give it as the kubelet takes it"
            ) from error


def _files(first: str, folder: str) -> Iterator[Path]:
    if first:
        yield Path(first)
    if folder:
        if not Path(folder).is_dir():
            raise StartError(f"there is no folder {folder}; check --kubelet-config-dir")
        yield from sorted(path for path in Path(folder).rglob(f"*{SUFFIX}") if path.is_file())


def _read(file: Path) -> dict[str, Any]:
    import yaml  # noqa: PLC0415 -- few nodes have such a file

    try:
        document = yaml.safe_load(file.read_text())
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise StartError(f"cannot read {file}: {error}; check --kubelet-config") from error
    if not isinstance(document, dict) or document.get("kind") != KIND:
        raise StartError(f"{file} holds no {KIND}; check --kubelet-config")
    if document.get("apiVersion") != VERSION:
        raise StartError(f"{file} is of {document.get('apiVersion')!r}; write {VERSION}")
    return document


def _merged(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    both = {name: old[name] for name in old if isinstance(old[name], dict)}
    return {
        **old,
        **{
            name: _merged(both[name], value) if isinstance(value, dict) and name in both else value
            for name, value in new.items()
        },
    }
