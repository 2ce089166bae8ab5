"""The default flow schemas and priority levels of v1.36, as tables."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from minikube_py.api.object import Obj

API_VERSION = "flowcontrol.apiserver.k8s.io/v1"
AUTOUPDATE = "apf.kubernetes.io/autoupdate-spec"
EVERYTHING: tuple[Mapping[str, Any], ...] = (
    {
        "apiGroups": ["*"],
        "clusterScope": True,
        "namespaces": ["*"],
        "resources": ["*"],
        "verbs": ["*"],
    },
)
LEASES = {"apiGroups": ["coordination.k8s.io"], "namespaces": ["*"], "resources": ["leases"]}
ALL_PATHS = {"nonResourceURLs": ["*"], "verbs": ["*"]}
EVERYBODY = ("Group system:unauthenticated", "Group system:authenticated")

LEVELS: Mapping[str, tuple[int, int, int]] = {
    "leader-election": (10, 0, 16),
    "node-high": (40, 25, 64),
    "system": (30, 33, 64),
    "workload-high": (40, 50, 128),
    "workload-low": (100, 90, 128),
    "global-default": (20, 50, 128),
}
"""Name -> shares of the concurrency, percent that others may borrow, queues."""
QUEUE_LENGTH_MAX = 50
SMALL_HAND, HAND = 4, 6
"""How many queues one flow is dealt: four where there are only 16 of them."""

SCHEMAS: Mapping[str, tuple[int, str, str, Sequence[str]]] = {
    "exempt": (1, "exempt", "", ("Group system:masters",)),
    "kube-controller-manager": (
        800,
        "workload-high",
        "ByNamespace",
        ("User system:kube-controller-manager",),
    ),
    "kube-scheduler": (800, "workload-high", "ByNamespace", ("User system:kube-scheduler",)),
    "kube-system-service-accounts": (900, "workload-high", "ByNamespace", ("ServiceAccount *",)),
    "service-accounts": (9000, "workload-low", "ByUser", ("Group system:serviceaccounts",)),
    "system-nodes": (500, "system", "ByUser", ("Group system:nodes",)),
    "global-default": (9900, "global-default", "ByUser", EVERYBODY),
    "catch-all": (10000, "catch-all", "ByUser", EVERYBODY),
}
"""Name -> precedence, priority level, what tells flows apart, whose requests; of everything."""


def priority_levels() -> Iterator[Obj]:
    """Yield the default PriorityLevelConfigurations."""
    exempt = {"lendablePercent": 0, "nominalConcurrencyShares": 0}
    yield _level("exempt", {"type": "Exempt", "exempt": exempt})
    reject = {"limitResponse": {"type": "Reject"}}
    limited = {"lendablePercent": 0, "nominalConcurrencyShares": 5, **reject}
    yield _level("catch-all", {"type": "Limited", "limited": limited})
    for name, (shares, lendable, queues) in LEVELS.items():
        hand = SMALL_HAND if queues == 16 else HAND
        queuing = {"handSize": hand, "queueLengthLimit": QUEUE_LENGTH_MAX, "queues": queues}
        queue = {
            "lendablePercent": lendable,
            "nominalConcurrencyShares": shares,
            "limitResponse": {"type": "Queue", "queuing": queuing},
        }
        yield _level(name, {"type": "Limited", "limited": queue})


def flow_schemas() -> Iterator[Obj]:
    """Yield the default FlowSchemas."""
    for name, (precedence, level, distinguisher, subjects) in SCHEMAS.items():
        rule = {"nonResourceRules": [ALL_PATHS], "resourceRules": list(EVERYTHING)}
        yield _schema(name, (precedence, level, distinguisher), rule, subjects)
    health = {"nonResourceURLs": ["/healthz", "/readyz", "/livez"], "verbs": ["get"]}
    yield _schema("probes", (2, "exempt", ""), {"nonResourceRules": [health]}, EVERYBODY)
    leases = {**LEASES, "verbs": ["get", "create", "update"]}
    leaders = (
        "User system:kube-controller-manager",
        "User system:kube-scheduler",
        "ServiceAccount *",
    )
    election = (100, "leader-election", "ByUser")
    yield _schema("system-leader-election", election, {"resourceRules": [leases]}, leaders)
    nodes = {
        "apiGroups": [""],
        "clusterScope": True,
        "namespaces": ["*"],
        "resources": ["nodes", "nodes/status"],
        "verbs": ["*"],
    }
    rules = {"resourceRules": [nodes, {**LEASES, "verbs": ["*"]}]}
    yield _schema("system-node-high", (400, "node-high", "ByUser"), rules, ("Group system:nodes",))


def dangling_status(schema: Obj, now: str) -> dict[str, Any]:
    """Return the status of a flow schema whose priority level is there."""
    level = schema["spec"]["priorityLevelConfiguration"]["name"]
    return {
        "conditions": [
            {
                "type": "Dangling",
                "status": "False",
                "reason": "Found",
                "message": (
                    "This FlowSchema references the PriorityLevelConfiguration object named "
                    f'"{level}" and it exists'
                ),
                "lastTransitionTime": now,
            }
        ]
    }


def _level(name: str, spec: Mapping[str, Any]) -> Obj:
    return _object("PriorityLevelConfiguration", name, spec)


def _schema(
    name: str, how: tuple[int, str, str], rule: Mapping[str, Any], subjects: Sequence[str]
) -> Obj:
    precedence, level, distinguisher = how
    spec: dict[str, Any] = {
        "matchingPrecedence": precedence,
        "priorityLevelConfiguration": {"name": level},
        "rules": [{**rule, "subjects": [_subject(text) for text in subjects]}],
    }
    if distinguisher:
        spec["distinguisherMethod"] = {"type": distinguisher}
    return _object("FlowSchema", name, spec)


def _subject(text: str) -> dict[str, Any]:
    kind, _, name = text.partition(" ")
    if kind == "ServiceAccount":
        return {"kind": kind, "serviceAccount": {"name": name, "namespace": "kube-system"}}
    return {"kind": kind, kind.lower(): {"name": name}}


def _object(kind: str, name: str, spec: Mapping[str, Any]) -> Obj:
    metadata = {"name": name, "annotations": {AUTOUPDATE: "true"}}
    return {"apiVersion": API_VERSION, "kind": kind, "metadata": metadata, "spec": dict(spec)}
