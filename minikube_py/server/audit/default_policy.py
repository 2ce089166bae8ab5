"""The policy of a server that is given none: every change and every look at a secret, no bodies.

What a cluster at rest does all the time is left out, so that an idle node writes nothing: leases,
events, reviews, status, and whatever the cluster's own parts read.
"""

from typing import Any

from minikube_py.server.audit.policy import Policy, compile_policy

READING = ["get", "list", "watch"]
OWN_USERS = [
    *("system:kube-controller-manager", "system:kube-scheduler", "system:kube-proxy"),
    "system:kpy-manifests",
]
OWN_GROUPS = ["system:nodes", "system:serviceaccounts:kube-system"]
ROUTINE: list[dict[str, Any]] = [
    {"group": "", "resources": ["events"]},
    {"group": "events.k8s.io"},
    {"group": "coordination.k8s.io", "resources": ["leases"]},
    {"group": "authentication.k8s.io"},
    {"group": "authorization.k8s.io"},
]
STATUS: list[dict[str, Any]] = [
    {"group": "", "resources": ["*/status", "endpoints", "serviceaccounts/token"]},
    {"group": "discovery.k8s.io"},
    *(
        {"group": group, "resources": ["*/status"]}
        for group in ("apps", "batch", "autoscaling", "policy", "networking.k8s.io")
    ),
]
STREAMS = ["pods/exec", "pods/attach", "pods/portforward", "pods/proxy", "nodes/proxy"]
DOCUMENT: dict[str, Any] = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived"],
    "omitManagedFields": True,
    "rules": [
        {"level": "None", "users": ["system:apiserver"]},
        {"level": "None", "nonResourceURLs": ["*"]},
        {"level": "None", "resources": ROUTINE},
        *(
            {"level": "None", key: names, **what}
            for key, names in (("users", OWN_USERS), ("userGroups", OWN_GROUPS))
            for what in ({"verbs": READING}, {"resources": STATUS})
        ),
        {"level": "Metadata", "resources": [{"group": "", "resources": ["secrets", *STREAMS]}]},
        {"level": "None", "verbs": READING},
        {"level": "Metadata"},
    ],
}


def default_policy() -> Policy:
    """Return the default policy."""
    return compile_policy(DOCUMENT)
