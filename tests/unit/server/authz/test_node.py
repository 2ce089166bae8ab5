"""The Node authoriser: a kubelet reads what its pods refer to, and nothing else."""

from collections.abc import Callable
from typing import Any

import pytest

from minikube_py.api.core.pod_references import references_of
from minikube_py.api.field_selectors import parse
from minikube_py.server.attributes import Attributes, User
from minikube_py.server.authz.node import NodeAuthorizer, NodeListers

RESOURCE = "resource.k8s.io"
NODE = User("system:node:n1", ("system:nodes", "system:authenticated"))
POD = {
    "metadata": {"namespace": "a", "name": "p", "uid": "u"},
    "spec": {
        "nodeName": "n1",
        "serviceAccountName": "bot",
        "imagePullSecrets": [{"name": "pull"}],
        "resourceClaims": [
            {"name": "gpu", "resourceClaimName": "gpu-own"},
            {"name": "nic", "resourceClaimTemplateName": "nics"},
        ],
        "containers": [
            {
                "name": "c",
                "env": [{"name": "X", "valueFrom": {"secretKeyRef": {"name": "env", "key": "k"}}}],
                "envFrom": [{"configMapRef": {"name": "from"}}],
            }
        ],
        "volumes": [
            {"name": "s", "secret": {"secretName": "vol"}},
            {"name": "d", "persistentVolumeClaim": {"claimName": "data"}},
            {"name": "e", "ephemeral": {}},
            {"name": "k", "projected": {"sources": [{"configMap": {"name": "kube-root-ca.crt"}}]}},
        ],
    },
    "status": {
        "resourceClaimStatuses": [{"name": "nic", "resourceClaimName": "p-nic"}],
        "extendedResourceClaimStatus": {"resourceClaimName": "p-extended"},
    },
}
VOLUME = {
    "metadata": {"name": "pv"},
    "spec": {
        "claimRef": {"namespace": "a", "name": "data"},
        "csi": {
            "nodePublishSecretRef": {"namespace": "a", "name": "csi"},
            "nodeStageSecretRef": {"namespace": "driver", "name": "stage"},
            "controllerPublishSecretRef": {"namespace": "driver", "name": "controller"},
        },
    },
}
FOREIGN_VOLUME = {
    "metadata": {"name": "foreign"},
    "spec": {
        "claimRef": {"namespace": "b", "name": "data"},
        "csi": {"nodeStageSecretRef": {"namespace": "b", "name": "of-b"}},
    },
}


CLUSTER_SCOPED = ("persistentvolumes", "volumeattachments", "resourceslices")
GROUPS = {
    "volumeattachments": "storage.k8s.io",
    "resourceclaims": "resource.k8s.io",
    "resourceslices": "resource.k8s.io",
}


@pytest.fixture
def node(listing: Callable[..., Any]) -> NodeAuthorizer:
    pods = listing()
    pods.put(POD, **{"spec.nodeName": "n1"})
    thief = {
        "metadata": {"namespace": "a", "name": "thief", "uid": "t"},
        "spec": {
            "nodeName": "n1",
            "volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": "thief"}}],
        },
    }
    pods.put(thief, **{"spec.nodeName": "n1"})
    listers = NodeListers(
        pods=pods,
        claims=listing(
            {"metadata": {"namespace": "a", "name": "data"}, "spec": {"volumeName": "pv"}},
            {"metadata": {"namespace": "a", "name": "thief"}, "spec": {"volumeName": "foreign"}},
        ),
        volumes=listing(VOLUME, FOREIGN_VOLUME),
        attachments=listing({"metadata": {"name": "va"}, "spec": {"nodeName": "n1"}}),
        slices=listing({"metadata": {"name": "slice"}, "spec": {"nodeName": "n1"}}),
    )
    rule = {"apiGroups": [""], "resources": ["services"], "verbs": ["get", "list", "watch"]}
    return NodeAuthorizer(listers, (rule,))


def ask(verb: str, what: str, name: str = "", **more: Any) -> Attributes:
    resource, _, subresource = what.partition("/")
    given = {"user": NODE, "namespace": "a", "subresource": subresource, **more}
    return Attributes(verb=verb, resource=resource, name=name, **given)


@pytest.mark.parametrize(
    ("what", "name"),
    [
        ("secrets", "pull"),
        ("secrets", "env"),
        ("secrets", "vol"),
        ("secrets", "csi"),
        ("configmaps", "from"),
        ("configmaps", "kube-root-ca.crt"),
        ("persistentvolumeclaims", "data"),
        ("persistentvolumeclaims", "p-e"),
        ("persistentvolumes", "pv"),
        ("volumeattachments", "va"),
        ("pods", "p"),
        ("serviceaccounts", "bot"),
        ("resourceclaims", "gpu-own"),
        ("resourceclaims", "p-nic"),
        ("resourceclaims", "p-extended"),
        ("resourceslices", "slice"),
    ],
)
def test_a_node_reads_what_its_pods_refer_to(node: NodeAuthorizer, what: str, name: str) -> None:
    cluster = {"namespace": ""} if what in CLUSTER_SCOPED else {}
    group = {"group": GROUPS.get(what, "")}
    assert node.authorize(ask("get", what, name, **cluster, **group)).allowed
    other = ask("get", what, name, user=User("system:node:n2", NODE.groups), **cluster, **group)
    assert node.authorize(other).reason == (
        "no relationship found between node 'n2' and this object"
    )


@pytest.mark.parametrize(
    ("attributes", "reason"),
    [
        (ask("list", "secrets"), "No Object name found"),
        (ask("delete", "secrets", "pull"), "can only read resources of this type"),
        (ask("get", "secrets", "foreign"), "no relationship found between node 'n1'"),
        (ask("list", "pods"), "can only list/watch pods with spec.nodeName field selector"),
        (ask("get", "nodes", "n2"), "node 'n1' cannot read 'n2', only its own Node object"),
        (ask("list", "nodes"), "node 'n1' cannot read all nodes, only its own Node object"),
        (ask("create", "serviceaccounts", "bot"), "can only get individual resources"),
        (ask("create", "serviceaccounts/token", "other"), "no relationship found"),
        (
            ask("get", "leases", "n1", group="coordination.k8s.io"),
            'can only access leases in the "kube-node-lease" system namespace',
        ),
        (
            ask("get", "leases", "n2", group="coordination.k8s.io", namespace="kube-node-lease"),
            "can only access node lease with the same name as the requesting node",
        ),
        (ask("get", "nodes", user=User("system:node:", NODE.groups)), "unknown node for user"),
        (ask("list", "pods", field_selector=parse("spec.nodeName=n2")), "can only list/watch pods"),
        (
            ask("list", "pods", field_selector=parse("spec.nodeName!=n1")),
            "can only list/watch pods",
        ),
        (ask("list", "pods", "other"), "no relationship found"),
        (ask("get", "secrets", "of-b", namespace="b"), "no relationship found"),
        (ask("get", "secrets", "controller", namespace="driver"), "no relationship found"),
        (ask("delete", "persistentvolumeclaims/status", "data"), "can only get/update/patch this"),
        (ask("get", "resourceslices", "other", group=RESOURCE), "no relationship found"),
        (
            ask("list", "resourceslices", group=RESOURCE),
            "can only list/watch/deletecollection resourceslices with nodeName field selector",
        ),
        (
            ask("update", "resourceslices/status", "slice", group=RESOURCE),
            "cannot authorize ResourceSlice subresources",
        ),
        (ask("list", "resourceclaims", group=RESOURCE), "can only get individual resources"),
    ],
)
def test_a_node_may_nothing_else(node: NodeAuthorizer, attributes: Attributes, reason: str) -> None:
    decision = node.authorize(attributes)
    assert not decision.allowed
    assert decision.reason.startswith(reason)


@pytest.mark.parametrize(
    "attributes",
    [
        ask("list", "pods", field_selector=parse("spec.nodeName=n1")),
        ask("watch", "pods", field_selector=parse("spec.nodeName=n1,status.phase!=Failed")),
        ask("list", "pods", "p"),
        ask("get", "secrets", "stage", namespace="driver"),
        ask("patch", "persistentvolumeclaims/status", "data"),
        ask("create", "resourceslices", group=RESOURCE, namespace=""),
        ask("delete", "resourceslices", "slice", group=RESOURCE, namespace=""),
        ask(
            "deletecollection",
            "resourceslices",
            group=RESOURCE,
            namespace="",
            field_selector=parse("spec.nodeName=n1"),
        ),
        ask("create", "pods"),
        ask("patch", "pods/status", "p"),
        ask("create", "pods/eviction", "p"),
        ask("watch", "nodes", "n1"),
        ask("create", "nodes"),
        ask("patch", "nodes/status", "n1"),
        ask("create", "serviceaccounts/token", "bot"),
        ask("list", "services"),
        ask("update", "leases", "n1", group="coordination.k8s.io", namespace="kube-node-lease"),
        ask("create", "csinodes", group="storage.k8s.io", namespace=""),
    ],
)
def test_a_node_does_its_work(node: NodeAuthorizer, attributes: Attributes) -> None:
    assert node.authorize(attributes).allowed


def test_others_are_no_matter_of_it(node: NodeAuthorizer) -> None:
    jane = ask("list", "services", user=User("jane", ("system:nodes",)))
    assert node.authorize(jane) == (False, False, "")


def test_a_mirror_pod_grants_nothing() -> None:
    annotations = {"kubernetes.io/config.mirror": "x"}
    mirror = {**POD, "metadata": {**POD["metadata"], "annotations": annotations}}  # type: ignore[dict-item]
    assert not references_of(mirror).secrets
