"""Checks of security contexts, of pods and of containers."""

import re
from collections.abc import Iterator
from typing import Any, Final

from minikube_py.api import names
from minikube_py.api.core.go_values import go_value
from minikube_py.api.core.paths import validate_descending
from minikube_py.api.fields import Field, FieldError
from minikube_py.api.object import Obj

_PROFILES: Final = ("Localhost", "RuntimeDefault", "Unconfined")
_FS_GROUP_POLICIES: Final = frozenset({"OnRootMismatch", "Always"})
_GROUPS_POLICIES: Final = frozenset({"Merge", "Strict"})
_SELINUX_POLICIES: Final = frozenset({"Recursive", "MountOption"})
_SEGMENT: Final = "[a-z0-9]([-_a-z0-9]*[a-z0-9])?"
_SYSCTL: Final = rf"({_SEGMENT}[\./])*{_SEGMENT}"
_is_sysctl = re.compile(_SYSCTL).fullmatch
_SYSCTL_MAX: Final = 253
_PROFILE_MAX: Final = 4095
"""PATH_MAX - 1."""
_IPC_SYSCTLS: Final = ("kernel.msg", "kernel.sem", "kernel.shm", "fs.mqueue.")


def validate_pod_security(context: Obj, spec: Obj, path: Field) -> Iterator[FieldError]:
    """Report what is wrong with the security context of a pod; `spec` is the pod's."""
    for key in ("fsGroup", "runAsUser", "runAsGroup"):
        yield from _validate_id(context.get(key), path / key)
    for index, group in enumerate(context.get("supplementalGroups") or ()):
        yield from _validate_id(group, (path / "supplementalGroups")[index])
    if spec.get("shareProcessNamespace") and spec.get("hostPID"):
        yield (path / "shareProcessNamespace").invalid(
            value=True, detail="ShareProcessNamespace and HostPID cannot both be enabled"
        )
    if context.get("sysctls"):
        yield from _validate_sysctls(context["sysctls"], spec, path / "sysctls")
    yield from _validate_choice(context, "fsGroupChangePolicy", _FS_GROUP_POLICIES, path)
    yield from validate_seccomp(context.get("seccompProfile"), path / "seccompProfile")
    yield from validate_windows_options(context.get("windowsOptions"), path / "windowsOptions")
    yield from validate_app_armor(context.get("appArmorProfile"), path / "appArmorProfile")
    yield from _validate_choice(context, "supplementalGroupsPolicy", _GROUPS_POLICIES, path)
    yield from _validate_choice(context, "seLinuxChangePolicy", _SELINUX_POLICIES, path)


def _validate_choice(
    context: Obj, key: str, choices: frozenset[str], path: Field
) -> Iterator[FieldError]:
    value = context.get(key)
    if value is not None and value not in choices:
        yield (path / key).unsupported(value, choices)


def _validate_id(value: int | None, path: Field) -> Iterator[FieldError]:
    if value is None:
        return
    for message in names.user_id(value):
        yield path.invalid(value, message)


def _validate_sysctls(sysctls: Any, spec: Obj, path: Field) -> Iterator[FieldError]:
    seen: set[str] = set()
    for index, sysctl in enumerate(sysctls):
        name = sysctl.get("name") or ""
        at = path[index] / "name"
        if not name:
            yield at.required()
        elif len(name) > _SYSCTL_MAX or not _is_sysctl(name):
            yield at.invalid(
                name, f"must have at most {_SYSCTL_MAX} characters and match regex ^{_SYSCTL}$"
            )
        elif name in seen:
            yield at.duplicate(name)
        seen.add(name)
        dotted = _dotted(name)
        if spec.get("hostNetwork") and dotted.startswith("net."):
            yield at.invalid(name, "may not be specified when 'hostNetwork' is true")
        elif spec.get("hostIPC") and dotted.startswith(_IPC_SYSCTLS):
            yield at.invalid(name, "may not be specified when 'hostIPC' is true")


def _dotted(name: str) -> str:
    """Return a sysctl with dots between its parts; slashes and dots may be swapped."""
    first = next((char for char in name if char in "./"), ".")
    return name if first == "." else name.translate({ord("."): "/", ord("/"): "."})


def validate_container_security(
    context: Obj, path: Field, *, host_users: bool
) -> Iterator[FieldError]:
    """Report what is wrong with the security context of a container."""
    for key in ("runAsUser", "runAsGroup"):
        yield from _validate_id(context.get(key), path / key)
    if (mount := context.get("procMount")) is not None:
        if mount not in {"Default", "Unmasked"}:
            yield (path / "procMount").unsupported(mount, ("Default", "Unmasked"))
        if host_users and mount == "Unmasked":
            yield (path / "procMount").invalid(mount, "`hostUsers` must be false to use `Unmasked`")
    yield from validate_seccomp(context.get("seccompProfile"), path / "seccompProfile")
    if context.get("allowPrivilegeEscalation") is False:
        yield from _validate_escalation(context, path)
    yield from validate_windows_options(context.get("windowsOptions"), path / "windowsOptions")
    yield from validate_app_armor(context.get("appArmorProfile"), path / "appArmorProfile")


def _validate_escalation(context: Obj, path: Field) -> Iterator[FieldError]:
    start = "cannot set `allowPrivilegeEscalation` to false and"
    if context.get("privileged"):
        yield path.invalid(go_value(context, "SecurityContext"), f"{start} `privileged` to true")
    added = (context.get("capabilities") or {}).get("add") or ()
    for _ in range(added.count("CAP_SYS_ADMIN")):
        yield path.invalid(
            go_value(context, "SecurityContext"), f"{start} `capabilities.Add` CAP_SYS_ADMIN"
        )


def validate_seccomp(profile: Obj | None, path: Field) -> Iterator[FieldError]:
    """Report what is wrong with a seccomp profile."""
    if profile is None:
        return
    kind, local = profile.get("type") or "", profile.get("localhostProfile")
    if not kind:
        yield (path / "type").required("type is required when seccompProfile is set")
    elif kind not in _PROFILES:
        yield (path / "type").unsupported(kind, _PROFILES)
    if kind != "Localhost":
        if local is not None:
            yield (path / "localhostProfile").invalid(
                go_value(profile, "SeccompProfile"),
                "can only be set when seccomp type is Localhost",
            )
    elif local is None:
        yield (path / "localhostProfile").required("must be set when seccomp type is Localhost")
    else:
        yield from validate_descending(local, path / "localhostProfile")


def validate_app_armor(profile: Obj | None, path: Field) -> Iterator[FieldError]:
    """Report what is wrong with an AppArmor profile."""
    if profile is None:
        return
    kind, local = profile.get("type") or "", profile.get("localhostProfile")
    at = path / "localhostProfile"
    match kind:
        case "Localhost":
            yield from _validate_local_profile(local, at)
        case "RuntimeDefault" | "Unconfined":
            if local is not None:
                yield at.invalid(local, "can only be set when AppArmor type is Localhost")
        case "":
            yield (path / "type").required("type is required when appArmorProfile is set")
        case _:
            yield (path / "type").unsupported(kind, _PROFILES)


def _validate_local_profile(local: str | None, path: Field) -> Iterator[FieldError]:
    if local is None:
        yield path.required("must be set when AppArmor type is Localhost")
        return
    if local != local.strip():
        yield path.invalid(local, "must not be padded with whitespace")
    elif not local:
        yield path.required("must be set when AppArmor type is Localhost")
    if len(local.encode()) > _PROFILE_MAX:
        yield path.too_long(_PROFILE_MAX)


_SPEC_MAX_KIB: Final = 64
_DOMAIN_MAX: Final = 256
_USER_MAX: Final = 104
_has_control = re.compile(r"[\x00-\x1f\x7f]").search
_is_netbios = re.compile(r'[^\\/:*?"<>|.][^\\/:*?"<>|]{0,14}').fullmatch
_WINDOWS_LABEL: Final = "[a-zA-Z0-9](?:[a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?"
_is_windows_domain = re.compile(rf"{_WINDOWS_LABEL}(?:\.{_WINDOWS_LABEL})*").fullmatch
_is_dots_or_spaces = re.compile(r"[. ]+").fullmatch
_has_bad_char = re.compile(r'["/\\:;|=,+*?<>@\[\]]').search


def validate_windows_options(options: Obj | None, path: Field) -> Iterator[FieldError]:
    """Report what is wrong with the options for Windows."""
    if options is None:
        return
    if (name := options.get("gmsaCredentialSpecName")) is not None:
        for message in names.dns1123_subdomain(name):
            yield (path / "gmsaCredentialSpecName").invalid(name, message)
    if (text := options.get("gmsaCredentialSpec")) is not None and (
        message := _credential_message(text)
    ):
        yield (path / "gmsaCredentialSpec").invalid(text, message)
    if (user := options.get("runAsUserName")) is not None:
        for message in _user_messages(user):
            yield (path / "runAsUserName").invalid(user, message)


def _credential_message(text: str) -> str:
    if not text:
        return "gmsaCredentialSpec cannot be an empty string"
    too_long = len(text.encode()) > _SPEC_MAX_KIB * 1024
    return f"gmsaCredentialSpec size must be under {_SPEC_MAX_KIB} KiB" if too_long else ""


def _user_messages(name: str) -> Iterator[str]:
    if not name:
        yield "runAsUserName cannot be an empty string"
    elif _has_control(name):
        yield "runAsUserName cannot contain control characters"
    elif name.count("\\") > 1:
        yield "runAsUserName cannot contain more than one backslash"
    else:
        domain, separator, user = name.rpartition("\\")
        if len(domain.encode()) >= _DOMAIN_MAX:
            yield f"runAsUserName's Domain length must be under {_DOMAIN_MAX} characters"
        if separator and not (_is_netbios(domain) or _is_windows_domain(domain)):
            yield "runAsUserName's Domain doesn't match the NetBios nor the DNS format"
        yield from _account_messages(user)


def _account_messages(user: str) -> Iterator[str]:
    if not user:
        yield "runAsUserName's User cannot be empty"
    elif len(user.encode()) > _USER_MAX:
        yield f"runAsUserName's User length must not be longer than {_USER_MAX} characters"
    if _is_dots_or_spaces(user):
        yield "runAsUserName's User cannot contain only periods or spaces"
    if _has_bad_char(user):
        yield ("runAsUserName's User cannot contain the following characters: \"/\\:;|=,+*?<>@[]")
