"""The controls of the level baseline: no known escalation of privileges."""

from typing import Any, Final

from minikube_py.api.fields import quote
from minikube_py.api.object import Obj, get
from minikube_py.api.pod_security.checks import (
    CheckPod,
    Violation,
    containers,
    context,
    named,
    names_where,
    plural,
    quoted,
    setters,
)

CAPABILITIES: Final = frozenset(
    {
        "AUDIT_WRITE",
        "CHOWN",
        "DAC_OVERRIDE",
        "FOWNER",
        "FSETID",
        "KILL",
        "MKNOD",
        "NET_BIND_SERVICE",
        "SETFCAP",
        "SETGID",
        "SETPCAP",
        "SETUID",
        "SYS_CHROOT",
    }
)
"""What runtimes give by default, without NET_RAW."""
PROFILES: Final = frozenset({"RuntimeDefault", "Localhost"})
SELINUX_TYPES: Final = frozenset({"", "container_t", "container_init_t", "container_kvm_t"})
SELINUX_TYPES_1_31: Final = SELINUX_TYPES | {"container_engine_t"}
SYSCTLS: Final = frozenset(
    {
        "kernel.shm_rmid_forced",
        "net.ipv4.ip_local_port_range",
        "net.ipv4.tcp_syncookies",
        "net.ipv4.ping_group_range",
        "net.ipv4.ip_unprivileged_port_start",
    }
)
SYSCTLS_1_27: Final = SYSCTLS | {"net.ipv4.ip_local_reserved_ports"}
SYSCTLS_1_29: Final = SYSCTLS_1_27 | {
    "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_keepalive_intvl",
    "net.ipv4.tcp_keepalive_probes",
    "net.ipv4.tcp_keepalive_time",
}
SYSCTLS_1_32: Final = SYSCTLS_1_29 | {"net.ipv4.tcp_rmem", "net.ipv4.tcp_wmem"}
_APPARMOR: Final = "container.apparmor.security.beta.kubernetes.io/"
_SECCOMP_POD: Final = "seccomp.security.alpha.kubernetes.io/pod"
_SECCOMP_CONTAINER: Final = "container.seccomp.security.alpha.kubernetes.io/"
_PROBES: Final = (
    "livenessProbe",
    "readinessProbe",
    "startupProbe",
    "lifecycle.postStart",
    "lifecycle.preStop",
)


def apparmor(metadata: Obj, spec: Obj) -> Violation | None:
    """Refuse profiles other than the runtime's and those of the node."""
    values: set[str] = set()
    pod = _bad_profile(spec, "appArmorProfile", values)
    bad = names_where(spec, lambda c: _bad_profile(c, "appArmorProfile", values))
    annotations: dict[str, str] = metadata.get("annotations") or {}
    notes = sorted(
        f"{key}={quote(value)}"
        for key, value in annotations.items()
        if key.startswith(_APPARMOR) and not _allowed_apparmor(value)
    )
    who = [part for part in (setters(pod=pod, bad=bad),) if part]
    if notes:
        who.append(plural("annotation", notes))
    if not who:
        return None
    listed = [*sorted(values), *notes]
    return Violation(
        plural("forbidden AppArmor profile", listed),
        f"{' and '.join(who)} must not set AppArmor profile type to {quoted(listed)}",
    )


def _allowed_apparmor(value: str) -> bool:
    return value in ("", "runtime/default") or value.startswith("localhost/")


def _bad_profile(owner: Obj, field: str, values: set[str]) -> bool:
    """Tell whether a profile is forbidden, and note its type."""
    profile = context(owner).get(field)
    if profile is None or profile.get("type", "") in PROFILES:
        return False
    values.add(profile.get("type", ""))
    return True


def capabilities(_metadata: Obj, spec: Obj) -> Violation | None:
    """Refuse capabilities that runtimes do not give by default, and NET_RAW."""
    added: set[str] = set()

    def is_bad(container: Obj) -> bool:
        wanted = set(get(context(container), "capabilities.add", ())) - CAPABILITIES
        added.update(wanted)
        return bool(wanted)

    bad = names_where(spec, is_bad)
    if not bad:
        return None
    return Violation(
        "non-default capabilities",
        f"{named('container', bad)} must not include {quoted(sorted(added))} "
        "in securityContext.capabilities.add",
    )


def host_namespaces(_metadata: Obj, spec: Obj) -> Violation | None:
    """Refuse the namespaces of the node."""
    shared = [f"{f}=true" for f in ("hostNetwork", "hostPID", "hostIPC") if spec.get(f)]
    return Violation("host namespaces", ", ".join(shared)) if shared else None


def host_paths(_metadata: Obj, spec: Obj) -> Violation | None:
    """Refuse directories of the node."""
    bad = [v["name"] for v in spec.get("volumes") or () if v.get("hostPath") is not None]
    return Violation("hostPath volumes", named("volume", bad)) if bad else None


def host_ports(_metadata: Obj, spec: Obj) -> Violation | None:
    """Refuse ports of the node."""
    ports: set[str] = set()

    def is_bad(container: Obj) -> bool:
        own = {str(p["hostPort"]) for p in container.get("ports") or () if p.get("hostPort")}
        ports.update(own)
        return bool(own)

    bad = names_where(spec, is_bad)
    if not bad:
        return None
    verb = "uses" if len(bad) == 1 else "use"
    listed = f"{plural('hostPort', ports)} {', '.join(sorted(ports))}"
    return Violation("hostPort", f"{named('container', bad)} {verb} {listed}")


def probe_hosts(_metadata: Obj, spec: Obj) -> Violation | None:
    """Refuse probes and hooks that reach for other hosts than the pod."""
    hosts: set[str] = set()
    bad: set[str] = set()
    for container in containers(spec):
        own = {
            get(container, f"{handler}.{kind}.host", "")
            for handler in _PROBES
            for kind in ("httpGet", "tcpSocket")
        } - {""}
        if own:
            bad.add(container["name"])
            hosts |= own
    if not bad:
        return None
    verb = "uses" if len(bad) == 1 else "use"
    listed = f"{plural('probe or lifecycle host', hosts)} {quoted(sorted(hosts))}"
    return Violation(
        "probe or lifecycle host", f"{named('container', sorted(bad))} {verb} {listed}"
    )


def privileged(_metadata: Obj, spec: Obj) -> Violation | None:
    """Refuse privileged containers."""
    bad = names_where(spec, lambda c: context(c).get("privileged") is True)
    if not bad:
        return None
    text = f"{named('container', bad)} must not set securityContext.privileged=true"
    return Violation("privileged", text)


def proc_mount(_metadata: Obj, spec: Obj) -> Violation | None:
    """Refuse a /proc that shows what runtimes mask."""
    types: set[str] = set()

    def is_bad(container: Obj) -> bool:
        kind = context(container).get("procMount", "Default")
        if kind == "Default":
            return False
        types.add(kind)
        return True

    bad = names_where(spec, is_bad)
    if not bad:
        return None
    text = f"must not set securityContext.procMount to {quoted(sorted(types))}"
    return Violation("procMount", f"{named('container', bad)} {text}")


def unless_in_user_namespace(check: CheckPod) -> CheckPod:
    """Return the check without those pods whose root is nobody on the node."""

    def relaxed(metadata: Obj, spec: Obj) -> Violation | None:
        return None if spec.get("hostUsers") is False else check(metadata, spec)

    return relaxed


def selinux(types: frozenset[str]) -> CheckPod:
    """Return the check of SELinux options, which allows these types."""

    def check(_metadata: Obj, spec: Obj) -> Violation | None:
        wrong: dict[str, set[str]] = {"type": set(), "user": set(), "role": set()}
        pod = _bad_selinux(context(spec), types, wrong)
        bad = names_where(spec, lambda c: _bad_selinux(context(c), types, wrong))
        who = setters(pod=pod, bad=bad)
        if not who:
            return None
        kinds = sorted(wrong["type"])
        data = [f"{plural('type', kinds)} {quoted(kinds)}"] if kinds else []
        data += [f"{field} may not be set" for field in ("user", "role") if wrong[field]]
        text = f"{who} set forbidden securityContext.seLinuxOptions: {'; '.join(data)}"
        return Violation("seLinuxOptions", text)

    return check


def _bad_selinux(owner: Obj, types: frozenset[str], wrong: dict[str, set[str]]) -> bool:
    options: Obj = owner.get("seLinuxOptions") or {}
    found = {field: options.get(field, "") for field in ("user", "role") if options.get(field)}
    if options.get("type", "") not in types:
        found["type"] = options["type"]
    for field, value in found.items():
        wrong[field].add(value)
    return bool(found)


def seccomp_annotations(metadata: Obj, spec: Obj) -> Violation | None:
    """Refuse seccomp profiles by annotation, as it was before fields existed."""
    annotations: Any = metadata.get("annotations") or {}
    keys = [_SECCOMP_POD, *(f"{_SECCOMP_CONTAINER}{c['name']}" for c in containers(spec))]
    bad = {
        f"{key}={quote(annotations[key])}"
        for key in keys
        if key in annotations and not _allowed_seccomp(annotations[key])
    }
    if not bad:
        return None
    text = f"forbidden {plural('annotation', bad)} {', '.join(sorted(bad))}"
    return Violation("seccompProfile", text)


def _allowed_seccomp(value: str) -> bool:
    return value in ("runtime/default", "docker/default") or value.startswith("localhost/")


def seccomp(_metadata: Obj, spec: Obj) -> Violation | None:
    """Refuse pods that switch the seccomp filter off."""
    values: set[str] = set()
    pod = _bad_profile(spec, "seccompProfile", values)
    bad = names_where(spec, lambda c: _bad_profile(c, "seccompProfile", values))
    who = setters(pod=pod, bad=bad)
    if not who:
        return None
    text = f"{who} must not set securityContext.seccompProfile.type to {quoted(sorted(values))}"
    return Violation("seccompProfile", text)


def sysctls(allowed: frozenset[str]) -> CheckPod:
    """Return the check of kernel parameters, which allows these."""

    def check(_metadata: Obj, spec: Obj) -> Violation | None:
        wanted = [item["name"] for item in context(spec).get("sysctls") or ()]
        bad = [name for name in wanted if name not in allowed]
        return Violation("forbidden sysctls", ", ".join(bad)) if bad else None

    return check


def windows_host_process(_metadata: Obj, spec: Obj) -> Violation | None:
    """Refuse Windows containers that are processes of the node."""
    pod = get(context(spec), "windowsOptions.hostProcess") is True
    bad = names_where(spec, lambda c: get(context(c), "windowsOptions.hostProcess") is True)
    who = setters(pod=pod, bad=bad)
    if not who:
        return None
    text = f"{who} must not set securityContext.windowsOptions.hostProcess=true"
    return Violation("hostProcess", text)
