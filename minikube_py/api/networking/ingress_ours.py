"""Which ingresses kpy serves itself, and what server and nodes agree on to do so.

Nodes listen on two ports; the Service `kube-system/kpy-ingress` of type LoadBalancer, whose
endpoints are the nodes, leads ports 80 and 443 there (decisions/0018-ingress.md).
"""

from collections.abc import Callable, Iterator

from minikube_py.api.networking.ingress import CLASS_ANNOTATION
from minikube_py.api.object import Key, Obj, annotations_of, get

CLASS = "kpy"
CONTROLLER = "kpy.dev/ingress"
"""`spec.controller` of the classes that are ours."""
SERVICE = Key("kube-system", "kpy-ingress")
HTTP_PORT, HTTPS_PORT = 10080, 10443
"""Where nodes listen."""


def is_ours(ingress: Obj, ingress_class: Callable[[Key], Obj | None]) -> bool:
    """Tell whether kpy serves an ingress; `ingress_class` looks classes up."""
    name = get(ingress, "spec.ingressClassName")
    if name is None:
        return annotations_of(ingress).get(CLASS_ANNOTATION) == CLASS
    found = ingress_class(Key("", name))
    return bool(get(found, "spec.controller") == CONTROLLER)


def secrets_of(ingress: Obj) -> Iterator[str]:
    """Yield the names of the secrets with certificates, of the ingress's namespace."""
    for tls in get(ingress, "spec.tls") or ():
        if tls.get("secretName"):
            yield tls["secretName"]
