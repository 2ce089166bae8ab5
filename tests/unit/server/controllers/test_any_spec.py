"""The law of bad input: nothing that validation lets through makes a controller stumble.

Objects of all workload kinds are made of odd values. What their kinds' rules refuse never comes to
be; with what is left the whole control plane runs for a while, and no look may end in a bug.
"""

import logging
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from minikube_py.api.apps import DAEMONSETS, DEPLOYMENTS, REPLICASETS, STATEFULSETS
from minikube_py.api.batch import CRONJOBS, JOBS
from minikube_py.api.core import (
    ENDPOINTS,
    NAMESPACES,
    NODES,
    PODS,
    REPLICATIONCONTROLLERS,
    SERVICES,
)
from minikube_py.api.errors import StatusError
from minikube_py.api.policy import PODDISRUPTIONBUDGETS
from minikube_py.api.resource import Resource
from minikube_py.server.controllers import CONTROLLERS
from tests.harness import harness
from tests.kubelet_model import EXIT, READY, RUNS, Kubelets, node
from tests.virtual_time import run, settle

USER = "somebody-controller"
"""The model holds those to the rules of the kinds whose name ends so."""
KEYS = ("app", "tier", "a.example.com/b")
VALUES = ("web", "", "0")


def some(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """Make documents that have any of the fields."""
    return st.fixed_dictionaries({}, optional=fields)


labels = st.dictionaries(st.sampled_from(KEYS), st.sampled_from(VALUES), max_size=2)
count = st.sampled_from([0, 1, 2, 5])
seconds = st.sampled_from([0, 1, 30, 2**31 - 1])
share = st.sampled_from([0, 1, 3, "0%", "1%", "50%", "100%"])
expression = st.one_of(
    st.fixed_dictionaries(
        {
            "key": st.sampled_from(KEYS),
            "operator": st.sampled_from(["In", "NotIn"]),
            "values": st.lists(st.sampled_from(VALUES), min_size=1, max_size=2),
        }
    ),
    st.fixed_dictionaries(
        {"key": st.sampled_from(KEYS), "operator": st.sampled_from(["Exists", "DoesNotExist"])}
    ),
)
selector = some(matchLabels=labels, matchExpressions=st.lists(expression, max_size=2))
notes = st.dictionaries(
    st.sampled_from([RUNS, EXIT, READY, "controller.kubernetes.io/pod-deletion-cost"]),
    st.sampled_from(["0", "1", "3", "x", "-5"]),
    max_size=2,
)
taint = st.fixed_dictionaries(
    {
        "key": st.sampled_from(["a", "node.kubernetes.io/not-ready"]),
        "effect": st.sampled_from(["NoSchedule", "NoExecute", "PreferNoSchedule"]),
    }
)
toleration = st.fixed_dictionaries(
    {"operator": st.just("Exists"), "effect": st.just("NoExecute")},
    optional={
        "key": st.sampled_from(["a", "node.kubernetes.io/not-ready"]),
        "tolerationSeconds": st.one_of(seconds, st.just(2**63 - 1)),
    },
)
port = st.fixed_dictionaries(
    {"containerPort": st.sampled_from([80, 8080])}, optional={"name": st.just("http")}
)
container = st.fixed_dictionaries(
    {"name": st.just("c"), "image": st.just("i")}, optional={"ports": st.lists(port, max_size=2)}
)


def templates(*policies: str) -> st.SearchStrategy[dict[str, Any]]:
    """Make pod templates with one of the restart policies."""
    spec = st.fixed_dictionaries(
        {
            "containers": st.lists(container, min_size=1, max_size=1),
            "restartPolicy": st.sampled_from(policies),
        },
        optional={
            "nodeSelector": labels,
            "tolerations": st.lists(toleration, max_size=2),
            "hostname": st.just("host"),
            "subdomain": st.just("web"),
            "nodeName": st.sampled_from(["n1", "missing"]),
            "terminationGracePeriodSeconds": st.sampled_from([0, 1]),
            "hostNetwork": st.booleans(),
        },
    )
    metadata = some(labels=labels, annotations=notes, finalizers=st.just(["a.example.com/f"]))
    return st.fixed_dictionaries({"metadata": metadata, "spec": spec})


def workload(**more: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """Make specs of what keeps pods running, whose selector mostly fits the template."""
    made = st.fixed_dictionaries(
        {"selector": selector, "template": templates("Always")},
        optional={
            "minReadySeconds": seconds,
            "revisionHistoryLimit": count,
            **more,
        },
    )
    return st.one_of(made.map(fitting), made.map(fitting), made)


def fitting(spec: dict[str, Any]) -> dict[str, Any]:
    chosen = {"app": "web"}
    template = {**spec["template"], "metadata": {**spec["template"]["metadata"], "labels": chosen}}
    return {**spec, "selector": {"matchLabels": chosen}, "template": template}


def with_plain_selector(spec: dict[str, Any]) -> dict[str, Any]:
    made = {key: value for key, value in spec.items() if key != "revisionHistoryLimit"}
    return {**made, "selector": spec["selector"].get("matchLabels", {"app": "web"})}


rolling = some(maxSurge=share, maxUnavailable=share, partition=count)
exit_codes = st.fixed_dictionaries(
    {
        "operator": st.sampled_from(["In", "NotIn"]),
        "values": st.lists(st.sampled_from([1, 2, 3]), min_size=1, max_size=2, unique=True),
    },
    optional={"containerName": st.just("c")},
)
pod_conditions = st.just([{"type": "DisruptionTarget", "status": "True"}])
failure_rule = st.one_of(
    st.fixed_dictionaries(
        {
            "action": st.sampled_from(["Ignore", "Count", "FailJob", "FailIndex"]),
            kind: found,
        }
    )
    for kind, found in (("onExitCodes", exit_codes), ("onPodConditions", pod_conditions))
)
success_rule = some(succeededCount=count, succeededIndexes=st.sampled_from(["0", "0,2", "1-3"]))
job_fields: dict[str, st.SearchStrategy[Any]] = {
    "parallelism": count,
    "backoffLimit": count,
    "activeDeadlineSeconds": st.sampled_from([1, 30, 2**63 - 1]),
    "ttlSecondsAfterFinished": st.sampled_from([0, 30]),
    "suspend": st.booleans(),
    "managedBy": st.sampled_from(["kubernetes.io/job-controller", "example.com/other"]),
}
policies = {
    "podReplacementPolicy": st.just("Failed"),
    "podFailurePolicy": st.lists(failure_rule, max_size=2).map(lambda r: {"rules": r}),
}
indexed: dict[str, st.SearchStrategy[Any]] = {
    "maxFailedIndexes": count,
    "successPolicy": st.lists(success_rule, min_size=1, max_size=2).map(lambda r: {"rules": r}),
}
never = templates("Never")
job = st.one_of(
    st.fixed_dictionaries(
        {"template": templates("Never", "OnFailure")},
        optional={**job_fields, "completions": count},
    ),
    st.fixed_dictionaries(
        {"template": never}, optional={**job_fields, **policies, "completions": count}
    ),
    st.fixed_dictionaries(
        {
            "template": never,
            "completionMode": st.just("Indexed"),
            "completions": st.sampled_from([2, 4, 5]),
            "backoffLimitPerIndex": count,
        },
        optional={**job_fields, **policies, **indexed},
    ),
)
cronjob = st.fixed_dictionaries(
    {
        "schedule": st.sampled_from(
            ["* * * * *", "@every 30s", "0 0 31 2 *", "@hourly", "*/7 3 * * 1", "* * * * *"]
        ),
        "jobTemplate": st.fixed_dictionaries({"spec": job}),
    },
    optional={
        "timeZone": st.sampled_from(["Europe/Berlin", "Etc/UTC"]),
        "startingDeadlineSeconds": st.one_of(seconds, st.just(2**63 - 1)),
        "concurrencyPolicy": st.sampled_from(["Allow", "Forbid", "Replace"]),
        "suspend": st.booleans(),
        "successfulJobsHistoryLimit": count,
        "failedJobsHistoryLimit": count,
    },
)
service_port = st.fixed_dictionaries(
    {"port": st.sampled_from([80, 81])},
    optional={
        "targetPort": st.sampled_from([8080, "http", "missing"]),
        "protocol": st.sampled_from(["TCP", "UDP", "SCTP"]),
        "name": st.sampled_from(["a", "b"]),
    },
)
service = st.one_of(
    st.just({"type": "ExternalName", "externalName": "example.com"}),
    st.fixed_dictionaries(
        {"ports": st.lists(service_port, min_size=1, max_size=1)},
        optional={
            "selector": labels,
            "publishNotReadyAddresses": st.booleans(),
            "trafficDistribution": st.sampled_from(["PreferClose", "PreferSameNode"]),
        },
    ),
    st.fixed_dictionaries({"clusterIP": st.just("None")}, optional={"selector": labels}),
)
address = some(ip=st.sampled_from(["10.0.0.1", "fd00::1", "1.2.3.4"]), hostname=st.just("h"))
subset = some(
    addresses=st.lists(address, max_size=2),
    notReadyAddresses=st.lists(address, max_size=2),
    ports=st.lists(some(port=st.just(80), name=st.just("p")), max_size=1),
)
claims = st.just(
    [
        {
            "metadata": {"name": "data"},
            "spec": {
                "accessModes": ["ReadWriteOnce"],
                "resources": {"requests": {"storage": "1Gi"}},
            },
        }
    ]
)
retention = some(
    whenDeleted=st.sampled_from(["Retain", "Delete"]),
    whenScaled=st.sampled_from(["Retain", "Delete"]),
)


def strategy(*types: str) -> st.SearchStrategy[dict[str, Any]]:
    """Make strategies of an update."""
    return some(type=st.sampled_from(types), rollingUpdate=rolling)


SPECS: tuple[tuple[Resource, st.SearchStrategy[dict[str, Any]]], ...] = (
    (
        DEPLOYMENTS,
        workload(
            replicas=count,
            strategy=strategy("RollingUpdate", "Recreate"),
            paused=st.booleans(),
            progressDeadlineSeconds=seconds,
        ),
    ),
    (REPLICASETS, workload(replicas=count)),
    (
        DAEMONSETS,
        workload(updateStrategy=strategy("RollingUpdate", "OnDelete")),
    ),
    (
        STATEFULSETS,
        workload(
            replicas=count,
            updateStrategy=strategy("RollingUpdate", "OnDelete"),
            podManagementPolicy=st.sampled_from(["Parallel", "OrderedReady"]),
            ordinals=some(start=count),
            serviceName=st.sampled_from(["web", ""]),
            volumeClaimTemplates=claims,
            persistentVolumeClaimRetentionPolicy=retention,
        ),
    ),
    (JOBS, job),
    (CRONJOBS, cronjob),
    (SERVICES, service),
    (
        PODDISRUPTIONBUDGETS,
        some(
            selector=selector,
            minAvailable=share,
            maxUnavailable=share,
            unhealthyPodEvictionPolicy=st.sampled_from(["AlwaysAllow", "IfHealthyBudget"]),
        ),
    ),
    (REPLICATIONCONTROLLERS, workload(replicas=count).map(with_plain_selector)),
    (PODS, templates("Always", "Never").map(lambda template: template["spec"])),
)
objects = st.lists(
    st.one_of(st.tuples(st.just(resource), found) for resource, found in SPECS), max_size=5
)
taints = st.lists(taint, max_size=2)


class Bugs(logging.Handler):
    """Collects what was logged with a traceback, other than answers of the server."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.found: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if record.exc_info and not isinstance(record.exc_info[1], StatusError):
            self.found.append(f"{record.getMessage()}: {record.exc_info[1]!r}")


async def live(made: list[Any], taints: list[Any], subsets: list[Any]) -> None:
    """Let a cluster have these objects, and lose them."""
    async with harness(root_ca="PEM") as world:
        Kubelets(world, beat_seconds=40).start()
        client = world.cluster.client(USER)
        await world.client.create(NODES, node("n1", taints=taints))
        await world.client.create(NAMESPACES, {"metadata": {"name": "d"}})
        world.run(*CONTROLLERS)
        for number, (resource, spec) in enumerate(made):
            metadata = {"name": f"o{number}", "namespace": "d"}
            await attempt(client.create(resource, {"metadata": metadata, "spec": spec}))
        endpoints = {"metadata": {"name": "o0", "namespace": "d"}, "subsets": subsets}
        await attempt(client.create(ENDPOINTS, endpoints))
        await settle(100)
        await world.client.delete(NAMESPACES, "d")
        await settle(100)


async def attempt(work: Any) -> None:
    """Try what the rules may refuse."""
    try:
        await work
    except StatusError:
        return


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(objects, taints, st.lists(subset, max_size=2))
def test_no_object_that_the_rules_let_through_makes_a_controller_stumble(
    made: list[Any], tainted: list[Any], subsets: list[Any]
) -> None:
    bugs = Bugs()
    logger = logging.getLogger("minikube_py")
    logger.addHandler(bugs)
    try:
        run(live(made, tainted, subsets))
    finally:
        logger.removeHandler(bugs)
    assert bugs.found == []
