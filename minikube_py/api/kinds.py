"""Every built-in kind; what a server serves before custom kinds join."""

from minikube_py.api import core
from minikube_py.api.resource import Resource

BUILTIN: tuple[Resource, ...] = (*core.RESOURCES,)
