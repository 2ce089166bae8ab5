"""What an administrator decides of Pod Security for all namespaces: defaults and exemptions."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from minikube_py.api.object import Obj
from minikube_py.api.pod_security import PRIVILEGED, Policy, policy_of
from minikube_py.api.pod_security.levels import MODES, PREFIX
from minikube_py.lib.errors import StartError
from minikube_py.server.admission.configuration import listed

_PLACE: Final = "PodSecurity configuration"
_KEYS: Final = frozenset({"apiVersion", "kind", "defaults", "exemptions"})


@dataclass(frozen=True, kw_only=True)
class PodSecurityConfiguration:
    """Defaults for namespaces without labels, and who is exempt from all of it."""

    defaults: Policy = PRIVILEGED
    usernames: frozenset[str] = frozenset()
    namespaces: frozenset[str] = frozenset()
    runtime_classes: frozenset[str] = frozenset()


def configuration_of(document: Obj | None) -> PodSecurityConfiguration:
    """Return what a PodSecurityConfiguration says; the usual without one.

    Raises:
        StartError: it says something impossible.

    """
    if document is None:
        return PodSecurityConfiguration()
    if unknown := sorted(document.keys() - _KEYS):
        raise StartError(f"{_PLACE}: unknown field {unknown[0]!r}")
    exemptions = document.get("exemptions") or {}
    exempt = {
        name: frozenset(listed(f"{_PLACE}: exemptions.{name}", exemptions.get(name)))
        for name in ("usernames", "namespaces", "runtimeClasses")
    }
    return PodSecurityConfiguration(
        defaults=_defaults(document.get("defaults") or {}),
        usernames=exempt["usernames"],
        namespaces=exempt["namespaces"],
        runtime_classes=exempt["runtimeClasses"],
    )


def _defaults(given: Mapping[str, Any]) -> Policy:
    """Return the policy; what is not given is privileged and latest, whatever else is."""
    usual = dict.fromkeys(MODES, "privileged") | {f"{mode}-version": "latest" for mode in MODES}
    if unknown := sorted(given.keys() - usual.keys()):
        raise StartError(f"{_PLACE}: unknown field 'defaults.{unknown[0]}'")
    chosen = {key: str(value) for key, value in {**usual, **given}.items()}
    labels = {f"{PREFIX}{key}": value for key, value in chosen.items()}
    policy, errors = policy_of(labels, PRIVILEGED)
    for error in errors:
        name = error.field.removeprefix(f"metadata.labels[{PREFIX}").removesuffix("]")
        raise StartError(f"{_PLACE}: defaults.{name}: {error.text}")
    return policy
