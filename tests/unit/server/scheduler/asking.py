"""Asking plugins about nodes, and pods that ask for things."""

from minikube_py.server.scheduler.plugins import FACTORIES
from tests.unit.server.scheduler.builders import cache, cycle, handle, node

ZONE = "topology.kubernetes.io/zone"
HOST = "kubernetes.io/hostname"
WEB = {"app": "web"}


def made(plugin):
    """Return a plugin, of its class or as it is."""
    if isinstance(plugin, type):
        return FACTORIES[plugin.__name__](handle(), {})
    return plugin


def reasons(plugin, incoming, there):
    """Return what a filter says of each node."""
    check = made(plugin).filter(cycle(incoming, there))
    answers = {name: check and check(info) for name, info in there.nodes.items()}
    return {name: answer and answer.reasons for name, answer in answers.items()}


def scores(plugin, incoming, there):
    nodes = list(there.nodes.values())
    values = made(plugin).score(cycle(incoming, there), nodes)
    return None if values is None else {n.name: v for n, v in zip(nodes, values, strict=True)}


def spread(key=ZONE, skew=1, when="DoNotSchedule", **more):
    selector = {"matchLabels": {"app": "web"}}
    one = {"topologyKey": key, "maxSkew": skew, "whenUnsatisfiable": when}
    return {"topologySpreadConstraints": [{**one, "labelSelector": selector, **more}]}


def zoned(*pairs, pods=()):
    return cache(*(node(name, labels={ZONE: zone}) for name, zone in pairs), pods=pods)


def near(kind, how="required", key=HOST, weight=10, **term):
    one = {"labelSelector": {"matchLabels": WEB}, "topologyKey": key, **term}
    if how == "required":
        return {"affinity": {kind: {"requiredDuringSchedulingIgnoredDuringExecution": [one]}}}
    wish = {"weight": weight, "podAffinityTerm": one}
    return {"affinity": {kind: {"preferredDuringSchedulingIgnoredDuringExecution": [wish]}}}
