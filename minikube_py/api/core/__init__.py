"""The kinds of the core group, one file each; `RESOURCES` is all of them."""

from minikube_py.api.core.binding import BINDINGS
from minikube_py.api.core.componentstatus import COMPONENTSTATUSES
from minikube_py.api.core.configmap import CONFIGMAPS
from minikube_py.api.core.endpoints import ENDPOINTS
from minikube_py.api.core.event import EVENTS
from minikube_py.api.core.limitrange import LIMITRANGES
from minikube_py.api.core.namespace import NAMESPACES
from minikube_py.api.core.node import NODES
from minikube_py.api.core.persistentvolume import PERSISTENTVOLUMES
from minikube_py.api.core.persistentvolumeclaim import PERSISTENTVOLUMECLAIMS
from minikube_py.api.core.pod import PODS
from minikube_py.api.core.podtemplate import PODTEMPLATES
from minikube_py.api.core.replicationcontroller import REPLICATIONCONTROLLERS
from minikube_py.api.core.resourcequota import RESOURCEQUOTAS
from minikube_py.api.core.secret import SECRETS
from minikube_py.api.core.service import SERVICES
from minikube_py.api.core.serviceaccount import SERVICEACCOUNTS
from minikube_py.api.resource import Resource

RESOURCES: tuple[Resource, ...] = (
    PODS,
    SERVICES,
    NODES,
    NAMESPACES,
    CONFIGMAPS,
    SECRETS,
    SERVICEACCOUNTS,
    ENDPOINTS,
    EVENTS,
    PERSISTENTVOLUMES,
    PERSISTENTVOLUMECLAIMS,
    REPLICATIONCONTROLLERS,
    LIMITRANGES,
    RESOURCEQUOTAS,
    PODTEMPLATES,
    COMPONENTSTATUSES,
    BINDINGS,
)

__all__ = [
    "BINDINGS",
    "COMPONENTSTATUSES",
    "CONFIGMAPS",
    "ENDPOINTS",
    "EVENTS",
    "LIMITRANGES",
    "NAMESPACES",
    "NODES",
    "PERSISTENTVOLUMECLAIMS",
    "PERSISTENTVOLUMES",
    "PODS",
    "PODTEMPLATES",
    "REPLICATIONCONTROLLERS",
    "RESOURCEQUOTAS",
    "RESOURCES",
    "SECRETS",
    "SERVICEACCOUNTS",
    "SERVICES",
]
