"""Kinds with a body that each accepts, a change of it, and a status: one value a kind."""

from dataclasses import dataclass, field
from typing import Any

CORE, APPS, BATCH = "/api/v1", "/apis/apps/v1", "/apis/batch/v1"
ADMISSION = "/apis/admissionregistration.k8s.io/v1"
FLOWCONTROL = "/apis/flowcontrol.apiserver.k8s.io/v1"
NETWORKING = "/apis/networking.k8s.io/v1"
STORAGE = "/apis/storage.k8s.io/v1"
IMAGE = {"containers": [{"name": "c", "image": "i"}]}
LABELS = {"app": "e2e"}
TEMPLATE = {"metadata": {"labels": LABELS}, "spec": IMAGE}
JOB = {"spec": {"template": {"spec": {**IMAGE, "restartPolicy": "Never"}}}}
WORKLOAD = {"replicas": 0, "selector": {"matchLabels": LABELS}, "template": TEMPLATE}
RULES = [
    {
        "apiGroups": ["apps"],
        "apiVersions": ["v1"],
        "operations": ["CREATE"],
        "resources": ["deployments"],
    }
]
MUTATION = {
    "patchType": "ApplyConfiguration",
    "applyConfiguration": {"expression": "Object{spec: Object.spec{replicas: 1}}"},
}
CONDITION = {
    "type": "E2E",
    "status": "True",
    "reason": "Tested",
    "message": "set",
    "lastTransitionTime": "2026-01-01T00:00:00Z",
}
CONDITIONS = {"conditions": [CONDITION]}
LOAD_BALANCER = {"loadBalancer": {"ingress": [{"ip": "169.1.1.1"}]}}


@dataclass(frozen=True)
class Kind:
    """A kind and what one may do with it."""

    group: str
    plural: str
    body: dict[str, Any]
    change: dict[str, Any]
    """A merge patch."""
    status: dict[str, Any] = field(default_factory=dict)
    """A merge patch of the status, where there is one."""
    namespaced: bool = False
    names: tuple[str, str, str] = ("a", "b", "c")

    @property
    def path(self) -> str:
        return f"{self.group}{'/namespaces/n' if self.namespaced else ''}/{self.plural}"


def spec(group: str, plural: str, body: Any, change: Any, **more: Any) -> Kind:
    """Return a kind whose body and change are those of its spec."""
    return Kind(group, plural, {"spec": body}, {"spec": change}, **more)


NS: dict[str, Any] = {"namespaced": True}
OWN_STATUS: dict[str, Any] = {"namespaced": True, "status": CONDITIONS}
MACHINERY = (
    spec(FLOWCONTROL, "flowschemas",
         {"priorityLevelConfiguration": {"name": "global-default"}, "matchingPrecedence": 10000},
         {"matchingPrecedence": 9999}, status=CONDITIONS),
    spec(FLOWCONTROL, "prioritylevelconfigurations",
         {"type": "Limited",
          "limited": {"nominalConcurrencyShares": 2, "limitResponse": {"type": "Reject"}}},
         {"limited": {"nominalConcurrencyShares": 4}}, status=CONDITIONS),
    spec(ADMISSION, "validatingadmissionpolicies",
         {"matchConstraints": {"resourceRules": RULES}, "validations": [{"expression": "true"}]},
         {"failurePolicy": "Ignore"}, status=CONDITIONS),
    spec(ADMISSION, "validatingadmissionpolicybindings",
         {"policyName": "none", "validationActions": ["Deny"]}, {"validationActions": ["Warn"]}),
    spec(ADMISSION, "mutatingadmissionpolicies",
         {"matchConstraints": {"resourceRules": RULES}, "reinvocationPolicy": "Never",
          "mutations": [MUTATION]},
         {"failurePolicy": "Ignore"}),
    spec(ADMISSION, "mutatingadmissionpolicybindings",
         {"policyName": "none"}, {"policyName": "other"}),
)  # fmt: skip
WORKLOADS = (
    spec(APPS, "deployments", WORKLOAD, {"minReadySeconds": 1}, **OWN_STATUS),
    spec(APPS, "replicasets", WORKLOAD, {"minReadySeconds": 1}, **OWN_STATUS),
    spec(APPS, "statefulsets", {**WORKLOAD, "serviceName": "s"}, {"minReadySeconds": 1},
         **OWN_STATUS),
    spec(APPS, "daemonsets", {k: v for k, v in WORKLOAD.items() if k != "replicas"},
         {"minReadySeconds": 1}, **OWN_STATUS),
    Kind(APPS, "controllerrevisions", {"revision": 1, "data": {"a": "b"}}, {"revision": 2}, **NS),
    spec(CORE, "replicationcontrollers",
         {"replicas": 0, "selector": LABELS, "template": TEMPLATE}, {"minReadySeconds": 1},
         **OWN_STATUS),
    spec(BATCH, "jobs", {**JOB["spec"], "suspend": True}, {"backoffLimit": 3}, **OWN_STATUS),
    spec(BATCH, "cronjobs", {"schedule": "0 0 1 1 *", "jobTemplate": JOB, "suspend": True},
         {"schedule": "0 1 1 1 *"}, status={"lastScheduleTime": "2026-01-01T00:00:00Z"}, **NS),
    spec("/apis/policy/v1", "poddisruptionbudgets",
         {"minAvailable": 1, "selector": {"matchLabels": LABELS}}, {"minAvailable": "50%"},
         **OWN_STATUS),
)  # fmt: skip
NETWORK = (
    spec(NETWORKING, "ingresses",
         {"defaultBackend": {"service": {"name": "s", "port": {"number": 80}}}},
         {"ingressClassName": "c"}, status=LOAD_BALANCER, **NS),
    spec(NETWORKING, "ingressclasses", {"controller": "example.com/c"},
         {"parameters": {"kind": "K", "name": "n", "scope": "Cluster"}}),
    Kind(NETWORKING, "ipaddresses", {"spec": {"parentRef": {"resource": "services", "name": "s",
         "namespace": "n"}}}, {"metadata": {"labels": {"more": "1"}}},
         names=("192.168.6.1", "192.168.6.2", "192.168.6.3")),
    Kind(NETWORKING, "servicecidrs", {"spec": {"cidrs": ["10.1.1.0/24"]}},
         {"metadata": {"labels": {"more": "1"}}}, status=CONDITIONS),
    spec(CORE, "services", {"ports": [{"port": 80}], "type": "LoadBalancer"},
         {"sessionAffinity": "ClientIP"},
         status=LOAD_BALANCER | CONDITIONS, **NS),
    Kind(CORE, "endpoints", {"subsets": [{"addresses": [{"ip": "10.0.0.24"}]}]},
         {"subsets": [{"addresses": [{"ip": "10.0.0.25"}], "ports": [{"port": 8080}]}]}, **NS),
    Kind("/apis/discovery.k8s.io/v1", "endpointslices",
         {"addressType": "IPv4", "endpoints": [{"addresses": ["1.2.3.4"]}]},
         {"endpoints": [{"addresses": ["1.2.3.5"]}]}, **NS),
)  # fmt: skip
NODES = (
    Kind(CORE, "configmaps", {"data": {"a": "1"}}, {"data": {"a": "2"}}, **NS),
    Kind(CORE, "secrets", {"stringData": {"a": "1"}}, {"data": {"a": "Mg=="}}, **NS),
    Kind(CORE, "podtemplates", {"template": TEMPLATE},
         {"template": {"spec": {"priority": 1}}}, **NS),
    spec(CORE, "pods", IMAGE, {"activeDeadlineSeconds": 5000}, **OWN_STATUS),
    spec(CORE, "nodes", {}, {"unschedulable": True}, status=CONDITIONS),
    spec("/apis/coordination.k8s.io/v1", "leases", {"holderIdentity": "me"},
         {"leaseDurationSeconds": 30}, **NS),
    Kind("/apis/node.k8s.io/v1", "runtimeclasses", {"handler": "h"},
         {"scheduling": {"nodeSelector": {"a": "b"}}}),
    Kind("/apis/scheduling.k8s.io/v1", "priorityclasses", {"value": 1}, {"description": "d"}),
)  # fmt: skip
STORED = (
    spec(STORAGE, "csidrivers", {"attachRequired": True}, {"requiresRepublish": True}),
    spec(STORAGE, "csinodes", {"drivers": []},
         {"drivers": [{"name": "d.example.com", "nodeID": "n"}]}),
    Kind(STORAGE, "csistoragecapacities", {"storageClassName": "s", "capacity": "10Gi"},
         {"capacity": "8Gi"}, **NS),
    Kind(STORAGE, "storageclasses", {"provisioner": "example.com/p"},
         {"allowVolumeExpansion": True}),
    Kind(STORAGE, "volumeattachments",
         {"spec": {"attacher": "a.example.com", "nodeName": "n",
                   "source": {"persistentVolumeName": "pv"}}},
         {"metadata": {"labels": {"more": "1"}}}, status={"attached": True}),
    Kind(STORAGE, "volumeattributesclasses", {"driverName": "d.example.com",
         "parameters": {"a": "b"}}, {"metadata": {"labels": {"more": "1"}}}),
)  # fmt: skip
RBAC, AUTOSCALING = "/apis/rbac.authorization.k8s.io/v1", "/apis/autoscaling"
DRA = "/apis/resource.k8s.io/v1"
READS = [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}]
JANE = [{"kind": "User", "name": "jane", "apiGroup": "rbac.authorization.k8s.io"}]
TARGET = {
    "scaleTargetRef": {"kind": "Deployment", "name": "d", "apiVersion": "apps/v1"},
    "maxReplicas": 3,
}
WEBHOOK = {
    "name": "w.example.com",
    "clientConfig": {"url": "https://127.0.0.1:1/"},
    "sideEffects": "None",
    "admissionReviewVersions": ["v1"],
}
MORE_TIME = {"webhooks": [{**WEBHOOK, "timeoutSeconds": 3}]}
OTHERS = (
    Kind(RBAC, "roles", {"rules": READS}, {"rules": [*READS, *READS]}, **NS),
    Kind(RBAC, "clusterroles", {"rules": READS}, {"rules": [*READS, *READS]}),
    Kind(RBAC, "rolebindings", {"roleRef": {"kind": "Role", "name": "r",
         "apiGroup": "rbac.authorization.k8s.io"}}, {"subjects": JANE}, **NS),
    Kind(RBAC, "clusterrolebindings", {"roleRef": {"kind": "ClusterRole", "name": "r",
         "apiGroup": "rbac.authorization.k8s.io"}}, {"subjects": JANE}),
    Kind(CORE, "serviceaccounts", {}, {"automountServiceAccountToken": False}, **NS),
    spec(CORE, "limitranges", {"limits": [{"type": "Pod", "max": {"cpu": "1"}}]},
         {"limits": [{"type": "Pod", "max": {"cpu": "2"}}]}, **NS),
    spec(CORE, "resourcequotas", {"hard": {"pods": "3"}}, {"hard": {"pods": "4"}},
         status={"hard": {"pods": "5"}}, **NS),
    spec(NETWORKING, "networkpolicies", {"podSelector": {}, "policyTypes": ["Ingress"]},
         {"podSelector": {"matchLabels": LABELS}}, **NS),
    spec(f"{AUTOSCALING}/v2", "horizontalpodautoscalers", TARGET, {"minReplicas": 2}, **OWN_STATUS),
    spec(f"{AUTOSCALING}/v1", "horizontalpodautoscalers", TARGET, {"minReplicas": 2},
         status={"currentReplicas": 1, "desiredReplicas": 1}, **NS),
    Kind(ADMISSION, "validatingwebhookconfigurations", {"webhooks": [WEBHOOK]}, MORE_TIME),
    Kind(ADMISSION, "mutatingwebhookconfigurations", {"webhooks": [WEBHOOK]}, MORE_TIME),
)  # fmt: skip
CLAIM = {"devices": {"requests": [{"name": "r", "exactly": {"deviceClassName": "d"}}]}}
SLICE = {"driver": "d.example.com", "nodeName": "n", "devices": [],
         "pool": {"name": "p", "generation": 1, "resourceSliceCount": 1}}  # fmt: skip
ALLOCATED = {"request": "r", "driver": "d.example.com", "pool": "p", "device": "one"}
DEVICES = (
    spec(DRA, "deviceclasses", {}, {"selectors": [{"cel": {"expression": "true"}}]}),
    Kind(DRA, "resourceclaims", {"spec": CLAIM}, {"metadata": {"labels": {"more": "1"}}},
         status={"allocation": {"devices": {"results": [ALLOCATED]}}}, **NS),
    Kind(DRA, "resourceclaimtemplates", {"spec": {"spec": CLAIM}},
         {"metadata": {"labels": {"more": "1"}}}, **NS),
    spec(DRA, "resourceslices", SLICE, {"devices": [{"name": "one"}]}),
)  # fmt: skip
