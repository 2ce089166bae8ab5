"""Rules about writes: one file per plugin, and the visible chain of those that run.

The order is upstream's: a plugin may rely on what those before it filled in.
"""

from collections.abc import Callable, Sequence

from minikube_py.api.core import LIMITRANGES, NAMESPACES, PODS, SERVICEACCOUNTS
from minikube_py.api.networking import INGRESSCLASSES
from minikube_py.api.resource import Resource
from minikube_py.api.scheduling import PRIORITYCLASSES
from minikube_py.api.storage import STORAGECLASSES
from minikube_py.client.protocol import Lister
from minikube_py.server.admission.default_classes import (
    DefaultIngressClass,
    DefaultStorageClass,
    StorageObjectInUseProtection,
)
from minikube_py.server.admission.default_tolerations import DefaultTolerationSeconds
from minikube_py.server.admission.limit_ranger import LimitRanger
from minikube_py.server.admission.namespace_lifecycle import NamespaceLifecycle
from minikube_py.server.admission.node_restriction import NodeRestriction
from minikube_py.server.admission.node_taints import TaintNodesByCondition
from minikube_py.server.admission.priority import Priority
from minikube_py.server.admission.rbac_escalation import RbacEscalation
from minikube_py.server.admission.service_account import ServiceAccount
from minikube_py.server.attributes import AdmissionPlugin
from minikube_py.server.authz.escalation import EscalationGuard


def plugins(
    lister: Callable[[Resource], Lister],
    guard: EscalationGuard,
    dynamic: Sequence[AdmissionPlugin] = (),
) -> Sequence[AdmissionPlugin]:
    """Return the chain of a server; `lister` gives the cache of a kind.

    `dynamic` are the plugins that ask what users have configured: policies and webhooks.
    """
    return (
        NamespaceLifecycle(lister(NAMESPACES)),
        LimitRanger(lister(LIMITRANGES)),
        ServiceAccount(lister(SERVICEACCOUNTS)),
        NodeRestriction(lister(PODS)),
        TaintNodesByCondition(),
        Priority(lister(PRIORITYCLASSES)),
        DefaultTolerationSeconds(),
        DefaultStorageClass(lister(STORAGECLASSES)),
        StorageObjectInUseProtection(),
        DefaultIngressClass(lister(INGRESSCLASSES)),
        RbacEscalation(guard),
        *dynamic,
    )
