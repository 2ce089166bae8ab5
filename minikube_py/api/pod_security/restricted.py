"""The controls of the level restricted: what hardened pods do without, and what they must say."""

from typing import Final

from minikube_py.api.object import Obj, get
from minikube_py.api.pod_security.baseline import PROFILES, seccomp
from minikube_py.api.pod_security.checks import (
    CheckPod,
    Violation,
    context,
    named,
    names_where,
    plural,
    quoted,
    setters,
)

VOLUMES: Final = (
    "configMap",
    "csi",
    "downwardAPI",
    "emptyDir",
    "ephemeral",
    "image",
    "persistentVolumeClaim",
    "projected",
    "secret",
)
"""The kinds of volumes that a restricted pod may have."""


def allow_privilege_escalation(_metadata: Obj, spec: Obj) -> Violation | None:
    """Ask for containers whose processes cannot get more rights than their parents."""
    bad = names_where(spec, lambda c: context(c).get("allowPrivilegeEscalation") is not False)
    if not bad:
        return None
    return Violation(
        "allowPrivilegeEscalation != false",
        f"{named('container', bad)} must set securityContext.allowPrivilegeEscalation=false",
    )


def capabilities(_metadata: Obj, spec: Obj) -> Violation | None:
    """Ask for containers that drop all capabilities and add at most NET_BIND_SERVICE."""
    missing = names_where(spec, lambda c: "ALL" not in get(context(c), "capabilities.drop", ()))
    added: set[str] = set()

    def is_adding(container: Obj) -> bool:
        wanted = set(get(context(container), "capabilities.add", ())) - {"NET_BIND_SERVICE"}
        added.update(wanted)
        return bool(wanted)

    adding = names_where(spec, is_adding)
    details: list[str] = []
    if missing:
        drop = 'must set securityContext.capabilities.drop=["ALL"]'
        details.append(f"{named('container', missing)} {drop}")
    if adding:
        details.append(
            f"{named('container', adding)} must not include {quoted(sorted(added))} "
            "in securityContext.capabilities.add"
        )
    return Violation("unrestricted capabilities", "; ".join(details)) if details else None


def volumes(_metadata: Obj, spec: Obj) -> Violation | None:
    """Refuse volumes that reach storage without a persistent volume between."""
    bad: list[str] = []
    types: set[str] = set()
    for volume in spec.get("volumes") or ():
        kinds = [kind for kind, source in volume.items() if kind != "name" and source is not None]
        if any(kind in VOLUMES for kind in kinds):
            continue
        bad.append(volume["name"])
        types.add(kinds[0] if kinds else "unknown")
    if not bad:
        return None
    verb = "uses" if len(bad) == 1 else "use"
    return Violation(
        "restricted volume types",
        f"{named('volume', bad)} {verb} {plural('restricted volume type', types)} "
        f"{quoted(sorted(types))}",
    )


def run_as_non_root(_metadata: Obj, spec: Obj) -> Violation | None:
    """Ask that every container, or its pod, runs as somebody else than root."""
    whole = context(spec).get("runAsNonRoot")
    bad = names_where(spec, lambda c: context(c).get("runAsNonRoot") is False)
    who = setters(pod=whole is False, bad=bad)
    if who:
        text = f"{who} must not set securityContext.runAsNonRoot=false"
        return Violation("runAsNonRoot != true", text)
    silent = names_where(spec, lambda c: context(c).get("runAsNonRoot") is None)
    if whole or not silent:
        return None
    text = f"pod or {named('container', silent)} must set securityContext.runAsNonRoot=true"
    return Violation("runAsNonRoot != true", text)


def run_as_user(_metadata: Obj, spec: Obj) -> Violation | None:
    """Refuse the user 0."""
    bad = names_where(spec, lambda c: context(c).get("runAsUser") == 0)
    who = setters(pod=context(spec).get("runAsUser") == 0, bad=bad)
    return Violation("runAsUser=0", f"{who} must not set runAsUser=0") if who else None


def seccomp_profile(metadata: Obj, spec: Obj) -> Violation | None:
    """Ask for a seccomp filter, of every container or of the pod."""
    violation = seccomp(metadata, spec)
    if violation is not None:
        return violation
    if get(context(spec), "seccompProfile.type") in PROFILES:
        return None
    silent = names_where(spec, lambda c: context(c).get("seccompProfile") is None)
    if not silent:
        return None
    return Violation(
        "seccompProfile",
        f"pod or {named('container', silent)} must set securityContext.seccompProfile.type "
        'to "RuntimeDefault" or "Localhost"',
    )


def unless_on_windows(check: CheckPod) -> CheckPod:
    """Return the check without pods of Windows, where its fields mean nothing."""

    def linux(metadata: Obj, spec: Obj) -> Violation | None:
        return None if get(spec, "os.name") == "windows" else check(metadata, spec)

    return linux
