"""`--profile=cis`: what the CIS Kubernetes Benchmark asks for and a small cluster does without.

Most of the benchmark holds for every server; here is the strict rest, as one change of the options
and of what admission plugins are told. AlwaysPullImages is not in it: clusters without a network
run images that were imported. What an administrator's own file says of a plugin stands.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from minikube_py.api.object import Obj
from minikube_py.server.config import ServerConfig

PROFILES: Final = ("", "cis")
AUDIT_MEGABYTES: Final = 100
_RESTRICTED: Final = {
    key: value
    for mode in ("enforce", "audit", "warn")
    for key, value in ((mode, "restricted"), (f"{mode}-version", "latest"))
}
PLUGINS: Final[Mapping[str, Obj]] = {
    "PodSecurity": {
        "apiVersion": "pod-security.admission.config.k8s.io/v1",
        "kind": "PodSecurityConfiguration",
        "defaults": _RESTRICTED,
        "exemptions": {"namespaces": ["kube-system"]},
    },
    "EventRateLimit": {
        "apiVersion": "eventratelimit.admission.k8s.io/v1alpha1",
        "kind": "Configuration",
        "limits": [
            {"type": "Server", "qps": 500, "burst": 5000},
            {"type": "Namespace", "qps": 50, "burst": 1000, "cacheSize": 2000},
        ],
    },
}
"""What plugins are told. A burst lets a large rollout through; a loop that floods does not last."""


def applied(config: ServerConfig) -> ServerConfig:
    """Return the options as the profile has them; the same again where it is applied already."""
    if config.profile != "cis":
        return config
    enabled = dict.fromkeys((*config.enable_admission_plugins, "EventRateLimit"))
    return replace(
        config,
        audit_log_maxsize=max(config.audit_log_maxsize, AUDIT_MEGABYTES),
        enable_admission_plugins=tuple(enabled),
    )


def plugin_configuration(config: ServerConfig, given: Mapping[str, Obj]) -> Mapping[str, Obj]:
    """Return what plugins are told: by the profile, and over it by the administrator's file."""
    return {**PLUGINS, **given} if config.profile == "cis" else given
