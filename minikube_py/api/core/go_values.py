"""Objects as upstream's messages print them: Go's own field names, zero values included.

A few messages show a whole structure of upstream's internal types. Each table below lists the
fields of such a type in Go's order: name in Go, key in JSON, and what stands for an absent value
(None, zero, empty text, or the table of a nested type).
"""

from collections.abc import Mapping
from typing import Any, Final

from minikube_py.api.object import Obj

Table = tuple[tuple[str, str, Any], ...]


class Nested:
    """A field that holds a structure or a list of structures; absent prints as null."""

    __slots__ = ("table",)

    def __init__(self, table: Table) -> None:
        self.table = table


def go_value(obj: Obj | None, table: Table) -> dict[str, Any] | None:
    """Return the structure with Go's names, in Go's order."""
    if obj is None:
        return None
    return {name: _field(obj.get(key), absent) for name, key, absent in table}


def go_list(items: Any, table: Table) -> list[dict[str, Any] | None] | None:
    """Return a list of structures with Go's names, or None where there is none."""
    return [go_value(item, table) for item in items] if items else None


def _field(value: Any, absent: Any) -> Any:
    if isinstance(absent, Nested):
        if isinstance(value, Mapping) or value is None:
            return go_value(value, absent.table)
        return go_list(value, absent.table)
    return absent if value is None else value


SECCOMP_PROFILE: Final[Table] = (
    ("Type", "type", ""),
    ("LocalhostProfile", "localhostProfile", None),
)
_CAPABILITIES: Final[Table] = (("Add", "add", None), ("Drop", "drop", None))
_SELINUX: Final[Table] = (
    ("User", "user", ""),
    ("Role", "role", ""),
    ("Type", "type", ""),
    ("Level", "level", ""),
)
_WINDOWS: Final[Table] = (
    ("GMSACredentialSpecName", "gmsaCredentialSpecName", None),
    ("GMSACredentialSpec", "gmsaCredentialSpec", None),
    ("RunAsUserName", "runAsUserName", None),
    ("HostProcess", "hostProcess", None),
)
SECURITY_CONTEXT: Final[Table] = (
    ("Capabilities", "capabilities", Nested(_CAPABILITIES)),
    ("Privileged", "privileged", None),
    ("SELinuxOptions", "seLinuxOptions", Nested(_SELINUX)),
    ("WindowsOptions", "windowsOptions", Nested(_WINDOWS)),
    ("RunAsUser", "runAsUser", None),
    ("RunAsGroup", "runAsGroup", None),
    ("RunAsNonRoot", "runAsNonRoot", None),
    ("ReadOnlyRootFilesystem", "readOnlyRootFilesystem", None),
    ("AllowPrivilegeEscalation", "allowPrivilegeEscalation", None),
    ("ProcMount", "procMount", None),
    ("SeccompProfile", "seccompProfile", Nested(SECCOMP_PROFILE)),
    ("AppArmorProfile", "appArmorProfile", Nested(SECCOMP_PROFILE)),
)
RESIZE_POLICY: Final[Table] = (
    ("ResourceName", "resourceName", ""),
    ("RestartPolicy", "restartPolicy", ""),
)
POD_RESOURCE_CLAIM: Final[Table] = (
    ("Name", "name", ""),
    ("ResourceClaimName", "resourceClaimName", None),
    ("ResourceClaimTemplateName", "resourceClaimTemplateName", None),
)
TAINT: Final[Table] = (
    ("Key", "key", ""),
    ("Value", "value", ""),
    ("Effect", "effect", ""),
    ("TimeAdded", "timeAdded", None),
)
SERVICE_PORT: Final[Table] = (
    ("Name", "name", ""),
    ("Protocol", "protocol", ""),
    ("AppProtocol", "appProtocol", None),
    ("Port", "port", 0),
    ("TargetPort", "targetPort", 0),
    ("NodePort", "nodePort", 0),
)
IP: Final[Table] = (("IP", "ip", ""),)
NODE_ADDRESS: Final[Table] = (("Type", "type", ""), ("Address", "address", ""))
TRUST_BUNDLE: Final[Table] = (
    ("Name", "name", None),
    ("SignerName", "signerName", None),
    ("LabelSelector", "labelSelector", None),
    ("Optional", "optional", None),
    ("Path", "path", ""),
)
_REQUIREMENT: Final[Table] = (
    ("Key", "key", ""),
    ("Operator", "operator", ""),
    ("Values", "values", None),
)
NODE_SELECTOR_TERM: Final[Table] = (
    ("MatchExpressions", "matchExpressions", Nested(_REQUIREMENT)),
    ("MatchFields", "matchFields", Nested(_REQUIREMENT)),
)
_NODE_SELECTOR: Final[Table] = (
    ("NodeSelectorTerms", "nodeSelectorTerms", Nested(NODE_SELECTOR_TERM)),
)
VOLUME_NODE_AFFINITY: Final[Table] = (("Required", "required", Nested(_NODE_SELECTOR)),)
SCOPE_SELECTOR: Final[Table] = (
    (
        "MatchExpressions",
        "matchExpressions",
        Nested((("ScopeName", "scopeName", ""), *_REQUIREMENT[1:])),
    ),
)
