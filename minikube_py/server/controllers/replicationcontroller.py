"""Replication controllers: replica sets from before there were any."""

from minikube_py.api import selectors
from minikube_py.api.core import REPLICATIONCONTROLLERS
from minikube_py.api.object import Obj
from minikube_py.api.selectors import LabelSelector
from minikube_py.server.controllers.replicaset import Variant, controller


def selector_of(rc: Obj) -> LabelSelector:
    """Return which pods a replication controller means: those with all these labels."""
    labels = rc["spec"].get("selector")
    return selectors.from_labels(labels) if labels else selectors.NOTHING


CONTROLLER = controller(Variant(REPLICATIONCONTROLLERS, selector_of), "replication-controller")
