"""Rules about writes: one file per plugin, and the visible chain of those that run.

The order is upstream's: a plugin may rely on what those before it filled in. Quotas come last,
because what they count must be what is written.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from minikube_py.api.core import (
    LIMITRANGES,
    NAMESPACES,
    NODES,
    PODS,
    RESOURCEQUOTAS,
    SERVICEACCOUNTS,
)
from minikube_py.api.networking import INGRESSCLASSES
from minikube_py.api.node import RUNTIMECLASSES
from minikube_py.api.object import Obj
from minikube_py.api.resource import Resource
from minikube_py.api.scheduling import PRIORITYCLASSES
from minikube_py.api.storage import STORAGECLASSES
from minikube_py.client.protocol import Client, Lister
from minikube_py.lib.clock import Clock
from minikube_py.server.admission.always_pull_images import AlwaysPullImages
from minikube_py.server.admission.certificates import (
    CertificateApproval,
    CertificateSigning,
    CertificateSubjectRestriction,
)
from minikube_py.server.admission.default_classes import (
    DefaultIngressClass,
    DefaultStorageClass,
    StorageObjectInUseProtection,
)
from minikube_py.server.admission.default_tolerations import DefaultTolerationSeconds
from minikube_py.server.admission.deny_service_external_ips import DenyServiceExternalIPs
from minikube_py.server.admission.event_rate_limit import EventRateLimit, limits_of
from minikube_py.server.admission.limit_ranger import LimitRanger
from minikube_py.server.admission.namespace_lifecycle import NamespaceLifecycle
from minikube_py.server.admission.node_restriction import NodeRestriction
from minikube_py.server.admission.node_taints import TaintNodesByCondition
from minikube_py.server.admission.persistent_volume_claim_resize import PersistentVolumeClaimResize
from minikube_py.server.admission.pod_security import PodSecurity
from minikube_py.server.admission.pod_security_configuration import configuration_of
from minikube_py.server.admission.pod_topology_labels import PodTopologyLabels
from minikube_py.server.admission.priority import Priority
from minikube_py.server.admission.rbac_escalation import RbacEscalation
from minikube_py.server.admission.resource_quota import ResourceQuota
from minikube_py.server.admission.resource_quota_configuration import limited_of
from minikube_py.server.admission.runtime_class import RuntimeClass
from minikube_py.server.admission.service_account import ServiceAccount
from minikube_py.server.attributes import AdmissionPlugin, Authorizer
from minikube_py.server.authz.escalation import EscalationGuard


@dataclass(frozen=True, kw_only=True)
class Surroundings:
    """What plugins are made from."""

    lister: Callable[[Resource], Lister]
    """Gives the cache of a kind."""
    guard: EscalationGuard
    authorizer: Authorizer
    clock: Clock
    client: Callable[[], Client]
    """Gives the server's own client, once the server runs."""
    configuration: Mapping[str, Obj] = field(default_factory=dict)
    """What administrators tell plugins, by name."""
    enabled: frozenset[str] = frozenset()
    """Plugins to run that do not run by themselves."""
    disabled: frozenset[str] = frozenset()
    dynamic: Sequence[AdmissionPlugin] = ()
    """The plugins that ask what users have configured: policies and webhooks."""


Make = Callable[[Surroundings], AdmissionPlugin]

PLUGINS: Final[Mapping[str, Make]] = {
    "NamespaceLifecycle": lambda around: NamespaceLifecycle(around.lister(NAMESPACES)),
    "LimitRanger": lambda around: LimitRanger(around.lister(LIMITRANGES)),
    "ServiceAccount": lambda around: ServiceAccount(around.lister(SERVICEACCOUNTS), around.clock),
    "NodeRestriction": lambda around: NodeRestriction(around.lister, around.authorizer),
    "TaintNodesByCondition": lambda _: TaintNodesByCondition(),
    "AlwaysPullImages": lambda _: AlwaysPullImages(),
    "PodSecurity": lambda around: PodSecurity(
        around.lister(NAMESPACES),
        around.lister(PODS),
        around.clock,
        configuration_of(around.configuration.get("PodSecurity")),
    ),
    "Priority": lambda around: Priority(around.lister(PRIORITYCLASSES)),
    "DefaultTolerationSeconds": lambda _: DefaultTolerationSeconds(),
    "EventRateLimit": lambda around: EventRateLimit(
        limits_of(around.configuration.get("EventRateLimit")), around.clock
    ),
    "DefaultStorageClass": lambda around: DefaultStorageClass(around.lister(STORAGECLASSES)),
    "StorageObjectInUseProtection": lambda _: StorageObjectInUseProtection(),
    "PersistentVolumeClaimResize": lambda around: PersistentVolumeClaimResize(
        around.lister(STORAGECLASSES)
    ),
    "RuntimeClass": lambda around: RuntimeClass(around.lister(RUNTIMECLASSES)),
    "CertificateApproval": lambda around: CertificateApproval(around.authorizer),
    "CertificateSigning": lambda around: CertificateSigning(around.authorizer),
    "CertificateSubjectRestriction": lambda _: CertificateSubjectRestriction(),
    "DefaultIngressClass": lambda around: DefaultIngressClass(around.lister(INGRESSCLASSES)),
    "PodTopologyLabels": lambda around: PodTopologyLabels(around.lister(NODES)),
    "DenyServiceExternalIPs": lambda _: DenyServiceExternalIPs(),
}
"""The plugins that decide by themselves, in their order."""
LAST: Final[Mapping[str, Make]] = {
    "ResourceQuota": lambda around: ResourceQuota(
        around.lister(RESOURCEQUOTAS),
        around.client,
        around.clock,
        limited_of(around.configuration.get("ResourceQuota")),
    ),
}
"""The plugins that run after policies and webhooks."""
OPTIONAL: Final = frozenset({"AlwaysPullImages", "DenyServiceExternalIPs", "EventRateLimit"})
"""Those that run only where they are enabled."""
DYNAMIC: Final = (
    "MutatingAdmissionPolicy",
    "MutatingAdmissionWebhook",
    "ValidatingAdmissionPolicy",
    "ValidatingAdmissionWebhook",
)
NAMES: Final = (*PLUGINS, *DYNAMIC, *LAST)
"""What `--enable-admission-plugins` and `--disable-admission-plugins` may name."""


def plugins(around: Surroundings) -> Sequence[AdmissionPlugin]:
    """Return the chain of a server: those that run by themselves, and what options say.

    Raises:
        StartError: a configuration says something impossible.

    """

    def made(makers: Mapping[str, Make]) -> list[AdmissionPlugin]:
        return [make(around) for name, make in makers.items() if _runs(name, around)]

    dynamic = [plugin for plugin in around.dynamic if plugin.name not in around.disabled]
    return (*made(PLUGINS), RbacEscalation(around.guard), *dynamic, *made(LAST))


def _runs(name: str, around: Surroundings) -> bool:
    if name in around.disabled:
        return False
    return name not in OPTIONAL or name in around.enabled
