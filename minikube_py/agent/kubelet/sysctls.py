"""Kernel parameters that pods set for themselves: which ones a node lets them set. Pure.

Safe ones hold for the pod alone. Others that a namespace holds are let in by
`--allowed-unsafe-sysctls`, one by one or as `net.core.*`. Rules and words are those of upstream's
pkg/kubelet/sysctl.
"""

from collections.abc import Iterable, Sequence

from minikube_py.api.object import Obj, get

SAFE = frozenset(
    {
        "kernel.shm_rmid_forced",
        "net.ipv4.ip_local_port_range",
        "net.ipv4.tcp_syncookies",
        "net.ipv4.ping_group_range",
        "net.ipv4.ip_unprivileged_port_start",
        "net.ipv4.ip_local_reserved_ports",
        "net.ipv4.tcp_keepalive_time",
        "net.ipv4.tcp_fin_timeout",
        "net.ipv4.tcp_keepalive_intvl",
        "net.ipv4.tcp_keepalive_probes",
        "net.ipv4.tcp_rmem",
        "net.ipv4.tcp_wmem",
    }
)
"""What a pod may set for itself without harm to others."""
NAMESPACES = (
    ("kernel.shm", "IPC"),
    ("kernel.msg", "IPC"),
    ("kernel.sem", "IPC"),
    ("fs.mqueue.", "IPC"),
    ("net.", "Net"),
)
"""Beginning of a name -> the namespace that holds it."""
SHARED = {"IPC": "spec.hostIPC", "Net": "spec.hostNetwork"}
"""Namespace -> the field by which a pod shares the node's."""


def normal(name: str) -> str:
    """Return a name with dots, whichever way it was written."""
    first = next((letter for letter in name if letter in "./"), ".")
    return name if first == "." else name.translate(str.maketrans("./", "/."))


def namespace_of(name: str) -> str:
    """Return the namespace that holds a parameter, "" where it is the whole node's."""
    return next((space for begin, space in NAMESPACES if name.startswith(begin)), "")


def allowed(patterns: Iterable[str]) -> tuple[str, ...]:
    """Return patterns in their normal form; raises ValueError for one that no namespace holds."""
    found = tuple(normal(pattern) for pattern in patterns)
    for pattern in found:
        if not namespace_of(pattern.removesuffix("*")):
            raise ValueError(f"the sysctls {pattern!r} are not known to be namespaced")
    return found


def forbidden(pod: Obj, unsafe: Sequence[str]) -> str | None:
    """Return why a pod may not set what it wants to set, or None."""
    for entry in get(pod, "spec.securityContext.sysctls") or ():
        name = normal(entry["name"])
        if name not in SAFE and not any(_matches(name, pattern) for pattern in unsafe):
            return f'forbidden sysctl: "{name}" not allowlisted'
        space = namespace_of(name)
        if space and get(pod, SHARED[space]):
            return f'forbidden sysctl: "{name}" not allowed with host {space} enabled'
    return None


def _matches(name: str, pattern: str) -> bool:
    if pattern.endswith("*"):
        return name.startswith(pattern[:-1])
    return name == pattern
