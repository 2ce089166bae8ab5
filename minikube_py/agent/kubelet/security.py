"""Security contexts: the pod's and the container's become one, in the words of CRI. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from minikube_py.agent.cri.images import Image
from minikube_py.agent.kubelet.pod import all_specs, full_name, is_host_network
from minikube_py.api.object import Obj, get

MASKED_PATHS = (
    "/proc/asound",
    "/proc/acpi",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/sys/firmware",
    "/sys/devices/virtual/powercap",
)
READ_ONLY_PATHS = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")
SHARED_FIELDS = (
    "runAsUser",
    "runAsGroup",
    "runAsNonRoot",
    "seLinuxOptions",
    "seccompProfile",
    "appArmorProfile",
)
"""What a container has from its pod unless it says otherwise."""


class SecurityError(Exception):
    """The container may not run as it would; it waits with CreateContainerConfigError."""


@dataclass(frozen=True)
class Confinement:
    """What the node has to confine containers with."""

    seccomp_folder: Path
    """Holds the profiles that pods name."""
    apparmor: bool = False
    """Whether the kernel has AppArmor."""


def effective(pod: Obj, container: Obj) -> dict[str, Any]:
    """Return the security context that holds for a container."""
    shared = get(pod, "spec.securityContext") or {}
    own = container.get("securityContext") or {}
    inherited = {name: shared[name] for name in SHARED_FIELDS if shared.get(name) is not None}
    return inherited | {name: value for name, value in own.items() if value is not None}


def namespace_options(pod: Obj, target: str = "") -> dict[str, Any]:
    """Return whose network, processes and IPC the containers of a pod see."""
    if get(pod, "spec.hostPID"):
        pid = "NODE"
    else:
        pid = "POD" if get(pod, "spec.shareProcessNamespace") else "CONTAINER"
    options: dict[str, Any] = {
        "network": "NODE" if is_host_network(pod) else "POD",
        "pid": pid,
        "ipc": "NODE" if get(pod, "spec.hostIPC") else "POD",
    }
    if target:
        options |= {"pid": "TARGET", "target_id": target}
    return options


def supplemental_groups(pod: Obj) -> list[int]:
    """Return the groups that all processes of a pod belong to."""
    shared = get(pod, "spec.securityContext") or {}
    groups = [int(group) for group in shared.get("supplementalGroups") or ()]
    if shared.get("fsGroup") is not None:
        groups.append(int(shared["fsGroup"]))
    return groups


def is_privileged(container: Obj) -> bool:
    """Tell whether the container may do all that the node may."""
    return bool(get(container, "securityContext.privileged"))


def _id(value: Any) -> dict[str, Any] | None:
    return None if value is None else {"value": int(value)}


def _profile(profile: Obj | None, folder: Path) -> dict[str, Any]:
    kind = (profile or {}).get("type", "Unconfined")
    if kind != "Localhost":
        return {"profile_type": kind}
    path = folder / str((profile or {}).get("localhostProfile", ""))
    return {"profile_type": "Localhost", "localhost_ref": str(path)}


def apparmor(profile: Obj | None) -> dict[str, Any]:
    """Return the fields of CRI for an AppArmor profile, old and new; none where none is wanted."""
    match (profile or {}).get("type"):
        case "RuntimeDefault":
            return {
                "apparmor": {"profile_type": "RuntimeDefault"},
                "apparmor_profile": "runtime/default",
            }
        case "Localhost":
            name = str((profile or {}).get("localhostProfile", ""))
            return {
                "apparmor": {"profile_type": "Localhost", "localhost_ref": name},
                "apparmor_profile": f"localhost/{name}",
            }
        case "Unconfined":
            return {"apparmor": {"profile_type": "Unconfined"}, "apparmor_profile": "unconfined"}
    return {}


def users_option(users: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return the part of the namespace options that is about users."""
    return {} if users is None else {"userns_options": users}


def sandbox_context(pod: Obj, users: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return the LinuxSandboxSecurityContext of a pod; `users` is its UserNamespace, if any."""
    shared = get(pod, "spec.securityContext") or {}
    context: dict[str, Any] = {
        "namespace_options": namespace_options(pod) | users_option(users),
        "privileged": any(is_privileged(spec.container) for spec in all_specs(pod)),
        "supplemental_groups": supplemental_groups(pod),
        "supplemental_groups_policy": shared.get("supplementalGroupsPolicy") or "Merge",
        "selinux_options": shared.get("seLinuxOptions"),
        # The pause program needs nothing; whatever the containers may do, it gets the default.
        "seccomp": {"profile_type": "RuntimeDefault"},
    }
    if shared.get("runAsUser") is not None:
        context["run_as_user"] = _id(shared["runAsUser"])
        context["run_as_group"] = _id(shared.get("runAsGroup"))
    return context


def container_context(
    pod: Obj, container: Obj, image: Image, node: Confinement, target: str = ""
) -> dict[str, Any]:
    """Return the LinuxContainerSecurityContext of a container.

    Raises:
        SecurityError: it must not run as root and would.

    """
    own = effective(pod, container)
    user = _user(pod, container, own, image)
    unmasked = own.get("procMount") == "Unmasked"
    capabilities = own.get("capabilities") or {}
    return {
        "capabilities": {
            "add_capabilities": list(capabilities.get("add") or ()),
            "drop_capabilities": list(capabilities.get("drop") or ()),
        },
        "privileged": bool(own.get("privileged")),
        "namespace_options": namespace_options(pod, target),
        "selinux_options": own.get("seLinuxOptions"),
        **user,
        "run_as_group": _id(own.get("runAsGroup")),
        "readonly_rootfs": bool(own.get("readOnlyRootFilesystem")),
        "supplemental_groups": supplemental_groups(pod),
        "supplemental_groups_policy": get(
            pod, "spec.securityContext.supplementalGroupsPolicy", "Merge"
        ),
        "no_new_privs": own.get("allowPrivilegeEscalation") is False,
        "masked_paths": [] if unmasked else list(MASKED_PATHS),
        "readonly_paths": [] if unmasked else list(READ_ONLY_PATHS),
        "seccomp": _profile(own.get("seccompProfile"), node.seccomp_folder),
        **(apparmor(own.get("appArmorProfile")) if node.apparmor else {}),
    }


def _user(pod: Obj, container: Obj, own: Mapping[str, Any], image: Image) -> dict[str, Any]:
    wanted = own.get("runAsUser")
    if own.get("runAsNonRoot"):
        _check_non_root(pod, container, wanted, image)
    if wanted is not None:
        return {"run_as_user": _id(wanted)}
    if image.uid is not None:
        return {"run_as_user": _id(image.uid)}
    return {"run_as_username": image.username} if image.username else {"run_as_user": _id(0)}


def _check_non_root(pod: Obj, container: Obj, wanted: Any, image: Image) -> None:
    where = f'(pod: "{full_name(pod)}", container: {container["name"]})'
    if wanted is not None:
        if int(wanted) == 0:
            raise SecurityError(f"container's runAsUser breaks non-root policy {where}")
        return
    if image.username:
        raise SecurityError(
            f"container has runAsNonRoot and image has non-numeric user ({image.username}),"
            f" cannot verify user is non-root {where}"
        )
    if not image.uid:
        raise SecurityError(f"container has runAsNonRoot and image will run as root {where}")
