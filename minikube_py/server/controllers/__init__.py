"""The control loops; `CONTROLLERS` is all of them, in no order that matters.

Each file holds one loop, in this order: reconcile, plan, helpers, CONTROLLER. Loops know nothing
of each other: they meet in the objects only.
"""

from minikube_py.client.controller import Part
from minikube_py.server.controllers import (
    clusterrole_aggregation,
    cronjob,
    csr_approving,
    csr_cleaner,
    csr_signing,
    daemonset,
    deployment,
    disruption,
    endpoints,
    endpointslices,
    garbage_collector,
    job,
    namespace,
    node_ipam,
    node_lifecycle,
    pod_gc,
    replicaset,
    replicationcontroller,
    resourcequota,
    root_ca,
    serviceaccount,
    statefulset,
    taint_eviction,
    ttl_after_finished,
    validating_admission_policy_status,
)

CONTROLLERS: tuple[Part, ...] = (
    namespace.CONTROLLER,
    serviceaccount.CONTROLLER,
    root_ca.CONTROLLER,
    garbage_collector.CONTROLLER,
    deployment.CONTROLLER,
    replicaset.CONTROLLER,
    replicationcontroller.CONTROLLER,
    job.CONTROLLER,
    cronjob.CONTROLLER,
    daemonset.CONTROLLER,
    statefulset.CONTROLLER,
    disruption.CONTROLLER,
    csr_approving.CONTROLLER,
    csr_signing.CONTROLLER,
    csr_cleaner.CONTROLLER,
    resourcequota.CONTROLLER,
    ttl_after_finished.CONTROLLER,
    node_ipam.CONTROLLER,
    clusterrole_aggregation.CONTROLLER,
    endpoints.CONTROLLER,
    endpointslices.CONTROLLER,
    node_lifecycle.CONTROLLER,
    taint_eviction.CONTROLLER,
    pod_gc.CONTROLLER,
    validating_admission_policy_status.CONTROLLER,
)
