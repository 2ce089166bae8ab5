"""All controls with their revisions, and what a level of a version asks of a pod.

The order of violations is upstream's: baseline first, each level by the names of its controls.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import Final

from minikube_py.api.object import Obj
from minikube_py.api.pod_security import baseline, restricted
from minikube_py.api.pod_security.baseline import unless_in_user_namespace
from minikube_py.api.pod_security.checks import CheckPod, Control, Revision, Violation
from minikube_py.api.pod_security.levels import LATEST, LevelVersion
from minikube_py.api.pod_security.restricted import unless_on_windows

CONTROLS: Final = (
    Control("appArmorProfile", "baseline", (Revision(0, baseline.apparmor),)),
    Control("capabilities_baseline", "baseline", (Revision(0, baseline.capabilities),)),
    Control("hostNamespaces", "baseline", (Revision(0, baseline.host_namespaces),)),
    Control("hostPathVolumes", "baseline", (Revision(0, baseline.host_paths),)),
    Control("hostPorts", "baseline", (Revision(0, baseline.host_ports),)),
    Control("hostProbesAndHostLifecycle", "baseline", (Revision(34, baseline.probe_hosts),)),
    Control("privileged", "baseline", (Revision(0, baseline.privileged),)),
    Control(
        "procMount",
        "baseline",
        (
            Revision(0, baseline.proc_mount),
            Revision(35, unless_in_user_namespace(baseline.proc_mount)),
        ),
    ),
    Control(
        "seLinuxOptions",
        "baseline",
        (
            Revision(0, baseline.selinux(baseline.SELINUX_TYPES)),
            Revision(31, baseline.selinux(baseline.SELINUX_TYPES_1_31)),
        ),
    ),
    Control(
        "seccompProfile_baseline",
        "baseline",
        (Revision(0, baseline.seccomp_annotations), Revision(19, baseline.seccomp)),
    ),
    Control(
        "sysctls",
        "baseline",
        (
            Revision(0, baseline.sysctls(baseline.SYSCTLS)),
            Revision(27, baseline.sysctls(baseline.SYSCTLS_1_27)),
            Revision(29, baseline.sysctls(baseline.SYSCTLS_1_29)),
            Revision(32, baseline.sysctls(baseline.SYSCTLS_1_32)),
        ),
    ),
    Control("windowsHostProcess", "baseline", (Revision(0, baseline.windows_host_process),)),
    Control(
        "allowPrivilegeEscalation",
        "restricted",
        (
            Revision(8, restricted.allow_privilege_escalation),
            Revision(25, unless_on_windows(restricted.allow_privilege_escalation)),
        ),
    ),
    Control(
        "capabilities_restricted",
        "restricted",
        (
            Revision(22, restricted.capabilities, "capabilities_baseline"),
            Revision(25, unless_on_windows(restricted.capabilities), "capabilities_baseline"),
        ),
    ),
    Control(
        "procMount_restricted", "restricted", (Revision(35, baseline.proc_mount, "procMount"),)
    ),
    Control(
        "restrictedVolumes", "restricted", (Revision(0, restricted.volumes, "hostPathVolumes"),)
    ),
    Control(
        "runAsNonRoot",
        "restricted",
        (
            Revision(0, restricted.run_as_non_root),
            Revision(35, unless_in_user_namespace(restricted.run_as_non_root)),
        ),
    ),
    Control(
        "runAsUser",
        "restricted",
        (
            Revision(23, restricted.run_as_user),
            Revision(35, unless_in_user_namespace(restricted.run_as_user)),
        ),
    ),
    Control(
        "seccompProfile_restricted",
        "restricted",
        (
            Revision(19, restricted.seccomp_profile, "seccompProfile_baseline"),
            Revision(25, unless_on_windows(restricted.seccomp_profile), "seccompProfile_baseline"),
        ),
    ),
)
NEWEST: Final = max(revision.since for control in CONTROLS for revision in control.revisions)
"""Later versions mean what this one does."""


def evaluate(policy: LevelVersion, metadata: Obj, spec: Obj) -> list[Violation]:
    """Return what is wrong with a pod at a level; privileged allows everything."""
    if policy.level == "privileged":
        return []
    minor = NEWEST if policy.minor == LATEST else min(policy.minor, NEWEST)
    found = (check(metadata, spec) for check in checks_of(policy.level, minor))
    return [violation for violation in found if violation is not None]


@lru_cache(maxsize=2 * (NEWEST + 1))
def checks_of(level: str, minor: int) -> tuple[CheckPod, ...]:
    """Return the checks of a level as they were in a minor version, at most NEWEST."""
    current = {
        control.id: revision
        for control in CONTROLS
        if level == "restricted" or control.level == "baseline"
        for revision in control.revisions
        if revision.since <= minor
    }
    overridden = {revision.overrides for revision in current.values()}
    return tuple(r.check for name, r in current.items() if name not in overridden)


def reasons(violations: Sequence[Violation]) -> str:
    """Return what the violations are about: `host namespaces, privileged`."""
    return ", ".join(violation.reason for violation in violations)


def details(violations: Sequence[Violation]) -> str:
    """Return the violations with where they are."""
    return ", ".join(str(violation) for violation in violations)
