"""For each controller, objects that give it something to do; `SCENARIOS` has all, by name.

A new controller needs an entry here: what there is before it begins, made as users and nodes
would. Statuses are written down rather than brought about, because the controller runs alone.
"""

import functools
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from minikube_py.api.admissionregistration import VALIDATINGADMISSIONPOLICIES
from minikube_py.api.apps import DAEMONSETS, DEPLOYMENTS, REPLICASETS, STATEFULSETS
from minikube_py.api.autoscaling import HORIZONTALPODAUTOSCALERS
from minikube_py.api.batch import CRONJOBS, JOBS
from minikube_py.api.certificates import CERTIFICATESIGNINGREQUESTS
from minikube_py.api.core import (
    CONFIGMAPS,
    ENDPOINTS,
    NAMESPACES,
    NODES,
    PERSISTENTVOLUMECLAIMS,
    PERSISTENTVOLUMES,
    PODS,
    REPLICATIONCONTROLLERS,
    RESOURCEQUOTAS,
    SECRETS,
    SERVICEACCOUNTS,
    SERVICES,
)
from minikube_py.api.core.secret import INVALID_SINCE, OF_SERVICE_ACCOUNT, USE_TRACKING
from minikube_py.api.networking import SERVICECIDRS
from minikube_py.api.policy import PODDISRUPTIONBUDGETS
from minikube_py.api.rbac import CLUSTERROLES
from minikube_py.api.resource import Resource
from minikube_py.api.resource_k8s import RESOURCECLAIMS, RESOURCECLAIMTEMPLATES, RESOURCESLICES
from minikube_py.api.storage import STORAGECLASSES, VOLUMEATTRIBUTESCLASSES
from minikube_py.lib import authority
from minikube_py.server.controllers import local_storage
from tests.unit.server.controllers import (
    test_attach_detach,
    test_bootstrap_tokens,
    test_csr_approving,
    test_ephemeral_volumes,
    test_resource_claim,
    test_validating_admission_policy_status,
)
from tests.unit.server.controllers.builders import pod, service
from tests.unit.server.controllers.test_local_storage_life import CLASS, noted
from tests.unit.server.controllers.volumes import claim, ref, storage_class, volume
from tests.unit.server.scheduler.devices import DRIVER, device, piece

Made = tuple[Resource, Any]


@dataclass(frozen=True)
class Scenario:
    """What there is before a controller begins."""

    made: Sequence[Made]
    deleted: Sequence[tuple[Resource, str]] = ()
    """What users delete then, by kind and name, in namespace d where the kind has one."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    rest: float = 150.0
    """Seconds after which the controller has done its work."""
    tells: bool = False
    """Whether all it does is tell of things, in events."""


def named(name: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "namespace": "d", **more}


def bare(obj: Any, **metadata: Any) -> Any:
    """Return an object without what the server would have given it."""
    kept = {k: v for k, v in obj["metadata"].items() if k in ("name", "namespace", "labels")}
    return {**obj, "metadata": {**kept, **metadata}}


LABELS = {"app": "web"}
CONTAINERS = [{"name": "c", "image": "i"}]
TEMPLATE = {"metadata": {"labels": LABELS}, "spec": {"containers": CONTAINERS}}
SELECTOR = {"matchLabels": LABELS}
SPEC = {"replicas": 3, "selector": SELECTOR, "template": TEMPLATE}
WEB = named("web")
JOB_SPEC = {
    "parallelism": 2,
    "completions": 3,
    "template": {"spec": {"containers": CONTAINERS, "restartPolicy": "Never"}},
}
READY = {"type": "Ready", "status": "True"}
NODE = {"metadata": {"name": "n"}, "status": {"conditions": [READY], "allocatable": {"pods": "9"}}}
CLAIM_KEPT = named("c", finalizers=["kubernetes.io/pvc-protection"])
NEEDED = {"volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": "c"}}]}
BACKEND = bare(pod("one", ready=True, ip="10.42.0.9", node="n"))
SERVICE: Made = (SERVICES, bare(service()))
TRUE = {"expression": "1 < 2"}
OLD = "2020-01-01"


@functools.cache
def signing_authority(name: str) -> Any:
    """Return an authority that signs, made once."""
    folder = Path(tempfile.mkdtemp(prefix="kpy-test-"))
    return authority.ensure_ca(folder, name, "test", datetime(2026, 1, 1, tzinfo=UTC))


def workload(resource: Resource, **spec: Any) -> Made:
    return resource, {"metadata": WEB, "spec": {**SPEC, **spec}}


def request(*, approved: bool) -> Made:
    status = {"conditions": [{"type": "Approved", "status": "True"}]} if approved else {}
    signer = "kubernetes.io/kube-apiserver-client-kubelet"
    asked = test_csr_approving.csr(signer=signer)
    spec = {**asked["spec"], "groups": ["system:nodes"]}
    return CERTIFICATESIGNINGREQUESTS, {**asked, "spec": spec, "status": status}


def denied() -> Made:
    resource, obj = request(approved=False)
    since = {"type": "Denied", "status": "True", "lastUpdateTime": "2025-01-01T00:00:00Z"}
    return resource, {**obj, "status": {"conditions": [since]}}


def role(name: str, **more: Any) -> Made:
    return CLUSTERROLES, {"metadata": {"name": name, **more.pop("metadata", {})}, **more}


AGGREGATE = {"clusterRoleSelectors": [{"matchLabels": {"to": "all"}}]}
RULE = {"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}
EXPANDS = storage_class(allowVolumeExpansion=True, provisioner="kubernetes.io/host-path")
BOUND = {"annotations": {"pv.kubernetes.io/bind-completed": "yes"}}
OWNER = {"apiVersion": "v1", "kind": "ConfigMap", "name": "gone", "uid": "u-gone"}
TAINT = {"key": "out", "effect": "NoExecute", "timeAdded": "2026-01-01T00:00:00Z"}
CAST = {"kind": "Secret", "apiVersion": "v1"}
TOKEN_NOTES = {"kubernetes.io/service-account.name": "bot"}
TOKEN = {"metadata": named("t", annotations=TOKEN_NOTES), "type": OF_SERVICE_ACCOUNT}
ACCOUNT = {"metadata": named("bot"), "secrets": [{"name": "bot-token"}]}
LEGACY = {
    "metadata": named("bot-token", annotations=TOKEN_NOTES, labels={INVALID_SINCE: OLD}),
    "type": OF_SERVICE_ACCOUNT,
}
TRACKING = {"metadata": {"name": USE_TRACKING, "namespace": "kube-system"}, "data": {"since": OLD}}
FINISHED = {"conditions": [{"type": "Complete", "status": "True"}], "completionTime": OLD}
DONE_SPEC = {**JOB_SPEC, "ttlSecondsAfterFinished": 5}
DONE_STATUS = {
    "conditions": [
        {"type": "Complete", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"}
    ],
    "completionTime": "2026-01-01T00:00:00Z",
}
HPA_TARGET = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}
MIRRORED = {
    "metadata": WEB,
    "subsets": [{"addresses": [{"ip": "192.0.2.1"}], "ports": [{"port": 80}]}],
}
LOCAL_CLAIM = bare(
    claim(storageClassName="local-path"),
    annotations={
        "volume.kubernetes.io/selected-node": "n",
        "volume.kubernetes.io/storage-provisioner": local_storage.PROVISIONER,
    },
)
LOCAL_NODE = {**NODE, "metadata": {"name": "n", **noted(())}}


def without_selector() -> Made:
    made = bare(service())
    spec = {key: value for key, value in made["spec"].items() if key != "selector"}
    return SERVICES, {**made, "spec": spec}


def grown() -> tuple[Made, ...]:
    """A claim that asks for more than its volume has."""
    spec = {"volumeName": "v", "storageClassName": "fast"}
    asked = bare(claim(size="2Gi", phase="Bound", **spec), **BOUND)
    status = {"phase": "Bound", "capacity": {"storage": "1Gi"}}
    has = volume(claimRef={"namespace": "d", "name": "c", "uid": "uid-1"}, storageClassName="fast")
    return (
        (PERSISTENTVOLUMECLAIMS, {**asked, "status": status}),
        (STORAGECLASSES, EXPANDS),
        (PERSISTENTVOLUMES, has),
    )


def tainted_device() -> tuple[Made, ...]:
    """A pod that uses a device which it has to leave; the pod is made first."""
    asked = {"resourceClaims": [{"name": "g", "resourceClaimName": "k"}]}
    user = {"nodeName": "n", "containers": CONTAINERS, **asked}
    result = {"request": "r", "driver": DRIVER, "pool": "p", "device": "g"}
    status = {
        "allocation": {"devices": {"results": [result]}},
        "reservedFor": [{"resource": "pods", "name": "p", "uid": "uid-1"}],
    }
    return (
        (PODS, {"metadata": named("p"), "spec": user}),
        (RESOURCESLICES, piece("s", device("g", taints=[{"key": "k", "effect": "NoExecute"}]))),
        (RESOURCECLAIMS, {"metadata": named("k"), "spec": {"devices": {}}, "status": status}),
    )


SCENARIOS: dict[str, Scenario] = {
    "namespace-controller": Scenario(
        (
            (NAMESPACES, {"metadata": {"name": "d"}}),
            (CONFIGMAPS, {"metadata": WEB}),
            (PODS, bare(pod("p"))),
        ),
        deleted=((NAMESPACES, "d"),),
    ),
    "service-account-controller": Scenario(((NAMESPACES, {"metadata": {"name": "d"}}),)),
    "tokens-controller": Scenario(
        ((SERVICEACCOUNTS, {"metadata": named("bot")}), (SECRETS, TOKEN)),
        settings={"legacy_token": lambda *_: "TOKEN"},
    ),
    "token-cleaner": Scenario(
        ((SECRETS, test_bootstrap_tokens.token(expiration="2025-01-01T00:00:00Z")),)
    ),
    "legacy-service-account-token-cleaner": Scenario(
        ((CONFIGMAPS, TRACKING), (SERVICEACCOUNTS, ACCOUNT), (SECRETS, LEGACY)),
        rest=800 * 86400.0,
    ),
    "bootstrap-signer": Scenario(
        (
            (CONFIGMAPS, test_bootstrap_tokens.info(kubeconfig="x")),
            (SECRETS, test_bootstrap_tokens.token(usage_bootstrap_signing="true")),
        )
    ),
    "root-ca-cert-publisher": Scenario(((NAMESPACES, {"metadata": {"name": "d"}}),)),
    "generic-garbage-collector": Scenario(
        tuple((CONFIGMAPS, {"metadata": named(f"c{n}", ownerReferences=[OWNER])}) for n in range(3))
    ),
    "deployment-controller": Scenario((workload(DEPLOYMENTS),)),
    "replicaset-controller": Scenario((workload(REPLICASETS),)),
    "replication-controller": Scenario((workload(REPLICATIONCONTROLLERS, selector=LABELS),)),
    "job-controller": Scenario(((JOBS, {"metadata": WEB, "spec": JOB_SPEC}),)),
    "cronjob-controller": Scenario(
        (
            (
                CRONJOBS,
                {
                    "metadata": WEB,
                    "spec": {
                        "schedule": "*/5 * * * *",
                        "concurrencyPolicy": "Forbid",
                        "jobTemplate": {"spec": JOB_SPEC},
                    },
                },
            ),
        ),
        rest=400.0,
    ),
    "daemonset-controller": Scenario(
        (
            (NODES, NODE),
            (NODES, {**NODE, "metadata": {"name": "m"}}),
            (DAEMONSETS, {"metadata": WEB, "spec": {"selector": SELECTOR, "template": TEMPLATE}}),
        )
    ),
    "statefulset-controller": Scenario(
        (workload(STATEFULSETS, podManagementPolicy="Parallel", serviceName="web"),)
    ),
    "disruption-controller": Scenario(
        (
            (PODS, BACKEND),
            (
                PODDISRUPTIONBUDGETS,
                {"metadata": WEB, "spec": {"minAvailable": 0, "selector": SELECTOR}},
            ),
        )
    ),
    "horizontal-pod-autoscaler": Scenario(
        (
            (
                HORIZONTALPODAUTOSCALERS,
                {"metadata": WEB, "spec": {"scaleTargetRef": HPA_TARGET, "maxReplicas": 3}},
            ),
        )
    ),
    "certificatesigningrequest-approving-controller": Scenario((request(approved=False),)),
    "certificatesigningrequest-signing-controller": Scenario(
        (request(approved=True),), settings={"authority": signing_authority}
    ),
    "certificatesigningrequest-cleaner-controller": Scenario((denied(),), rest=5000.0),
    "resourceclaim-controller": Scenario(
        (
            (RESOURCECLAIMTEMPLATES, test_resource_claim.TEMPLATE),
            (PODS, test_resource_claim.pod()),
        )
    ),
    "resourcequota-controller": Scenario(
        (
            (CONFIGMAPS, {"metadata": named("c")}),
            (RESOURCEQUOTAS, {"metadata": WEB, "spec": {"hard": {"configmaps": "5"}}}),
        )
    ),
    "ttl-after-finished-controller": Scenario(
        ((JOBS, {"metadata": WEB, "spec": DONE_SPEC, "status": DONE_STATUS}),)
    ),
    "ttl-controller": Scenario(((NODES, NODE),)),
    "node-ipam-controller": Scenario(((NODES, NODE),)),
    "clusterrole-aggregation-controller": Scenario(
        (
            role("all", aggregationRule=AGGREGATE),
            role("one", rules=[RULE], metadata={"labels": {"to": "all"}}),
        )
    ),
    "endpoint-controller": Scenario(((PODS, BACKEND), SERVICE)),
    "endpointslice-controller": Scenario(((PODS, BACKEND), SERVICE)),
    "endpointslice-mirroring-controller": Scenario((without_selector(), (ENDPOINTS, MIRRORED))),
    "service-cidr-controller": Scenario(
        ((SERVICECIDRS, {"metadata": {"name": "a"}, "spec": {"cidrs": ["10.0.0.0/24"]}}),)
    ),
    "ipallocator-repair-controller": Scenario((SERVICE,)),
    "node-controller": Scenario(((NODES, NODE), (PODS, BACKEND))),
    "taint-eviction-controller": Scenario(
        ((NODES, {**NODE, "spec": {"taints": [TAINT]}}), (PODS, BACKEND))
    ),
    "device-taint-eviction": Scenario(tainted_device()),
    "pod-garbage-collector": Scenario(((PODS, BACKEND),)),
    "validatingadmissionpolicy-status-controller": Scenario(
        (
            (
                VALIDATINGADMISSIONPOLICIES,
                {**test_validating_admission_policy_status.policy(TRUE), "status": {}},
            ),
        )
    ),
    "persistentvolume-controller": Scenario(
        (
            (PERSISTENTVOLUMES, volume(storageClassName="")),
            (PERSISTENTVOLUMECLAIMS, bare(claim(storageClassName=""))),
        )
    ),
    "persistentvolume-expander-controller": Scenario(grown(), tells=True),
    "ephemeral-volume-controller": Scenario(((PODS, test_ephemeral_volumes.pod()),)),
    "local-path-provisioner": Scenario(
        ((NODES, LOCAL_NODE), (STORAGECLASSES, CLASS), (PERSISTENTVOLUMECLAIMS, LOCAL_CLAIM))
    ),
    "attachdetach-controller": Scenario(
        (
            (NODES, test_attach_detach.node()),
            (PERSISTENTVOLUMECLAIMS, bare(claim(volumeName="v"), **BOUND)),
            (PERSISTENTVOLUMES, test_attach_detach.disk(claimRef={**ref(claim()), "uid": "uid-2"})),
            (PODS, test_attach_detach.pod()),
        )
    ),
    "persistentvolumeclaim-protection-controller": Scenario(
        ((PERSISTENTVOLUMECLAIMS, {**claim(), "metadata": CLAIM_KEPT}),),
        deleted=((PERSISTENTVOLUMECLAIMS, "c"),),
    ),
    "persistentvolume-protection-controller": Scenario(
        ((PERSISTENTVOLUMES, volume(metadata={"finalizers": ["kubernetes.io/pv-protection"]})),),
        deleted=((PERSISTENTVOLUMES, "v"),),
    ),
    "volumeattributesclass-protection-controller": Scenario(
        (
            (
                VOLUMEATTRIBUTESCLASSES,
                {"metadata": {"name": "gold"}, "driverName": "x.io", "parameters": {"a": "b"}},
            ),
        )
    ),
}
